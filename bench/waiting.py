"""How many callers one API process lets wait, what each costs it, and what the others notice.

`python -m bench.waiting [--clients N]`: one gunicorn with the API's own settings, a Valkey, and one client
process that opens N streams of events of N different jobs, over loopback, and reads them all in one asyncio
loop. Then all are told of a change of one job that they all watch; meanwhile another process polls.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import httpx

from bench import machine
from bench.load import LEAST
from bench.section import Section, Table
from shared.jobs.record import PaintProgress, Queue, Stage
from shared.jobs.results import Claim
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.redis import connect
from shared.settings import Settings
from tests.support.api import BODY, ApiServer
from tests.support.jobs import new_job
from tests.support.valkey import start_valkey
from tests.support.waiting import wait_for

#: Descriptors that client and server need beside the streams.
SPARE = 400
#: Connections that are opened at a time.
AT_ONCE = 200
OPEN_SECONDS = 600.0

PROSE = """
One gunicorn process with one worker, as the service runs it, and a client of one process on the same
{cores} cores. Every stream is of a job of its own but for the last round, in which all are of one; each is
told how its job is at first, then nothing but a comment every 15 s. *Resident* is the worker's, over what it
had before the first stream; kernel memory of sockets is not in it. *All told* is from the change in Redis
until the last client has read the event. Polls are one after the other on one connection.
"""


@dataclass(frozen=True)
class Streams:
    """What the client process is to open: one stream for each path."""

    port: int
    paths: Sequence[str]


@dataclass
class Polls:
    """Latencies of polls, in seconds."""

    seconds: list[float] = field(default_factory=list)

    @property
    def p50(self) -> float:
        """Median, in milliseconds."""
        return statistics.median(self.seconds) * 1e3

    @property
    def p99(self) -> float:
        """In milliseconds."""
        return statistics.quantiles(self.seconds, n=100)[98] * 1e3


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.waiting", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the section as JSON")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="taken, and not used")
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5.0, help="for which polls are timed, each time")
    arguments = parser.parse_args()
    section(arguments.clients, arguments.seconds, arguments.threads).publish(as_json=arguments.json)
    return 0


def section(wanted: int, seconds: float, threads: int) -> Section:
    """Measure with so many clients, or as many as descriptors allow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    clients = min(wanted, hard - SPARE)
    try:
        figures = _measure(clients, seconds)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    idle, told = figures["one each"], figures["all of one"]
    rows = [
        ["resident before, MB", f"{figures['resident_before'] / 1e6:.1f}"],
        [f"resident with {clients} streams, MB", f"{idle['resident'] / 1e6:.1f}"],
        ["resident a stream, bytes", f"{idle['bytes_each']:.0f}"],
        ["threads of the worker", str(idle["threads"])],
        ["streams opened a second", f"{clients / idle['open_seconds']:.0f}"],
        ["all told of one change, s", f"{told['told_seconds']:.2f}"],
        ["half told, s", f"{told['half_seconds']:.2f}"],
        ["processor of the worker while idle, %", f"{100 * idle['idle_share']:.1f}"],
    ]
    polls = [[name, f"{one['p50_ms']:.2f}", f"{one['p99_ms']:.2f}"] for name, one in figures["polls"].items()]
    return Section(
        "Callers that wait",
        f"python -m bench.waiting --clients {clients}",
        PROSE.format(cores=os.cpu_count()),
        machine.describe(threads),
        [Table(("what", "figure"), rows), Table(("polls", "p50 ms", "p99 ms"), polls)],
        figures,
    )


def _measure(clients: int, seconds: float) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        valkey = start_valkey(Path(folder) / "valkey")
        try:
            config = Settings(data_dir=Path(folder), redis_url=valkey.url)
            with connect(config) as client:
                Workers(client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 3600)
                store = JobStore(client, config)
                with ApiServer(Path(folder), valkey.url, api_waiters=str(clients)) as api:
                    return _against(api, store, clients, seconds)
        finally:
            valkey.kill()


def _against(api: ApiServer, store: JobStore, clients: int, seconds: float) -> dict[str, Any]:
    port = int(api.url.rpartition(":")[2])
    with httpx.Client(base_url=api.url, timeout=60) as http:
        http.post("/v1/jobs", json=BODY).raise_for_status()
    claim = _watched(store)
    poll = f"{api.url}/v1/jobs/{claim.job.id}"
    httpx.get(poll, headers={"Prefer": "wait=1"}, timeout=30).raise_for_status()  # starts the threads
    jobs = [store.submit(new_job(owner="local")).job.id for _ in range(clients)]
    [worker] = api.workers()
    figures: dict[str, Any] = {"clients": clients, "resident_before": _resident(worker)}
    polls = {"with nobody waiting": _polls(poll, seconds)}
    with _Client(Streams(port, [f"/v1/jobs/{one}/events" for one in jobs])) as streams:
        opened = streams.opened()
        began, used = time.monotonic(), _processor(worker)
        time.sleep(seconds)
        share = (_processor(worker) - used) / (time.monotonic() - began)
        resident = _resident(worker)
        polls[f"with {clients} streams"] = _polls(poll, seconds)
    figures["one each"] = {
        "open_seconds": opened,
        "resident": resident,
        "bytes_each": (resident - figures["resident_before"]) / clients,
        "threads": _threads(worker),
        "idle_share": share,
    }
    wait_for(lambda: _descriptors(worker) < SPARE, "the streams to be closed")
    with _Client(Streams(port, [f"/v1/jobs/{claim.job.id}/events"] * clients)) as streams:
        streams.opened()
        told_at = time.time()
        store.renew(claim, PaintProgress(50, 100, 1, 3), Stage.PAINTING)
        polls[f"while {clients} are told"] = _polls(poll, seconds)
        heard = streams.heard(version=claim.job.version + 2)
    heard.sort()
    figures["all of one"] = {
        "told_seconds": heard[-1] - told_at,
        "half_seconds": heard[len(heard) // 2] - told_at,
    }
    figures["polls"] = {name: {"p50_ms": one.p50, "p99_ms": one.p99} for name, one in polls.items()}
    return figures


def _watched(store: JobStore) -> Claim:
    """A job that is being painted."""
    intake = store.claim(Queue.INTAKE, "intake")
    assert intake
    store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.2})
    claim = store.claim(Queue.PAINT, "painter", ["compact"])
    assert claim
    store.renew(claim, PaintProgress(10, 100, 1, 3), Stage.PAINTING)
    return claim


def _polls(url: str, seconds: float) -> Polls:
    """Polls for so long, and until there are `LEAST` answers."""
    found = Polls()
    with httpx.Client(timeout=60) as http:
        end = time.monotonic() + seconds
        while (began := time.monotonic()) < end or len(found.seconds) < LEAST:
            http.get(url).raise_for_status()
            found.seconds.append(time.monotonic() - began)
    return found


class _Client:
    """A process that reads all streams. Use it as a context manager."""

    def __init__(self, streams: Streams) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_read_all, args=(streams, theirs), daemon=True)
        self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._pipe.send(None)
        self._process.join(60)
        self._pipe.close()

    def opened(self) -> float:
        """Wait until every stream has had its first event; seconds that this took."""
        return float(self._answer())

    def heard(self, version: int) -> list[float]:
        """When each stream had the event of this version, in seconds since the epoch."""
        self._pipe.send(version)
        found: list[float] = self._answer()
        return found

    def _answer(self) -> Any:  # noqa: ANN401
        if not self._pipe.poll(OPEN_SECONDS):
            raise TimeoutError("the clients were not told in time")
        return self._pipe.recv()


def _read_all(streams: Streams, pipe: Connection) -> None:
    asyncio.run(_Reader(streams, pipe).run())


class _Reader:
    """All streams in one loop."""

    def __init__(self, streams: Streams, pipe: Connection) -> None:
        self._streams, self._pipe = streams, pipe
        self._opening = asyncio.Semaphore(AT_ONCE)
        self._first = 0
        self._heard: dict[int, list[float]] = {}

    async def run(self) -> None:
        began = time.monotonic()
        tasks = [asyncio.create_task(self._read(path)) for path in self._streams.paths]
        while self._first < len(tasks):
            await asyncio.sleep(0.02)
            for task in tasks:
                if task.done():
                    task.result()
        self._pipe.send(time.monotonic() - began)
        while (version := await asyncio.to_thread(self._pipe.recv)) is not None:
            while len(self._heard.get(version, ())) < len(tasks):  # noqa: ASYNC110 - an event would cost each
                await asyncio.sleep(0.02)
            self._pipe.send(self._heard[version])
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, path: str) -> None:
        async with self._opening:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._streams.port, limit=16_384)
            writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise RuntimeError(head)
            await self._event(reader)
            self._first += 1
        try:
            while True:
                data = await self._event(reader)
                self._heard.setdefault(data.get("version", 0), []).append(time.time())
        finally:
            writer.close()

    async def _event(self, reader: asyncio.StreamReader) -> dict[str, Any]:
        while line := await reader.readline():
            if line.startswith(b"data: "):
                data: dict[str, Any] = json.loads(line[6:])
                return data
        raise ConnectionError("a stream ended")


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith(f"{name}:")).split()[1])


def _resident(pid: int) -> int:
    return 1024 * _status(pid, "VmRSS")


def _threads(pid: int) -> int:
    return _status(pid, "Threads")


def _processor(pid: int) -> float:
    """Seconds of processor time so far."""
    parts = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(parts[11]) + int(parts[12])) / os.sysconf("SC_CLK_TCK")


def _descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


if __name__ == "__main__":
    raise SystemExit(main())
