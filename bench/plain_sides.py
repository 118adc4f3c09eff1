"""The two that `bench.plain_celery` compares, behind one face: servers, workers, jobs by number."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

import redis

from shared.jobs.record import Job, Queue
from tests.support.proxy import FaultProxy
from tests.support.rig import ROOT, SMALL, Rig
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Times:
    """Seconds of a comparison.

    Attributes:
        timeout: visibility timeout of the one, lease of the other. job: what a job takes, about.
    """

    timeout: float = 10.0
    job: float = 4.0

    @property
    def join(self) -> float:
        """When a second worker joins, after the fault: by then the timeout is over."""
        return self.timeout + 3

    @property
    def observed(self) -> float:
        """How long is looked on after the fault: for a second run to come to its end."""
        return self.join + 2 * self.timeout + 3 * self.job

    @property
    def patience(self) -> float:
        """How much longer while a job has not ended."""
        return 8 * self.timeout


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

    def midway(self, number: int) -> bool:
        """Whether about a third of the job is done."""

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

    def __init__(self, folder: Path, times: Times) -> None:
        self._folder, self._times = folder, times
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

    def midway(self, number: int) -> bool:
        """See `Side.midway`."""
        path = self._folder / "begun" / str(number)
        return path.exists() and time.time() - path.stat().st_mtime > self._times.job / 3

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
            "PLAIN_VISIBILITY_SECONDS": str(self._times.timeout),
        }

    def _end_workers(self) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.kill()


class Impasto:
    """Impasto's paint workers with their own Valkey. Use it as a context manager.

    Args:
        folder: for everything that is kept. times: the lease, and how long a job is.
        pace: steps that a worker paints in a second.
    """

    name = "Impasto"
    message = b"impasto.paint"

    def __init__(self, folder: Path, times: Times, pace: float) -> None:
        self._rig = Rig(folder, batch=1, lease_seconds=times.timeout, reap_seconds=2, checkpoint_seconds=10)
        self._times, self._pace = times, pace
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

    def midway(self, number: int) -> bool:
        """See `Side.midway`."""
        progress = self._rig.now(self._jobs[number]).progress
        return progress is not None and progress.step > self._times.job / 3 * self._pace

    def begun(self, number: int) -> int:
        """See `Side.begun`."""
        return self._rig.now(self._jobs[number]).attempt

    def published(self, number: int) -> int:
        """See `Side.published`."""
        return len(self._rig.outputs(self._jobs[number]))

    def ended(self, number: int) -> bool:
        """See `Side.ended`."""
        return self._rig.now(self._jobs[number]).status.terminal


def pace(folder: Path) -> float:
    """Steps that a paint worker does in a second, from one job."""
    steps = 300
    with Rig(folder) as rig:
        rig.worker(Queue.PAINT)
        done = rig.ended(rig.submit(spec={**SMALL, "steps": steps}))
        return steps / done.seconds["paint"]
