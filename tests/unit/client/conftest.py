"""What the client's tests share: a server that misbehaves as told, and clients that hardly sleep.

A test that asks for `impasto` runs twice: with the blocking client, and with the asynchronous one.
"""

import asyncio
import inspect
import itertools
import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, cast

import pytest

from client import AsyncImpasto, Impasto, Retries
from tests.support.web import Answer, Exchange, Web

#: Of one request: none of these tests waits for it to run out.
SECONDS = 30
QUICK = Retries(attempts=3, first_seconds=0.001, longest_seconds=0.002, patience_seconds=1)
TOKEN = "a-long-random-string"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web() as server:
        yield server


@pytest.fixture(params=["blocking", "asyncio"])
def impasto(web: Web, request: pytest.FixtureRequest) -> Iterator[Impasto]:
    if request.param == "blocking":
        with Impasto(web.url, TOKEN, timeout=SECONDS, retries=QUICK) as client:
            yield client
    else:
        with awaited(AsyncImpasto(web.url, TOKEN, timeout=SECONDS, retries=QUICK)) as client:
            yield client


@contextmanager
def awaited(client: AsyncImpasto) -> Iterator[Impasto]:
    """The asynchronous client, called as if it were the blocking one."""
    with asyncio.Runner() as runner:
        yield cast("Impasto", _Awaited(client, runner))
        runner.run(client.close())


class _Awaited:
    def __init__(self, target: Any, runner: asyncio.Runner) -> None:
        self._target, self._runner = target, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._target, name)
        if not callable(found):
            return _Awaited(found, self._runner)

        def call(*arguments: Any, **options: Any) -> Any:
            made = found(*arguments, **options)
            return self._runner.run(made) if inspect.iscoroutine(made) else self._each(made)

        return call

    def _each(self, values: Any) -> Iterator[Any]:
        async def following() -> Any:
            return await anext(values, None)

        async def end() -> None:
            await values.aclose()

        try:
            while (value := self._runner.run(following())) is not None:
                yield value
        finally:
            self._runner.run(end())


def ticking(seconds: float) -> SimpleNamespace:
    """Stands for the module `time`: so many seconds pass between two looks at the clock."""
    ticks = itertools.count(0, seconds)
    return SimpleNamespace(monotonic=lambda: next(ticks))


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


def batch(**changes: Any) -> dict[str, Any]:
    """A batch as the API shows it."""
    counts = {
        "total": 3,
        "queued": 1,
        "processing": 1,
        "succeeded": 1,
        "failed": 0,
        "canceled": 0,
        "expired": 0,
    }
    return {
        "id": "batch_1",
        "status": "processing",
        "counts": counts,
        "eta_seconds": 12.5,
        "throughput_per_minute": 4.0,
        "errors": [],
        "retry_of": None,
        "cancel_requested": False,
        "metadata": {},
        "created_at": "2026-01-31T12:00:00.000Z",
        "completed_at": None,
        "expires_at": None,
        "urls": {"self": "http://127.0.0.1/v1/batches/batch_1"},
        **changes,
    }


def stream(*chunks: bytes, content_type: str = "text/event-stream") -> Answer:
    """An answer whose body comes in these chunks and ends with the connection."""

    def answer(exchange: Exchange) -> None:
        exchange.rfile.read(int(exchange.headers.get("Content-Length", 0)))
        exchange.send_response(200)
        exchange.send_header("Content-Type", content_type)
        exchange.send_header("Connection", "close")
        exchange.end_headers()
        for chunk in chunks:
            exchange.wfile.write(chunk)
            exchange.wfile.flush()
        exchange.close_connection = True

    return answer
