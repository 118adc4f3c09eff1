"""Ten thousand pictures at once: how soon a batch is accepted, and how fast its jobs come to be.

Run as `python -m bench.bulk [--json]`. A batch is sent to the API as JSON and as NDJSON, and a chores
worker makes jobs of its items; the same number of tasks is handed to plain Celery, one `delay()` after the
other and as a `group`. All go to one Valkey, run as the service runs it, and take turns in rounds.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import redis
from celery import Celery, group

from bench import machine
from bench.api import body
from bench.load import exchange
from bench.section import Section, Table, ratio
from shared.jobs.keys import Key
from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.api import ApiServer, environment
from tests.support.rig import PRODUCTION, ROOT
from tests.support.valkey import start_valkey
from tests.support.waiting import wait_for

PATIENCE = 600.0
DEFAULTS = {"styles": ["https://pictures.example.org/styles/1.jpg"], "spec": {"size": 768}}
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
    """The service as far as batches need it, and a producer of plain tasks."""

    def __init__(self, folder: Path, exits: ExitStack) -> None:
        valkey = start_valkey(folder / "valkey", options=PRODUCTION)
        exits.callback(valkey.kill)
        self.client = redis.Redis.from_url(valkey.url, decode_responses=True)
        exits.callback(self.client.close)
        self._workers = Workers(self.client)
        self._advertise()
        api = exits.enter_context(ApiServer(folder, valkey.url))
        self._port = int(api.url.rpartition(":")[2])
        exits.enter_context(_chores(folder, valkey.url))
        wait_for(lambda: len(self._workers.live()) > 1, "the chores worker", PATIENCE)
        celery = Celery("plain", broker=valkey.url)

        @celery.task(name="plain.job", ignore_result=True)
        def job(body: dict[str, Any]) -> None:
            """Nobody runs it."""

        self._task = job

    def clear(self) -> None:
        """Begin with an empty store. The workers that live go on."""
        self.client.flushdb()
        self._advertise()

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
        head = ("POST /v1/batches HTTP/1.1", f"Host: 127.0.0.1:{self._port}", f"Content-Type: {content_type}")
        message = "\r\n".join((*head, f"Content-Length: {len(data)}", "", "")).encode() + data
        began = time.perf_counter()
        answer, found = exchange(self._port, message)
        accepted = time.perf_counter()
        assert " 202 " in answer.partition("\r\n")[0], found[:2000]
        view: dict[str, Any] = json.loads(found)
        total = str(view["counts"]["total"])
        key = f"{Key.BATCH}{view['id']}"
        wait_for(lambda: self.client.hget(key, "loaded") == total, "the batch's jobs", PATIENCE)
        return accepted - began, time.perf_counter() - accepted

    def _advertise(self) -> None:
        self._workers.advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 3600)


@contextmanager
def _chores(folder: Path, redis_url: str) -> Iterator[None]:
    environ = environment({"data_dir": str(folder), "redis_url": redis_url, "log_level": "WARNING"})
    command = [sys.executable, "-m", "worker", "chores"]
    with (folder / "chores.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def items(count: int) -> list[dict[str, Any]]:
    """Items that differ in content, custom ID and metadata."""
    found = []
    for number in range(count):
        whole = body(number)
        found.append(
            {"custom_id": f"item-{number}", "content": whole["content"], "metadata": whole["metadata"]}
        )
    return found


def measure(options: argparse.Namespace) -> list[Figure]:
    """Every way, in rounds."""
    many = items(options.items)
    as_json = json.dumps({"items": many, "defaults": DEFAULTS}).encode()
    as_lines = b"".join(json.dumps(one).encode() + b"\n" for one in ({"defaults": DEFAULTS}, *many))
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as own, ExitStack() as exits:
        bulk = Bulk(Path(own), exits)
        for _ in range(options.rounds):
            _add(seconds, bulk, {LOOP: lambda: (bulk.delay(options.items),)})
            _add(seconds, bulk, {GROUP: lambda: (bulk.group(options.items),)})
            _add(seconds, bulk, {(JSON, JSON_LOADED): lambda: bulk.batch(as_json, "application/json")})
            _add(
                seconds, bulk, {(NDJSON, NDJSON_LOADED): lambda: bulk.batch(as_lines, "application/x-ndjson")}
            )
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
    bulk: Bulk,
    ways: Mapping[str | tuple[str, str], Callable[[], tuple[float, ...]]],
) -> None:
    for names, way in ways.items():
        bulk.clear()
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
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
