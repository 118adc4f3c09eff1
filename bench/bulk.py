"""Ten thousand pictures at once: how soon a batch is accepted, and how fast its jobs come to be.

Run as `python -m bench.bulk [--json]`, or with `--lines 1000000` for a batch that is checked after its
caller's answer (`bench.deferred`). A batch is sent to the API as JSON and as NDJSON, and a chores
worker makes jobs of its items; the same number of tasks is handed to plain Celery, one `delay()` after the
other and as a `group`. All go to one Valkey, run as the service runs it, and take turns in rounds.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from celery import Celery, group

from bench import deferred, machine
from bench.api import body
from bench.bulk_service import DEFAULTS, Service, items
from bench.load import exchange
from bench.section import Section, Table, ratio
from shared.jobs.keys import Key
from tests.support.waiting import wait_for

PATIENCE = 600.0
LOOP, GROUP = "plain Celery: delay() in a loop", "plain Celery: a group"
JSON, NDJSON = "ours: accepted as JSON", "ours: accepted as NDJSON"
JSON_LOADED, NDJSON_LOADED = "ours: jobs made of JSON", "ours: jobs made of NDJSON"

PROSE = """
A batch of {items} items, each its own content, custom ID and metadata, and defaults for all. *Accepted* is
the time until the 202: every item is checked, the batch is in the object store (a local folder, synced) and
in Valkey (`appendfsync always`). *Jobs made* is the time from the 202 until the last item is a job that
waits, made by one chores worker, which lives during all of the run, as does the API. Plain Celery's
producer is a process that hands in a task an item, with the same body: its tasks are in Valkey when it is
through, checked by nobody. All of them, and Valkey, share {cores} cores.
"""


@dataclass(frozen=True)
class Figure:
    """What one way came to; `ratio` is its share of the items a second of `LOOP`."""

    name: str
    items: int
    seconds: float
    ratio: float


class Bulk:
    """The service, and a producer of plain tasks."""

    def __init__(self, service: Service) -> None:
        self._service = service
        celery = Celery("plain", broker=service.redis_url)

        @celery.task(name="plain.job", ignore_result=True)
        def job(body: dict[str, Any]) -> None:
            """Nobody runs it."""

        self._task = job

    def delay(self, count: int) -> float:
        """Seconds of handing in tasks one by one."""
        began = time.perf_counter()
        for number in range(count):
            self._task.delay(body(number))
        return time.perf_counter() - began

    def group(self, count: int) -> float:
        """Seconds of handing in a group of tasks."""
        began = time.perf_counter()
        group(self._task.s(body(number)) for number in range(count)).apply_async()
        return time.perf_counter() - began

    def batch(self, data: bytes, content_type: str) -> tuple[float, float]:
        """Seconds until a batch is accepted, and from then on until all of its items are jobs."""
        port = self._service.port
        head = ("POST /v1/batches HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Type: {content_type}")
        message = "\r\n".join((*head, f"Content-Length: {len(data)}", "", "")).encode() + data
        began = time.perf_counter()
        answer, found = exchange(port, message)
        accepted = time.perf_counter()
        assert " 202 " in answer.partition("\r\n")[0], found[:2000]
        view: dict[str, Any] = json.loads(found)
        total = str(view["counts"]["total"])
        key = f"{Key.BATCH}{view['id']}"
        wait_for(lambda: self._service.client.hget(key, "loaded") == total, "the batch's jobs", PATIENCE)
        return accepted - began, time.perf_counter() - accepted


def measure(options: argparse.Namespace) -> list[Figure]:
    """Every way, in rounds."""
    many = list(items(options.items))
    as_json = json.dumps({"items": many, "defaults": DEFAULTS}).encode()
    as_lines = b"".join(json.dumps(one).encode() + b"\n" for one in ({"defaults": DEFAULTS}, *many))
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as own, ExitStack() as exits:
        service = Service(Path(own), exits)
        bulk = Bulk(service)
        for _ in range(options.rounds):
            _add(seconds, service, {LOOP: lambda: (bulk.delay(options.items),)})
            _add(seconds, service, {GROUP: lambda: (bulk.group(options.items),)})
            _add(seconds, service, {(JSON, JSON_LOADED): lambda: bulk.batch(as_json, "application/json")})
            ndjson = {(NDJSON, NDJSON_LOADED): lambda: bulk.batch(as_lines, "application/x-ndjson")}
            _add(seconds, service, ndjson)
    return [
        Figure(
            name,
            options.items,
            statistics.median(found),
            statistics.median(plain / own for plain, own in zip(seconds[LOOP], found, strict=True)),
        )
        for name, found in seconds.items()
    ]


def _add(
    seconds: dict[str, list[float]],
    service: Service,
    ways: Mapping[str | tuple[str, str], Callable[[], tuple[float, ...]]],
) -> None:
    for names, way in ways.items():
        service.clear()
        for name, found in zip((names,) if isinstance(names, str) else names, way(), strict=True):
            seconds.setdefault(name, []).append(found)


def section(options: argparse.Namespace) -> Section:
    """Measure, and tell."""
    figures = measure(options)
    rows = [
        [one.name, str(one.items), f"{one.seconds:.2f}", f"{one.items / one.seconds:.0f}", ratio(one.ratio)]
        for one in figures
    ]
    return Section(
        "Batches",
        machine.command("bench.bulk"),
        PROSE.format(items=options.items, cores=machine.cores()),
        machine.describe(options.threads),
        [Table(("way", "items", "seconds", "items a second", "rate, of `delay()`"), rows)],
        [asdict(one) for one in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var"), help="on the disk to measure")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--lines", type=int, help="of one batch that is checked later, in place of all else")
    parser.add_argument("--quiet", type=float, default=5.0, help="seconds of polls alone, with --lines")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    measured = deferred.section(options) if options.lines else section(options)
    measured.publish(as_json=options.json)


if __name__ == "__main__":
    main()
