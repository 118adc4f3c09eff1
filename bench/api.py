"""Requests a second for submit and poll, against a bare Flask handler in the same run.

Run by path: `python bench/api.py [--json]`. Two gunicorn servers with the API's own settings, the API and a
bare Flask application, share one Valkey (append-only file, synced each second, as in the service). A few
processes send one request after the other over connections that stay open. Cases take turns in rounds, so
that what else the machine does meets all of them; the figures are medians over the rounds.

No worker listens, so the API rings bells for the first submits only, as it does while workers are busy.
"""
# ruff: noqa: E402 - this file's folder has to leave the path before anything is imported

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # instead of bench/, where this file would pass for the package `api`

import argparse
import json
import multiprocessing
import os
import socket
import statistics
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

from celery import Celery
from flask import Flask, request

from shared.jobs.keys import Key
from shared.jobs.record import PaintProgress, Queue, Stage
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.redis import connect
from shared.settings import Settings, settings
from tests.support.api import ApiServer
from tests.support.valkey import start_valkey

BODY = {
    "content": "https://example.org/bridge.jpg",
    "styles": ["https://example.org/starry.jpg"],
    "spec": {"preset": "painting", "size": 768, "seed": 7},
    "metadata": {"order": "A-17"},
}
WARM_UP_SECONDS = 0.3
STATIC, HGETALL, DELAY = "bare: static JSON", "bare: HGETALL", "bare: delay()"
HEALTH, POLL, UNCHANGED, SUBMIT = "API: /healthz", "API: poll", "API: poll, unchanged (304)", "API: submit"
#: What each case of the API is compared with.
AGAINST = {HEALTH: STATIC, POLL: HGETALL, UNCHANGED: HGETALL, SUBMIT: DELAY}


def bare() -> Flask:
    """What the API is measured against: the least that Flask, redis-py and Celery can do."""
    app = Flask("bare")
    redis = connect(settings())
    celery = Celery("bare", broker=settings().redis_url)
    celery.conf.task_ignore_result = True

    @celery.task
    def paint(body: dict[str, Any]) -> None:
        """Nobody runs it."""

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {"status": "ok"}

    @app.get("/hgetall/<uid>")
    def hgetall(uid: str) -> dict[str, Any]:
        return redis.hgetall(Key.JOB + uid)  # type: ignore[return-value]

    @app.post("/delay")
    def delay() -> tuple[dict[str, Any], int]:
        return {"id": paint.delay(request.get_json()).id}, 202

    return app


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Attributes:
        name: for the table. port: of its server. message: the request's bytes.
    """

    name: str
    port: int
    message: bytes


@dataclass(frozen=True)
class Figures:
    """What one case came to; `ratio` is its share of the requests a second of what it is compared with."""

    per_second: float
    p50_ms: float
    p99_ms: float
    against: str | None = None
    ratio: float | None = None


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one case in one round")
    parser.add_argument("--connections", type=int, default=8)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        valkey = start_valkey(Path(folder) / "valkey")
        try:
            config = Settings(data_dir=Path(folder), redis_url=valkey.url)
            with ApiServer(Path(folder), valkey.url) as api, _bare_server(Path(folder), valkey.url) as plain:
                rates, latencies = _measure(config, _port(api), _port(plain), arguments)
        finally:
            valkey.kill()
    figures = _figures(rates, latencies)
    if arguments.json:
        about = {"cores": os.cpu_count(), "connections": arguments.connections, "threads": config.api_threads}
        print(json.dumps(about | {"cases": {name: asdict(one) for name, one in figures.items()}}))
    else:
        _print(figures, arguments.connections)


def _bare_server(folder: Path, redis_url: str) -> ApiServer:
    return ApiServer(folder, redis_url, application="bench.api:bare()")


def _port(server: ApiServer) -> int:
    return int(server.url.rpartition(":")[2])


def _measure(
    config: Settings, api: int, plain: int, arguments: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Requests a second by round, and all latencies in seconds, by case."""
    rates: dict[str, list[float]] = {}
    latencies: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for case in _cases(config, api, plain):
            _load(case, WARM_UP_SECONDS, arguments.connections)
            found = _load(case, arguments.seconds, arguments.connections)
            rates.setdefault(case.name, []).append(len(found) / arguments.seconds)
            latencies.setdefault(case.name, []).extend(found)
    return rates, latencies


def _cases(config: Settings, api: int, plain: int) -> list[Case]:
    """The cases on an emptied store with one live painter and one job that is being painted."""
    redis = connect(config)
    redis.flushdb()
    Workers(redis).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)
    job_id, uid, etag = _job_being_painted(api, JobStore(redis, config))
    poll = f"/v1/jobs/{job_id}"
    return [
        Case(STATIC, plain, _message("GET", "/healthz")),
        Case(HEALTH, api, _message("GET", "/healthz")),
        Case(HGETALL, plain, _message("GET", f"/hgetall/{uid}")),
        Case(POLL, api, _message("GET", poll)),
        Case(UNCHANGED, api, _message("GET", poll, f"If-None-Match: {etag}")),
        Case(DELAY, plain, _message("POST", "/delay", body=BODY)),
        Case(SUBMIT, api, _message("POST", "/v1/jobs", body=BODY)),
    ]


def _job_being_painted(api: int, store: JobStore) -> tuple[str, str, str]:
    """ID, internal ID and ETag of a job in the middle of its life."""
    with socket.create_connection(("127.0.0.1", api)) as connection:
        job_id = json.loads(_exchange(connection, _message("POST", "/v1/jobs", body=BODY))[1])["id"]
        intake = store.claim(Queue.INTAKE, "intake")
        assert intake
        store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.2})
        claim = store.claim(Queue.PAINT, "painter", ["compact"])
        assert claim
        progress = PaintProgress(100, 430, 1, 3, {"content": 0.1, "style": 0.2, "tv": 0.01})
        store.renew(claim, progress, Stage.PAINTING)
        head, _ = _exchange(connection, _message("GET", f"/v1/jobs/{job_id}"))
    etag = next(line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("etag:"))
    return job_id, claim.job.uid, etag


def _load(case: Case, seconds: float, connections: int) -> list[float]:
    """Latencies in seconds of all requests that the processes got answered in the time."""
    context = multiprocessing.get_context("fork")
    with context.Pool(connections) as pool:
        found = pool.starmap(_requests, [(case.port, case.message, seconds)] * connections)
    return [latency for one in found for latency in one]


def _requests(port: int, message: bytes, seconds: float) -> list[float]:
    latencies = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        now = time.perf_counter()
        end = now + seconds
        while now < end:
            head, _ = _exchange(connection, message)
            if head[9:12] not in ("200", "202", "304"):
                raise RuntimeError(head)
            before, now = now, time.perf_counter()
            latencies.append(now - before)
    return latencies


def _exchange(connection: socket.socket, message: bytes) -> tuple[str, bytes]:
    """Send one request and read its answer: head and body."""
    connection.sendall(message)
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(connection)
    head_bytes, _, body = data.partition(b"\r\n\r\n")
    head = head_bytes.decode("latin-1")
    length = next((line for line in head.splitlines() if line.lower().startswith("content-length:")), ":0")
    while len(body) < int(length.partition(":")[2]):
        body += _some(connection)
    return head, body


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


def _message(method: str, path: str, *headers: str, body: object = None) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *headers]
    data = b"" if body is None else json.dumps(body).encode()
    if data:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def _figures(rates: dict[str, list[float]], latencies: dict[str, list[float]]) -> dict[str, Figures]:
    figures = {}
    for name, found in rates.items():
        cuts = statistics.quantiles(latencies[name], n=100)
        other = AGAINST.get(name)
        ratio = statistics.median(a / b for a, b in zip(found, rates[other], strict=True)) if other else None
        figures[name] = Figures(statistics.median(found), cuts[49] * 1e3, cuts[98] * 1e3, other, ratio)
    return figures


def _print(figures: dict[str, Figures], connections: int) -> None:
    print(f"{os.cpu_count()} cores, shared by server, Valkey and {connections} connections\n")
    print(f"{'case':<28}{'requests/s':>11}{'p50 ms':>9}{'p99 ms':>9}   ratio")
    for name, one in figures.items():
        ratio = f"{one.ratio:.2f} of {one.against}" if one.ratio else ""
        print(f"{name:<28}{one.per_second:>11.0f}{one.p50_ms:>9.2f}{one.p99_ms:>9.2f}   {ratio}")


if __name__ == "__main__":
    main()
