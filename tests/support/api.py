"""The API for tests: gunicorn in a process of its own, and a client that checks every answer."""

import io
import os
import re
import secrets
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from openapi_schema_validator import OAS31Validator
from PIL import Image
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from api.openapi import document
from deploy.ports import free_port
from shared.jobs.record import Output, PaintProgress, Queue, Stage
from shared.jobs.results import Claim
from shared.jobs.store import JobStore
from shared.objects import ObjectStore

ROOT = Path(__file__).parents[2]
START_SECONDS = 90.0
#: How long a connection waits for Valkey, and a request in all: a busy machine may stop either for seconds.
REDIS_SECONDS, API_REDIS_SECONDS = 20.0, 15.0
APPLICATION = "api.app:from_environment()"
CONTENT, STYLE = "https://example.org/bridge.jpg", "https://example.org/starry.jpg"
BODY = {"content": CONTENT, "styles": [STYLE]}


class ApiServer:
    """gunicorn as it is run for real, on a free loopback port. Use it as a context manager.

    It is patient with Valkey unless its settings say otherwise.

    Attributes:
        url: its address.
        log: file with what it wrote to standard error.
    """

    def __init__(
        self, data_dir: Path, redis_url: str, *, application: str = APPLICATION, **settings: str
    ) -> None:
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.log = data_dir / f"api-{port}.log"
        given = {
            "data_dir": str(data_dir),
            "redis_url": redis_url,
            "redis_timeout": str(REDIS_SECONDS),
            "api_redis_seconds": str(API_REDIS_SECONDS),
            "api_port": str(port),
            **settings,
        }
        self._command = gunicorn(application)
        self._environment = environment(given)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environment, stdin=subprocess.DEVNULL, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while True:
            try:
                httpx.get(f"{self.url}/healthz", timeout=5).raise_for_status()
                return self
            except httpx.TransportError:  # not listening yet
                if self._process.poll() is not None or time.monotonic() > deadline:
                    self.stop()
                    raise RuntimeError(self.log.read_text()) from None
                time.sleep(0.05)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def workers(self) -> list[int]:
        """Process IDs of gunicorn's workers. Linux only."""
        assert self._process
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        return [int(child) for child in children.split()]

    def held(self) -> int:
        """How many callers wait, those whose answer is on its way among them."""
        metrics = httpx.get(f"{self.url}/metrics", timeout=60).text
        [number] = re.findall(r"^impasto_api_held_callers (\d+)", metrics, re.MULTILINE)
        return int(number)

    def stop(self) -> None:
        """An orderly end."""
        if self._process:
            self._process.terminate()
            self._process.wait(START_SECONDS)


def gunicorn(application: str = APPLICATION) -> list[str]:
    """The command that serves the API, or another application as the API is served."""
    return [sys.executable, "-m", "gunicorn", "-c", "python:api.gunicorn", application]


def environment(settings: Mapping[str, str]) -> dict[str, str]:
    """This process' environment with these settings, and no other of ours."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("IMPASTO_")}
    return others | {f"IMPASTO_{name.upper()}": value for name, value in settings.items()}


def checked_client(url: str, **options: Any) -> httpx.Client:
    """A client that holds every answer to the OpenAPI document."""
    return httpx.Client(base_url=url, event_hooks={"response": [_check]}, timeout=60, **options)


def picture_bytes(width: int = 40, height: int = 30, kind: str = "PNG", colour: str | None = None) -> bytes:
    """A picture of one colour, by default one that no other test has used."""
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour or f"#{secrets.token_hex(3)}").save(file, kind)
    return file.getvalue()


def start_painting(store: JobStore) -> Claim:
    """Take the next job through intake and claim it for paint."""
    intake = store.claim(Queue.INTAKE, "intake")
    assert intake
    store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.25})
    paint = store.claim(Queue.PAINT, "painter", ["compact", "vgg19"])
    assert paint
    store.renew(paint, progress=PaintProgress(10, 100, 1, 3, {"style": 0.5}), stage=Stage.PAINTING)
    return paint


def finish(store: JobStore, objects: ObjectStore, claim: Claim, data: bytes, sha256: str) -> str:
    """Store a result and end the job; returns the object's key."""
    key = f"outputs/{claim.job.uid}/{claim.fence}.png"
    objects.put(key, data, "image/png")
    output = Output(key, sha256, len(data), 40, 30, "image/png")
    store.finish(claim, output, seconds={"paint": 1.5}, evaluations=100, loss={"style": 0.25})
    return key


#: What the document is called while references into it are followed.
_DOCUMENT = "urn:api"
_REGISTRY = Registry().with_resource(_DOCUMENT, Resource(document(), DRAFT202012))


def _check(response: httpx.Response) -> None:
    """Hold an answer to the document: its status, its media type and its body."""
    operation = _operation(response.request.method.lower(), response.request.url.path)
    if operation is None:
        assert response.status_code in (404, 405)
        return
    described = operation["responses"].get(str(response.status_code))
    assert described is not None, f"{response.status_code} is not in the document"
    response.read()
    media = response.headers.get("content-type", "").partition(";")[0]
    content = described.get("content", {})
    if not content:
        assert not response.content
        return
    assert media in content, f"{media} is not in the document"
    schema = content[media].get("schema", {})
    if schema.get("type") != "string":
        OAS31Validator(_absolute(schema), registry=_REGISTRY).validate(response.json())
    documented = {name.lower() for name in described.get("headers", {})}
    for name in ("location", "retry-after", "etag", "idempotent-replayed"):
        if name in response.headers and response.status_code < 400:
            assert name in documented, f"the header {name} is not in the document"


def _absolute(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with its references made absolute."""
    if "$ref" in schema:
        return {"$ref": _DOCUMENT + schema["$ref"]}
    return {
        key: [_absolute(one) for one in value] if key == "anyOf" else value for key, value in schema.items()
    }


def _operation(method: str, path: str) -> dict[str, Any] | None:
    for template, item in document()["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            found: dict[str, Any] | None = item.get(method)
            return found
    return None
