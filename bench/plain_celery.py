"""Impasto beside plain Celery under five faults, both on the same Valkey, in the same run.

    python -m bench.plain_celery [--faults killed lost_message outlasted frozen restarted]

Plain Celery is `bench.plain_task`. Its visibility timeout and Impasto's lease are equally long; a timeout as
short as this one suits the test, not a service, since every longer job runs twice. Both have one worker at
first and get a second one some seconds after the timeout. Each fault is observed for the same time.
"""

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, Self

import redis

from bench import machine
from bench.section import Section, Table
from shared.jobs.record import Job, Queue
from tests.support.proxy import FaultProxy, Way, cut_when
from tests.support.rig import ROOT, SMALL, Rig
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for

#: Visibility timeout of the one, lease of the other.
TIMEOUT_SECONDS = 10
JOB_SECONDS = 4.0
#: When a second worker joins, after the fault: by then the timeout is over.
JOIN_SECONDS = TIMEOUT_SECONDS + 3.0
#: How long is looked on after the fault.
OBSERVED_SECONDS = 45.0
LOOK_SECONDS = 0.05


class Worker(Protocol):
    """A worker process and whatever it started."""

    def kill(self) -> None:
        """SIGKILL."""

    def freeze(self) -> None:
        """SIGSTOP."""

    def thaw(self) -> None:
        """SIGCONT."""


class Side(Protocol):
    """One of the two: servers, workers, jobs by number."""

    name: str
    #: What the answer that hands out a message contains.
    message: bytes
    valkey: ValkeyServer
    proxy: FaultProxy

    def worker(self) -> Worker:
        """Start one, and wait until it listens."""

    def submit(self, number: int, seconds: float) -> None:
        """Hand in a job of about so many seconds."""

    def begun(self, number: int) -> int:
        """How often the job was begun."""

    def published(self, number: int) -> int:
        """How many results it has."""

    def ended(self, number: int) -> bool:
        """Whether the job's caller can see its end."""


@dataclass(frozen=True)
class Group:
    """A plain Celery worker: a process group."""

    process: subprocess.Popen[bytes]

    def kill(self) -> None:
        """SIGKILL, as the end of a container is."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def freeze(self) -> None:
        """SIGSTOP."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        os.killpg(self.process.pid, signal.SIGCONT)


class PlainCelery:
    """Plain Celery with its own Valkey. Use it as a context manager."""

    name = "plain Celery"
    message = b"plain.paint"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._workers: list[Group] = []
        for what in ("begun", "published"):
            (folder / what).mkdir(parents=True)

    def __enter__(self) -> Self:
        with ExitStack() as exits:
            self.valkey = start_valkey(self._folder / "valkey")
            exits.callback(self.valkey.kill)
            self.proxy = exits.enter_context(FaultProxy(self.valkey.port))
            self._redis = redis.Redis.from_url(self.valkey.url, decode_responses=True)
            exits.callback(self._redis.close)
            exits.callback(self._end_workers)
            self._exits = exits.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def worker(self) -> Group:
        """As `python -m celery worker` starts it; a process each, as Celery has it by default."""
        log = self._folder / f"worker-{len(self._workers)}.log"
        command = ["-m", "celery", "-A", "bench.plain_task", "worker", "--concurrency", "1"]
        name = f"plain-{len(self._workers)}@%h"
        with log.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, *command, "--loglevel", "INFO", "--hostname", name],
                cwd=ROOT,
                env=self._environ(self.proxy.url("redis", "/0")),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        self._workers.append(Group(process))
        wait_for(lambda: " ready." in log.read_text(errors="replace"), "the Celery worker")
        return self._workers[-1]

    def submit(self, number: int, seconds: float) -> None:
        """By `apply_async`, in a process of its own, since the settings are read at import."""
        code = (
            "import sys; from bench.plain_task import paint; "
            "paint.apply_async((sys.argv[1], float(sys.argv[2])), task_id=sys.argv[1])"
        )
        subprocess.run(
            [sys.executable, "-c", code, str(number), str(seconds)],
            cwd=ROOT,
            env=self._environ(self.valkey.url),
            check=True,
        )

    def begun(self, number: int) -> int:
        """See `Side.begun`."""
        return self._lines("begun", number)

    def published(self, number: int) -> int:
        """See `Side.published`."""
        return self._lines("published", number)

    def ended(self, number: int) -> bool:
        """Its result is in the result backend."""
        return bool(self._redis.exists(f"celery-task-meta-{number}"))

    def _lines(self, what: str, number: int) -> int:
        path = self._folder / what / str(number)
        return len(path.read_text().splitlines()) if path.exists() else 0

    def _environ(self, url: str) -> dict[str, str]:
        return {
            **os.environ,
            "PLAIN_REDIS_URL": url,
            "PLAIN_FOLDER": str(self._folder),
            "PLAIN_VISIBILITY_SECONDS": str(TIMEOUT_SECONDS),
        }

    def _end_workers(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.kill()


class Impasto:
    """Impasto's paint workers with their own Valkey. Use it as a context manager.

    Args:
        folder: for everything that is kept.
        pace: steps that a worker paints in a second.
    """

    name = "Impasto"
    message = b"impasto.paint"

    def __init__(self, folder: Path, pace: float) -> None:
        times = {"lease_seconds": TIMEOUT_SECONDS, "reap_seconds": 2, "checkpoint_seconds": 10}
        self._rig = Rig(folder, batch=1, **times)
        self._pace = pace
        self._jobs: dict[int, Job] = {}

    def __enter__(self) -> Self:
        self._rig.__enter__()
        self.valkey, self.proxy = self._rig.valkey, self._rig.redis_proxy
        return self

    def __exit__(self, *_: object) -> None:
        self._rig.__exit__(None, None, None)

    def worker(self) -> Worker:
        """See `Side.worker`."""
        return self._rig.worker(Queue.PAINT)

    def submit(self, number: int, seconds: float) -> None:
        """See `Side.submit`."""
        spec = {**SMALL, "steps": max(2, round(seconds * self._pace))}
        self._jobs[number] = self._rig.submit(number, spec=spec)

    def begun(self, number: int) -> int:
        """See `Side.begun`."""
        return self._rig.now(self._jobs[number]).attempt

    def published(self, number: int) -> int:
        """See `Side.published`."""
        return len(self._rig.outputs(self._jobs[number]))

    def ended(self, number: int) -> bool:
        """See `Side.ended`."""
        return self._rig.now(self._jobs[number]).status.terminal


@dataclass(frozen=True)
class Figure:
    """What came of one fault on one side.

    Attributes:
        accepted: jobs. ended: of which the caller can see the end; the others are lost.
        begun_again: jobs begun more than once. published_twice: jobs with more than one result.
        recovery: seconds from the fault until the last job ended; None where one is lost.
    """

    fault: str
    side: str
    accepted: int
    ended: int
    begun_again: int
    published_twice: int
    recovery: float | None


class Scene:
    """One fault on one side: what was handed in, and what was seen of it."""

    def __init__(self, side: Side) -> None:
        self.side = side
        self.jobs = 0
        self._fault_at = 0.0
        self._ended_at: dict[int, float] = {}

    def submit(self, jobs: int, seconds: float = JOB_SECONDS) -> None:
        """Hand in so many jobs."""
        for _ in range(jobs):
            self.side.submit(self.jobs, seconds)
            self.jobs += 1

    def in_mid_job(self) -> None:
        """Wait until the first job is well under way."""
        wait_for(lambda: self.side.begun(0), "the first job to begin", 60)
        time.sleep(JOB_SECONDS / 3)

    def now(self) -> None:
        """The fault happens now."""
        self._fault_at = time.monotonic()

    def watch(self, seconds: float) -> None:
        """Look on until so many seconds after the fault."""
        while time.monotonic() < self._fault_at + seconds:
            for number in range(self.jobs):
                if number not in self._ended_at and self.side.ended(number):
                    self._ended_at[number] = time.monotonic()
            time.sleep(LOOK_SECONDS)

    def join_and_watch(self) -> None:
        """Let a second worker join after the timeout, and look on to the end."""
        self.watch(JOIN_SECONDS)
        self.side.worker()
        self.watch(OBSERVED_SECONDS)

    def figure(self, fault: str) -> Figure:
        """The outcome."""
        all_ended = len(self._ended_at) == self.jobs
        numbers = range(self.jobs)
        return Figure(
            fault,
            self.side.name,
            self.jobs,
            len(self._ended_at),
            sum(self.side.begun(number) > 1 for number in numbers),
            sum(self.side.published(number) > 1 for number in numbers),
            max(self._ended_at.values()) - self._fault_at if all_ended else None,
        )


def killed(scene: Scene) -> None:
    """The worker is killed in mid-job, and started again at once."""
    worker = scene.side.worker()
    scene.submit(3)
    scene.in_mid_job()
    worker.kill()
    scene.now()
    scene.side.worker()
    scene.join_and_watch()


def lost_message(scene: Scene) -> None:
    """The connection breaks as Redis hands out a message: popped there, never arrived."""
    scene.side.worker()
    message = scene.side.message
    scene.side.proxy.rule = cut_when(lambda way, chunk: way is Way.ANSWERED and message in chunk)
    scene.now()
    scene.submit(3)
    scene.join_and_watch()


def outlasted(scene: Scene) -> None:
    """A job takes longer than the timeout."""
    scene.side.worker()
    scene.submit(1, 2.0 * TIMEOUT_SECONDS)
    scene.in_mid_job()
    scene.now()
    scene.join_and_watch()


def frozen(scene: Scene) -> None:
    """The worker is frozen in mid-job; another takes over; then the first goes on."""
    worker = scene.side.worker()
    scene.submit(1)
    scene.in_mid_job()
    worker.freeze()
    scene.now()
    scene.watch(JOIN_SECONDS)
    scene.side.worker()
    scene.watch(JOIN_SECONDS + 2.5 * JOB_SECONDS)
    worker.thaw()
    scene.watch(OBSERVED_SECONDS)


def restarted(scene: Scene) -> None:
    """Redis (append-only file on) is killed in mid-job and started again a second later."""
    scene.side.worker()
    scene.submit(3)
    scene.in_mid_job()
    scene.side.valkey.kill()
    scene.now()
    time.sleep(1)
    scene.side.valkey.restart()
    scene.join_and_watch()


FAULTS: Sequence[Callable[[Scene], None]] = (killed, lost_message, outlasted, frozen, restarted)

PROSE = f"""
The same five faults, one after the other, to plain Celery (`bench/plain_task.py`: `acks_late`,
`reject_on_worker_lost`, `prefetch_multiplier` 1, results in Redis) and to Impasto's paint workers, each on a
Valkey of its own with an append-only file. Visibility timeout and lease are both {TIMEOUT_SECONDS} s. Nobody
would set so short a visibility timeout (the default is an hour): a longer one delays every recovery by as
much, a shorter one runs more jobs twice. Messages that nobody acknowledged are looked for every second, a
hundred times as often as by default. Jobs take about {JOB_SECONDS:g} s. A second worker joins
{JOIN_SECONDS:g} s after the fault; the whole is looked at for {OBSERVED_SECONDS:g} s. *Begun again* is what a
crash demands: Impasto goes on from the last checkpoint then, plain Celery begins anew. A job with two results
was published twice.
"""


def table(figures: Sequence[Figure]) -> Table:
    """Two rows a fault."""
    told = {fault.__name__: (fault.__doc__ or "").rstrip(".") for fault in FAULTS}
    rows = [
        [
            told[one.fault],
            one.side,
            str(one.accepted),
            str(one.ended),
            str(one.accepted - one.ended),
            str(one.begun_again),
            str(one.published_twice),
            "never" if one.recovery is None else f"{one.recovery:.1f}",
        ]
        for one in figures
    ]
    return Table(
        ("fault", "", "accepted", "ended", "lost", "begun again", "published twice", "all ended after s"),
        rows,
    )


def pace(folder: Path) -> float:
    """Steps that a paint worker does in a second, from one job."""
    steps = 300
    with Rig(folder) as rig:
        rig.worker(Queue.PAINT)
        done = rig.ended(rig.submit(spec={**SMALL, "steps": steps}))
        return steps / done.seconds["paint"]


def section(options: argparse.Namespace) -> Section:
    """Compare."""
    chosen = [fault for fault in FAULTS if fault.__name__ in options.faults]
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = pace(folder / "pace")
        for fault in chosen:
            for side in (
                PlainCelery(folder / f"plain-{fault.__name__}"),
                Impasto(folder / fault.__name__, steps),
            ):
                with side:
                    scene = Scene(side)
                    fault(scene)
                    figures.append(scene.figure(fault.__name__))
    return Section(
        "Beside plain Celery",
        machine.command("bench.plain_celery"),
        PROSE,
        machine.describe(1),
        [table(figures)],
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Compare and print."""
    parser = machine.options(__doc__)
    names = [fault.__name__ for fault in FAULTS]
    parser.add_argument("--faults", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
