"""Bodies as bad connections and bad programs send them: cut short, misframed, or standing still."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest

from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.support.api import BODY, CONTENT, STYLE, ApiServer, checked_client, picture_bytes
from tests.support.batch_requests import ndjson

JSON, NDJSON, PNG = "application/json", "application/x-ndjson", "image/png"
LINES = ndjson(*({"content": f"{CONTENT}?{n}", "styles": [STYLE]} for n in range(20)))


def ask(http: httpx.Client, request: bytes) -> tuple[int, dict[str, object]]:
    """Send bytes as they are and say that there will be no more; the answer's status and document."""
    with socket.create_connection((http.base_url.host, http.base_url.port), timeout=20) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split()[1])
            head, _, body = answer.read().partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return status, json.loads(body)


def head(path: str, kind: str, **more: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Type: {kind}"]
    return "\r\n".join(
        [*lines, *(f"{name.replace('_', '-')}: {value}" for name, value in more.items())]
    ).encode()


@pytest.mark.parametrize(
    ("path", "kind", "body", "prefer"),
    [
        ("/v1/jobs", JSON, json.dumps(BODY).encode(), ""),
        ("/v1/batches", JSON, json.dumps({"items": [BODY]}).encode(), ""),
        ("/v1/batches", NDJSON, LINES, ""),
        ("/v1/batches", NDJSON, LINES, "respond-async"),
        ("/v1/uploads", PNG, picture_bytes(), ""),
    ],
)
def test_a_body_that_ends_before_its_length_is_refused_and_nothing_is_kept(
    http: httpx.Client, store: JobStore, objects: ObjectStore, path: str, kind: str, body: bytes, prefer: str
) -> None:
    # Given a body that is whole by itself, and a length that says that more was to come
    stored = len(list(objects.list("inputs/"))), len(list(objects.list("batches/")))
    more = {"Content_Length": str(len(body) + 100), "Idempotency_Key": "nightly", "Prefer": prefer}
    status, problem = ask(http, head(path, kind, **more) + b"\r\n\r\n" + body)
    assert (status, problem["code"]) == (400, "malformed_request")
    assert "Content-Length" in str(problem["detail"])
    assert store.list("local").jobs == []
    assert (len(list(objects.list("inputs/"))), len(list(objects.list("batches/")))) == stored
    # The whole request with the same key is then a first one.
    whole = http.post(path, content=body, headers={"Content-Type": kind, "Idempotency-Key": "nightly"})
    assert whole.status_code in (201, 202)
    assert "Idempotent-Replayed" not in whole.headers


@pytest.mark.parametrize("path", ["/v1/jobs", "/v1/batches", "/v1/uploads"])
def test_a_body_in_broken_chunks_is_malformed(http: httpx.Client, path: str) -> None:
    kind = PNG if path == "/v1/uploads" else JSON
    request = head(path, kind, Transfer_Encoding="chunked") + b"\r\n\r\nzz\r\n"
    status, problem = ask(http, request)
    assert (status, problem["code"]) == (400, "malformed_request")


def test_a_form_without_a_boundary_is_malformed(http: httpx.Client) -> None:
    answer = http.post("/v1/uploads", content=b"--x", headers={"Content-Type": "multipart/form-data"})
    assert answer.status_code == 400
    assert "boundary" in answer.json()["detail"]


@pytest.mark.parametrize(
    "fields", [{str(n): "" for n in range(1001)}, {"text": "x" * 600_000}], ids=["many", "long"]
)
def test_a_form_with_too_much_beside_its_files_is_told_so(http: httpx.Client, fields: dict[str, str]) -> None:
    answer = http.post("/v1/uploads", data=fields, files={"file": picture_bytes()})
    assert answer.status_code == 422
    assert "too many fields" in answer.json()["errors"][0]["detail"]


def _is_answered_or_closed(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        connection.recv(1, socket.MSG_PEEK)
    except TimeoutError:
        return False
    return True


@pytest.fixture
def impatient(valkey: str, tmp_path: Path) -> Iterator[ApiServer]:
    """An API of four threads that cuts off after a second."""
    with ApiServer(tmp_path, valkey, api_threads="4", api_stall_seconds="1") as server:
        yield server


@pytest.mark.parametrize(
    "said", [b"POST /v1/jobs HT", head("/v1/jobs", JSON, Content_Length="500") + b"\r\n\r\n{"]
)
def test_callers_that_stand_still_in_mid_request_hold_the_service_up_for_a_while_only(
    impatient: ApiServer, said: bytes
) -> None:
    address = impatient.url.removeprefix("http://").split(":")
    with ExitStack() as stack, checked_client(impatient.url) as client:
        still = [
            stack.enter_context(socket.create_connection((address[0], int(address[1])))) for _ in range(16)
        ]
        for connection in still:
            connection.sendall(said)
        # Sixteen in turns of four, for a second each: then there is room, though none has closed its end.
        begun = time.monotonic()
        while not all(_is_answered_or_closed(connection) for connection in still):
            assert client.get("/healthz").status_code == 200
        assert time.monotonic() - begun < 25
        for connection in still:
            connection.settimeout(20)
            while connection.recv(4096):
                pass  # until the service has closed it
    assert "Traceback" not in impatient.log.read_text()
