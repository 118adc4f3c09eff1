"""How many jobs go through the workers when painting costs nothing: what the service itself costs a job.

Run as `python -m bench.throughput [--json]`. Jobs with tiny pictures go through real intake and paint
workers, whose engine is a null one (`bench.null_painter`), and tasks through a plain Celery worker that reads
the same bytes and writes the same bytes to the same kind of folder. One worker serves each stage, on one
Valkey, run as the service runs it; the cases take turns in rounds.
"""

import argparse
import hashlib
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Self

import redis
from celery import Celery

from bench import machine
from bench.section import Section, Table, ratio
from bench.stopwatch import Stopwatch
from shared.backbones import BACKBONES
from shared.ids import new_id
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Picture
from shared.jobs.store import JobStore
from shared.objects import open_objects
from shared.settings import Settings
from shared.spec import Spec, resolve
from tests.support.api import environment, picture_bytes
from tests.support.rig import PRODUCTION, ROOT, children_of
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for
from tests.support.web import Web

SIDE = 32
STYLES = 5
OWNER = "local"
SPEC: Spec = resolve({"size": SIDE}, BACKBONES["compact"])
PATIENCE = 3600.0
TICK = os.sysconf("SC_CLK_TCK")

PROSE = """
Pictures of {side} x {side} pixels, each job its own content and one of {styles} styles, in a local folder.
*Ours* are a real intake worker ({slots} slots) and a real paint worker with an engine that answers at once
with the content; each job is claimed, its lease kept, its pictures read and decoded, its result encoded,
stored, synced, read back and recorded. *Plain Celery* is a worker (`acks_late`, one task fetched at a time,
one thread) on the same Valkey (`appendfsync always`) that reads the same inputs and stores one of them;
where there is an intake it is a task of its own that reads the inputs and calls the next. *From URLs*
fetches every content over HTTP and decodes it in the sandbox: a fork a picture. Milliseconds are of wall
time, and of the processor time of the workers and of all that they started, a job; all counts from the
first job that is through to the last.
"""


@dataclass(frozen=True)
class Case:
    """One way for jobs to go.

    Attributes:
        name: for the table. workers: commands of the worker processes. submit: hands in a number of jobs.
        done: how many are through. against: the case to compare with.
    """

    name: str
    workers: Sequence[Sequence[str]]
    submit: Callable[[int], None]
    done: Callable[[], int]
    share: float = 1.0
    against: str | None = None


@dataclass(frozen=True)
class Run:
    """One round of a case: jobs a second, and processor milliseconds a job."""

    per_second: float
    processor_ms: float


@dataclass(frozen=True)
class Figure:
    """What a case came to."""

    name: str
    jobs: int
    per_second: float
    wall_ms: float
    processor_ms: float
    against: str | None
    ratio: float | None


class House:
    """A Valkey, a folder of pictures and a server of pictures. Use it as a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self.valkey: ValkeyServer = start_valkey(self._folder / "valkey", options=PRODUCTION)
            exits.callback(self.valkey.kill)
            self.client = redis.Redis.from_url(self.valkey.url, decode_responses=True)
            exits.callback(self.client.close)
            self.settings = {
                "data_dir": str(self._folder),
                "redis_url": self.valkey.url,
                "trusted_networks": "127.0.0.0/8",
                "log_level": "WARNING",
            }
            self.config = Settings.model_validate(self.settings)
            self.store = JobStore(self.client, self.config)
            self.objects = open_objects(self.config)
            self.web = exits.enter_context(Web())
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def stored(self, number: int) -> Picture:
        """A picture that is an upload, its clean copy stored."""
        data = _picture(number)
        digest = hashlib.sha256(data).hexdigest()
        upload = f"up_{number}"
        found = Picture(f"upload:{upload}", key=f"inputs/{digest}", sha256=digest, width=SIDE, height=SIDE)
        assert found.key
        if self.objects.stat(found.key) is None:
            self.objects.put(found.key, data, "image/png")
        self.store.add_upload(OWNER, upload, found)
        return found

    def served(self, number: int) -> Picture:
        """A picture that is to be fetched."""
        return Picture(self.web.file(f"/{number}.png", _picture(number)))

    def submit(self, content: Picture, style: Picture, *, stored: bool) -> None:
        """Hand in a job."""
        uid = new_id("job")
        self.store.submit(
            NewJob(
                uid=uid,
                id=uid,
                owner=OWNER,
                spec=SPEC,
                content=content,
                styles=(style,),
                metadata={},
                body_hash=uid,
                skip_intake=stored,
                deadline_seconds=86_400.0,
            )
        )

    @contextmanager
    def workers(self, commands: Sequence[Sequence[str]]) -> Iterator[list[int]]:
        """Worker processes while the block runs; yields their IDs."""
        environ = environment(self.settings) | {
            "PLAIN_REDIS_URL": self.valkey.url,
            "PLAIN_OBJECTS": str(self.config.objects_dir),
            "OMP_NUM_THREADS": "1",
        }
        processes: list[subprocess.Popen[bytes]] = []
        with (self._folder / "workers.log").open("ab") as log:
            try:
                processes += (_process(command, environ, log) for command in commands)
                yield [process.pid for process in processes]
            finally:
                for process in processes:
                    process.terminate()
                for process in processes:
                    process.wait(60)


def cases(house: House) -> list[Case]:
    """The cases, those that are compared with first."""
    celery = [
        "-m",
        "celery",
        "-A",
        "bench.plain_bulk",
        "worker",
        "--loglevel",
        "WARNING",
        "--pool",
        "threads",
    ]
    celery += ["--concurrency", "1", "--without-gossip", "--without-mingle"]
    intake, paint = ["-m", "worker", "intake"], ["-m", "bench.null_painter"]

    def tasks(name: str) -> Callable[[int], None]:
        def submit(count: int) -> None:
            style_keys = [house.stored(-1 - number).key for number in range(STYLES)]
            plain = Celery("plain", broker=house.valkey.url)
            for number in range(count):
                keys = [house.stored(number).key, style_keys[number % STYLES]]
                plain.send_task(name, args=[f"plain_{new_id('job')}", keys], ignore_result=True)

        return submit

    def jobs(content: Callable[[int], Picture], *, stored: bool) -> Callable[[int], None]:
        def submit(count: int) -> None:
            styles = [house.stored(-1 - number) for number in range(STYLES)]
            for number in range(count):
                house.submit(content(number), styles[number % STYLES], stored=stored)

        return submit

    def named(number: int) -> Picture:
        return replace(house.stored(number), key=None, sha256=None, width=None, height=None)

    def results() -> int:
        return sum(1 for _ in os.scandir(house.config.objects_dir / "outputs"))

    def finished() -> int:
        return house.store.tally().finished

    alone, both = "plain Celery: one task", "plain Celery: two tasks"
    return [
        Case(alone, [celery], tasks("plain.paint"), results),
        Case("ours: paint alone", [paint], jobs(house.stored, stored=True), finished, against=alone),
        Case(both, [celery], tasks("plain.fetch"), results),
        Case("ours: intake and paint", [intake, paint], jobs(named, stored=False), finished, against=both),
        Case("ours: from URLs", [intake, paint], jobs(house.served, stored=False), finished, 0.1, both),
    ]


def run(house: House, case: Case, count: int) -> Run:
    """Hand in so many jobs, then start the workers, and look on until all are through."""
    house.client.flushdb()
    outputs = house.config.objects_dir / "outputs"
    outputs.mkdir(parents=True, exist_ok=True)
    for path in outputs.iterdir():
        for file in path.iterdir():
            file.unlink()
        path.rmdir()
    case.submit(count)
    with house.workers(case.workers) as pids:
        first = wait_for(case.done, "the first job", PATIENCE)
        watch, spent = Stopwatch(), _processor_seconds(pids)

        def through() -> bool:
            return case.done() >= count

        wait_for(through, "the last job", PATIENCE)
        seconds, spent = watch.seconds(), _processor_seconds(pids) - spent
    rest = max(count - first, 1)  # so few may be through at the first look
    return Run(rest / seconds, 1e3 * spent / rest)


def _process(command: Sequence[str], environ: Mapping[str, str], log: IO[bytes]) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [sys.executable, *command], cwd=ROOT, env=environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log
    )


def _picture(number: int) -> bytes:
    return picture_bytes(SIDE, SIDE, colour=f"#{(number * 2654435761) % 2**24:06x}")


def _processor_seconds(pids: Sequence[int]) -> float:
    """User and system time of processes and all that they have started (proc(5), stat)."""
    total = 0.0
    for pid in pids:
        with suppress(FileNotFoundError):  # a child that has ended meanwhile, and counts with its parent
            words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, words[11:15])) / TICK + _processor_seconds(children_of(pid))
    return total


def measure(options: argparse.Namespace) -> list[Figure]:
    """Every case, in rounds."""
    runs: dict[str, list[Run]] = {}
    counts: dict[str, int] = {}
    with tempfile.TemporaryDirectory(dir=options.folder) as own, House(Path(own)) as house:
        found = [one for one in cases(house) if not options.cases or one.name in options.cases]
        for _ in range(options.rounds):
            for case in found:
                counts[case.name] = max(2, round(options.jobs * case.share))
                runs.setdefault(case.name, []).append(run(house, case, counts[case.name]))
    return [_figure(case, counts[case.name], runs) for case in found]


def _figure(case: Case, jobs: int, runs: Mapping[str, Sequence[Run]]) -> Figure:
    rate = statistics.median(one.per_second for one in runs[case.name])
    share = None
    if case.against in runs:
        pairs = zip(runs[case.name], runs[case.against], strict=True)
        share = statistics.median(a.per_second / b.per_second for a, b in pairs)
    processor = statistics.median(one.processor_ms for one in runs[case.name])
    return Figure(case.name, jobs, rate, 1e3 / rate, processor, case.against, share)


def section(options: argparse.Namespace) -> Section:
    """Measure, and tell."""
    figures = measure(options)
    rows = [
        [
            one.name,
            str(one.jobs),
            f"{one.per_second:.0f}",
            f"{one.wall_ms:.1f}",
            f"{one.processor_ms:.1f}",
            f"{ratio(one.ratio)} of {one.against}" if one.ratio else "-",
        ]
        for one in figures
    ]
    columns = ("case", "jobs", "jobs a second", "wall ms a job", "processor ms a job", "ratio")
    return Section(
        "Throughput without painting",
        machine.command("bench.throughput"),
        PROSE.format(side=SIDE, styles=STYLES, slots=Settings().intake_slots),
        machine.describe(options.threads),
        [Table(columns, rows)],
        [asdict(one) for one in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var"), help="on the disk to measure")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument(
        "--jobs", type=int, default=10_000, help="of a case; fewer where pictures are decoded"
    )
    parser.add_argument("--cases", nargs="*", help="only these")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
