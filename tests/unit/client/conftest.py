"""What the client's tests share: a server that misbehaves as told, and a client that hardly sleeps."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from client import Impasto, Retries
from tests.support.web import Answer, Exchange, Web

QUICK = Retries(attempts=3, first_seconds=0.001, longest_seconds=0.002, patience_seconds=1)
TOKEN = "a-long-random-string"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture
def impasto(web: Web) -> Iterator[Impasto]:
    with Impasto(web.url, TOKEN, timeout=5, retries=QUICK) as client:
        yield client


def answer_json(data: Any, status: int = 200, **headers: str) -> Answer:
    """An answer with this JSON."""
    body = json.dumps(data).encode()
    return lambda exchange: exchange.reply(status, body, **{"Content_Type": "application/json", **headers})


def problem(status: int, code: str, **more: Any) -> Answer:
    """An RFC 9457 problem."""
    data = {"type": "about:blank", "title": f"Title of {code}", "status": status, "code": code, **more}
    headers = {"Content_Type": "application/problem+json"}
    return answer_json(data, status, **headers)


class Inbox:
    """Keeps the bodies that arrive, and answers with one JSON."""

    def __init__(self, data: Any, status: int = 200) -> None:
        self.bodies: list[bytes] = []
        self._answer = answer_json(data, status)

    @property
    def json(self) -> Any:
        return json.loads(self.bodies[-1])

    def __call__(self, exchange: Exchange) -> None:
        self.bodies.append(exchange.rfile.read(int(exchange.headers.get("Content-Length", 0))))
        exchange.headers.replace_header("Content-Length", "0")
        self._answer(exchange)


def job(**changes: Any) -> dict[str, Any]:
    """A job as the API shows it."""
    return {
        "id": "job_1",
        "status": "queued",
        "stage": "waiting",
        "progress": None,
        "queue": {"position": 3},
        "output": None,
        "error": None,
        "spec": {"size": 512},
        "attempt": 0,
        "created_at": "2026-01-31T12:00:00.000Z",
        "started_at": None,
        "completed_at": None,
        "expires_at": None,
        "metadata": {"order": "A-17"},
        "urls": {"self": "http://127.0.0.1/v1/jobs/job_1", "events": None},
        "metrics": None,
        **changes,
    }
