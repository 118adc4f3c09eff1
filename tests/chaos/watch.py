"""Watches the job store during a run: how many jobs are in each state, who holds which, what a crash costs.

It looks at Redis directly, several times a second, and misses what it cannot see while Redis is away.
"""

import json
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.jobs.keys import Key
from shared.jobs.record import Status
from tests.chaos.schedule import Fault

LOOK_SECONDS = 0.1
#: Redis may be frozen: whoever asks must not be.
ANSWER_SECONDS = 0.3
_FIELDS = ("status", "stage", "fence", "worker", "progress", "checkpoint")


@dataclass
class Held:
    """A job in a worker's hands, as last seen. Times are seconds of the run.

    Attributes:
        fence: of the attempt. worker: ID of the process that holds it. painting: or in intake.
        since: when this attempt was first seen.
        kept: step of the checkpoint. kept_at: when this attempt's last one was first seen; None without.
    """

    fence: str
    worker: int
    painting: bool
    since: float
    kept: int = 0
    kept_at: float | None = None


@dataclass
class Interruption:
    """A job that a fault took from its worker. Times are seconds of the run.

    Attributes:
        fault: which. uid: the job's. painting: it was being painted, not fetched.
        at: when. fence: of the attempt that was interrupted.
        kept: step of its checkpoint then.
        lost_seconds: of work since that, or since the attempt began; 0 when it was kept on leaving.
        resumed_step: where the next attempt began; None before it did.
        held_again: when another attempt held the job. moved_again: when that one told its first step.
        ended: it ended without another attempt.
    """

    fault: Fault
    uid: str
    painting: bool
    at: float
    fence: str
    kept: int
    lost_seconds: float
    resumed_step: int | None = None
    held_again: float | None = None
    moved_again: float | None = None
    ended: bool = False

    @property
    def over(self) -> bool:
        """Nothing more is to be learnt of it."""
        return self.ended or (self.moved_again if self.painting else self.held_again) is not None


@dataclass(frozen=True)
class Sample:
    """Jobs by status at one moment of the run."""

    at: float
    counts: Mapping[str, int]


@dataclass
class Seen:
    """What one look found of a job."""

    status: str
    stage: str | None
    fence: str | None
    worker: str | None
    progress: dict[str, Any] | None
    checkpoint: dict[str, Any] | None


class Watch:
    """The run's eyes. Use it as a context manager; the block is the run.

    Args:
        port: Redis' own, not the proxy's.
        names: of every process so far, by its ID; the keeper's.

    Attributes:
        samples: in order. interruptions: in order.
        holders: names of the processes that held a job, by its uid.
        begun_at: when the run began, in seconds since the epoch.
    """

    def __init__(self, port: int, names: Mapping[int, str]) -> None:
        self._redis = redis.Redis(
            port=port, decode_responses=True, socket_timeout=ANSWER_SECONDS, retry=Retry(NoBackoff(), 0)
        )
        self._names = names
        self.samples: list[Sample] = []
        self.interruptions: list[Interruption] = []
        self.holders: dict[str, set[str]] = {}
        self.begun_at = 0.0
        self._begun = 0.0
        self._held: dict[str, Held] = {}
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, name="watch", daemon=True)

    def __enter__(self) -> Self:
        self._begun, self.begun_at = time.monotonic(), time.time()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._redis.close()

    @property
    def now(self) -> float:
        """Seconds of the run."""
        return time.monotonic() - self._begun

    def interrupt(self, fault: Fault) -> None:
        """Note which jobs a fault is about to take from their workers."""
        self._look()
        with self._lock:
            now = self.now
            known = {(one.uid, one.fence) for one in self.interruptions}
            for uid, held in self._held.items():
                # A dead worker's claim stays until its lease runs out: it cannot be interrupted again.
                if (uid, held.fence) in known or not fault.hits(self._names.get(held.worker, "")):
                    continue
                since = held.since if held.kept_at is None else held.kept_at
                self.interruptions.append(
                    Interruption(fault, uid, held.painting, now, held.fence, held.kept, now - since)
                )

    def _look_on(self) -> None:
        while not self._over.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        with self._lock:
            try:
                counts, leased = self._ask(lambda line: line.hgetall(Key.COUNTS).zrange(Key.LEASES, 0, -1))
                wanted = [*{*leased, *(one.uid for one in self.interruptions if not one.over)}]

                def read(line: Any) -> None:
                    for uid in wanted:
                        line.hmget(Key.JOB + uid, *_FIELDS)

                records = self._ask(read)
            except redis.RedisError:
                return
            now = self.now
            self.samples.append(Sample(now, {name: int(counts.get(name, 0)) for name in Status}))
            jobs = {uid: _seen(record) for uid, record in zip(wanted, records, strict=True)}
            self._held = {uid: held for uid, job in jobs.items() if (held := self._hold(uid, job, now))}
            for one in self.interruptions:
                if not one.over:
                    _follow(one, jobs[one.uid], now)

    def _ask(self, commands: Any) -> list[Any]:
        with self._redis.pipeline(transaction=False) as line:
            commands(line)
            return line.execute()

    def _hold(self, uid: str, job: Seen, now: float) -> Held | None:
        if job.fence is None or job.worker is None:
            return None
        held = self._held.get(uid)
        kept = job.checkpoint["step"] if job.checkpoint else 0
        if held is None or held.fence != job.fence:
            worker = int(job.worker.rpartition(":")[2])
            held = Held(job.fence, worker, job.stage != "fetching", now, kept=kept)
            self.holders.setdefault(uid, set()).add(self._names.get(worker, "?"))
        if kept != held.kept:
            held.kept, held.kept_at = kept, now
        return held


def _seen(record: list[str | None]) -> Seen:
    status, stage, fence, worker, progress, checkpoint = record
    return Seen(
        status or "",
        stage,
        fence,
        worker,
        json.loads(progress) if progress else None,
        json.loads(checkpoint) if checkpoint else None,
    )


def _follow(one: Interruption, job: Seen, now: float) -> None:
    """See whether work at an interrupted job goes on."""
    if job.fence not in (None, one.fence):
        if one.held_again is None:
            one.held_again = now
            one.resumed_step = job.checkpoint["step"] if job.checkpoint else 0
            if one.resumed_step > one.kept:
                one.lost_seconds = 0.0
        if job.progress:
            one.moved_again = now
    elif job.status not in ("queued", "processing"):
        # A short attempt may have begun and ended between two looks.
        one.ended = True
