"""A million pictures at once: the course of a batch that is checked after its caller's answer, and back.

Run as `python -m bench.bulk --lines 1000000`. One batch is sent as NDJSON with `Prefer: respond-async`,
checked and made jobs by a chores worker, canceled, and deleted. Meanwhile a process polls the batch and
submits single jobs as another caller would, and Valkey is asked how long it served nobody else.
"""

import argparse
import json
import multiprocessing
import multiprocessing.connection
import re
import socket
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path
from typing import Any

from bench import machine
from bench.api import body
from bench.bulk_service import DEFAULTS, Service, items
from bench.load import exchange, message
from bench.section import Section, Table
from shared.jobs.keys import Key
from shared.objects.local import LocalObjects
from tests.support.waiting import wait_for

#: Seconds for one phase; a million lines take some minutes.
PATIENCE = 3 * 3600.0
#: Between two requests of the caller that is timed.
PAUSE_SECONDS = 0.05
#: What takes Valkey as long or longer is seen by its latency monitor.
SLOW_MILLISECONDS = 1

PROSE = """
A batch of {lines} items ({megabytes:.0f} MB of NDJSON), each its own content, custom ID and metadata, and
defaults for all; nobody paints. *Sent* is until the 202: the lines are in the object store (a local folder,
synced). *Checked* is until the last line is, by one chores worker; *made* until the last one is a job that
waits; *canceled* from the request until no job is left to cancel; *purged* from the DELETE until the last job
the batch and its files are gone. Peaks are high-water marks of the resident set within the phase. *Longest
hold* is the longest that Valkey was with one command, scripts above all; *longest other* what else kept it
(its fork, its file), both by its latency monitor. Polls are of the batch, submits of single jobs, by a caller
who does one after the other, twenty a second.
"""


@dataclass(frozen=True)
class Phase:
    """What one phase came to.

    Attributes:
        lines: that went through it; 0 where nothing did. seconds: that it took.
        api, chores: most bytes resident. memory: Valkey's used_memory at its end. keys: Valkey's, likewise.
        hold: milliseconds of the longest command; other: of what else kept Valkey, and what that was.
        polls, submits: seconds that each took.
    """

    name: str
    lines: int
    seconds: float
    api: int
    chores: int
    memory: int
    keys: int
    hold: int
    other: str
    polls: list[float]
    submits: list[float]


class Caller:
    """Somebody else, in a process of their own: polls a batch, and submits a job, again and again.

    Args:
        port: of the API.
    """

    def __init__(self, port: int) -> None:
        context = multiprocessing.get_context("fork")
        self._ours, theirs = context.Pipe()
        self._process = context.Process(target=_call, args=(port, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def timed(self) -> tuple[list[float], list[float]]:
        """Seconds of each poll and of each submit since the last time."""
        self._ours.send(None)
        found: tuple[list[float], list[float]] = self._ours.recv()
        return found

    def poll(self, batch: str) -> None:
        """Poll this batch from now on."""
        self._ours.send(batch)
        self._ours.recv()

    def stop(self) -> None:
        """Go."""
        self._process.terminate()
        self._process.join()


def _call(port: int, orders: "multiprocessing.connection.Connection[Any, Any]") -> None:
    polls: list[float] = []
    submits: list[float] = []
    batch, number = "", 0
    while True:
        if orders.poll(PAUSE_SECONDS):
            order = orders.recv()
            if order is None:
                orders.send((polls, submits))
                polls, submits = [], []
            else:
                batch = order
                orders.send(None)
        number += 1
        began = time.perf_counter()
        # A batch that is purged is a poll all the same.
        exchange(port, message("GET", port, f"/v1/batches/{batch}" if batch else "/v1/batches"))
        polled = time.perf_counter()
        answer, found = exchange(port, message("POST", port, "/v1/jobs", body=body(number)))
        submitted = time.perf_counter()
        if " 202 " not in answer.partition("\r\n")[0]:
            raise RuntimeError(found[:1000].decode())
        polls.append(polled - began)
        submits.append(submitted - polled)
        job = json.loads(found)["id"]
        exchange(port, message("POST", port, f"/v1/jobs/{job}/cancel"))
        exchange(port, message("DELETE", port, f"/v1/jobs/{job}"))


class Course:
    """The phases of one batch, each measured while it runs."""

    def __init__(self, service: Service, caller: Caller) -> None:
        self._service, self._caller = service, caller
        self.phases: list[Phase] = []
        service.client.config_set("latency-monitor-threshold", SLOW_MILLISECONDS)

    def phase(self, name: str, lines: int, work: Callable[[], object]) -> None:
        """Do this, and measure it."""
        client = self._service.client
        pids = (self._service.api, self._service.chores)
        self._caller.timed()
        client.execute_command("LATENCY", "RESET")
        for pid in pids:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        began = time.perf_counter()
        work()
        seconds = time.perf_counter() - began
        worst = {event: most for event, _, _, most, *_ in client.execute_command("LATENCY", "LATEST")}
        hold = max(worst.pop("command", 0), worst.pop("fast-command", 0))
        other = max(worst, key=lambda event: worst[event], default="")
        polls, submits = self._caller.timed()
        api, chores = map(_peak, pids)
        memory, keys = int(client.info("memory")["used_memory"]), int(client.dbsize())
        said = f"{worst[other]} ({other})" if other else "0"
        self.phases.append(Phase(name, lines, seconds, api, chores, memory, keys, hold, said, polls, submits))
        # The whole takes long: what is known is told at once.
        print(*(" | ".join(table.rows[-1]) for table in tables(self.phases)), sep="\n", file=sys.stderr)


def measure(lines: int, quiet: float, folder: Path) -> tuple[int, list[Phase]]:
    """The bytes that were sent, and every phase; between them polls are timed for `quiet` seconds."""
    with tempfile.TemporaryDirectory(dir=folder) as own, ExitStack() as exits:
        service = Service(Path(own), exits)
        caller = Caller(service.port)
        exits.callback(caller.stop)
        course = Course(service, caller)
        course.phase("before", 0, lambda: time.sleep(quiet))

        body = Path(own) / "batch.ndjson"
        with body.open("wb") as file:
            file.writelines(_lines(lines))
        sent: list[str] = []
        course.phase("sent", lines, lambda: sent.append(_send(service.port, body)))
        (batch,) = sent
        caller.poll(batch)
        key = f"{Key.BATCH}{batch}"
        objects = LocalObjects(Path(own) / "objects")

        def until(done: Callable[[dict[str, str]], bool]) -> None:
            wait_for(lambda: done(service.client.hgetall(key)), "the batch", PATIENCE)

        course.phase("checked", lines, lambda: until(lambda now: now["status"] != "validating"))
        course.phase("made", lines, lambda: until(lambda now: now["loaded"] == now["total"]))
        course.phase("all wait", 0, lambda: time.sleep(quiet))

        def cancel() -> None:
            _ask(service.port, "POST", f"/v1/batches/{batch}/cancel", 202)
            until(lambda now: now["status"] == "canceled")

        def delete() -> None:
            _ask(service.port, "DELETE", f"/v1/batches/{batch}", 204)
            wait_for(
                lambda: not service.client.exists(key) and not any(objects.list(f"batches/{batch}/")),
                "the batch to go",
                PATIENCE,
            )

        course.phase("canceled", lines, cancel)
        course.phase("purged", lines, delete)
        course.phase("after", 0, lambda: time.sleep(quiet))
        return body.stat().st_size, course.phases


def _send(port: int, body: Path) -> str:
    """Send a batch; returns its ID."""
    head = (
        "POST /v1/batches HTTP/1.1",
        f"Host: 127.0.0.1:{port}",
        "Content-Type: application/x-ndjson",
        "Prefer: respond-async",
        f"Content-Length: {body.stat().st_size}",
        "Connection: close",
    )
    with socket.create_connection(("127.0.0.1", port)) as connection, body.open("rb") as file:
        connection.sendall("\r\n".join((*head, "", "")).encode())
        connection.sendfile(file)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    found, _, view = answer.partition(b"\r\n\r\n")
    if b" 202 " not in found.partition(b"\r\n")[0]:
        raise RuntimeError(answer[:2000].decode())
    batch: str = json.loads(view)["id"]
    return batch


def _lines(count: int) -> Iterator[bytes]:
    return (json.dumps(one).encode() + b"\n" for one in chain(({"defaults": DEFAULTS},), items(count)))


def _ask(port: int, method: str, path: str, status: int) -> None:
    answer, found = exchange(port, message(method, port, path))
    if f" {status} " not in answer.partition("\r\n")[0]:
        raise RuntimeError(found[:1000].decode())


def _peak(pid: int) -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if not found:
        raise RuntimeError(f"the kernel keeps no high-water mark of {pid}")
    return 1024 * int(found[1])


def tables(phases: list[Phase]) -> list[Table]:
    """What the phases took, and what others felt of them."""
    before = phases[0].memory
    took = [
        [
            one.name,
            f"{one.seconds:.1f}",
            f"{one.lines / one.seconds:.0f}" if one.lines else "-",
            f"{one.api / 1e6:.0f}",
            f"{one.chores / 1e6:.0f}",
            f"{(one.memory - before) / 1e6:.1f}",
            str(one.keys),
        ]
        for one in phases
    ]
    felt = [
        [one.name, *_percentiles(one.polls), *_percentiles(one.submits), str(one.hold), one.other]
        for one in phases
    ]
    return [
        Table(
            (
                "phase",
                "seconds",
                "lines a second",
                "API's peak, MB",
                "chores' peak, MB",
                "more in Valkey at its end, MB",
                "keys",
            ),
            took,
        ),
        Table(
            (
                "phase",
                "poll p50, ms",
                "poll p99, ms",
                "submit p50, ms",
                "submit p99, ms",
                "longest hold, ms",
                "longest other, ms",
            ),
            felt,
        ),
    ]


def _percentiles(seconds: list[float]) -> list[str]:
    cuts = statistics.quantiles(seconds, n=100) if len(seconds) > 1 else []
    return [f"{1e3 * cut:.1f}" for cut in (cuts[49], cuts[98])] if cuts else ["-", "-"]


def section(options: argparse.Namespace) -> Section:
    """Measure, and tell."""
    length, phases = measure(options.lines, options.quiet, options.folder)
    return Section(
        f"A batch of {options.lines}",
        machine.command("bench.bulk"),
        PROSE.format(lines=options.lines, megabytes=length / 1e6),
        machine.describe(options.threads),
        tables(phases),
        [asdict(one) for one in phases],
    )
