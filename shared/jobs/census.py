"""What the job store looks like from far away: how many of everything, and how long it took.

Counts and times are kept in Redis by the scripts that make them change (`measures.lua`), so that any number
of processes tell one truth and a restart forgets nothing. Reading them for `/metrics` is two commands,
however many jobs there are.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from shared.jobs.record import Queue, Status
from shared.jobs.scripts import Scripts
from shared.jobs.workers import MAX_WORKERS, WorkerInfo, worker_info
from shared.redis import translated

#: Upper ends of the buckets that times are counted in, in milliseconds.
BOUNDS = (
    *(10, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000),
    *(60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000, 14_400_000, 43_200_000),
)
#: What is timed: the parts of a job, and a job from its acceptance to its success.
PARTS = ("fetch", "wait", "paint", "store")
WHOLE = "job"
#: And beside jobs: the building of an archive.
ARCHIVE = "archive"


@dataclass(frozen=True)
class Timing:
    """A histogram of times.

    Attributes:
        buckets: for each bound in seconds, ascending, how many times were no longer; the last is infinite.
        seconds: all times added up.
    """

    buckets: Sequence[tuple[float, int]] = ((float("inf"), 0),)
    seconds: float = 0.0


@dataclass(frozen=True)
class Census:
    """The store at one moment.

    Attributes:
        jobs: that are kept, by status.
        waiting: jobs in each lane's waiting sets.
        oldest: for lanes with something waiting, seconds since the acceptance of its oldest job.
        held: jobs that a worker holds, by stage.
        accepted: jobs, ever: each has been given its place in the order of acceptance.
        delayed: jobs in back-off after an attempt that failed.
        leases_overdue: leases that have run out and were not taken yet.
        purge_due: ended jobs whose retention is over.
        bells: outstanding, by stage.
        workers: the live ones.
        uploads: that are kept.
        batches_due: that chores should load or stop now.
        receivers_due: with a delivery that should be sent now.
        archives: by what is with them: wanted and waiting, being built, ready.
        archives_age: seconds since the oldest that is not ready was wanted; 0 where all are.
        inputs: pictures that jobs or uploads name, that nobody names, and that are being deleted.
        events: how often what happened, as `tally` in the scripts names it.
        timings: of the parts of a job, of the whole, and of archives.
        memory_used: bytes that Redis has allocated. memory_limit: that it may; 0 where that is not set.
    """

    jobs: Mapping[Status, int] = field(default_factory=lambda: dict.fromkeys(Status, 0))
    waiting: Mapping[str, int] = field(default_factory=dict)
    oldest: Mapping[str, float] = field(default_factory=dict)
    held: Mapping[Queue, int] = field(default_factory=dict)
    accepted: int = 0
    delayed: int = 0
    leases_overdue: int = 0
    purge_due: int = 0
    bells: Mapping[Queue, int] = field(default_factory=dict)
    workers: Sequence[WorkerInfo] = ()
    uploads: int = 0
    batches_due: int = 0
    receivers_due: int = 0
    archives: Mapping[str, int] = field(default_factory=dict)
    archives_age: float = 0.0
    inputs: Mapping[str, int] = field(default_factory=dict)
    events: Mapping[str, int] = field(default_factory=dict)
    timings: Mapping[str, Timing] = field(default_factory=dict)
    memory_used: int = 0
    memory_limit: int = 0

    def of(self, kind: str) -> dict[str, int]:
        """Events of a kind, `<kind>:<name>`, by name."""
        start = f"{kind}:"
        return {name.removeprefix(start): n for name, n in self.events.items() if name.startswith(start)}


def take_census(client: redis.Redis) -> Census:
    """Count everything.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    queues = [str(queue) for queue in Queue]
    jobs, waiting, tally, bells, sizes, offers, ages = Scripts(client, {}).run(
        "scrape", queues=queues, max_workers=MAX_WORKERS
    )
    with translated():
        memory: Any = client.info("memory")
    accepted, leases, overdue, delayed, due, uploads, named, unused, sweeping, batches, receivers, *rest = (
        map(int, sizes)
    )
    *archives, archives_age = rest
    counted, events = _numbers(jobs), _numbers(tally)
    painting = counted.get(Status.PROCESSING, 0)
    return Census(
        jobs={status: counted.get(status, 0) for status in Status},
        waiting=_numbers(waiting),
        oldest={lane: float(age) for lane, age in _pairs(ages)},
        # An attempt at intake leaves its job queued; both numbers are of one moment.
        held={Queue.INTAKE: max(0, leases - painting), Queue.PAINT: painting},
        accepted=accepted,
        delayed=delayed,
        leases_overdue=overdue,
        purge_due=due,
        bells={queue: int(n) for queue, n in zip(Queue, bells, strict=True)},
        workers=[worker_info(offer) for offer in offers if offer],
        uploads=uploads,
        batches_due=batches,
        receivers_due=receivers,
        archives=dict(zip(("waiting", "building", "ready"), archives, strict=True)),
        archives_age=archives_age / 1000,
        inputs={"named": named, "unused": unused, "deleting": sweeping},
        events={name: n for name, n in events.items() if not name.startswith("time:")},
        timings={what: _timing(what, events) for what in (*PARTS, WHOLE, ARCHIVE)},
        memory_used=int(memory["used_memory"]),
        memory_limit=int(memory.get("maxmemory", 0)),
    )


def _timing(what: str, events: Mapping[str, int]) -> Timing:
    start = f"time:{what}:"
    found = {name.removeprefix(start): n for name, n in events.items() if name.startswith(start)}
    sum_ms = found.pop("sum", 0)
    beyond = found.pop("inf", 0)
    # Bounds of an earlier version count in those of this one that they lie below.
    kept = {int(bound): n for bound, n in found.items()}
    buckets = [(end / 1000, sum(n for bound, n in kept.items() if bound <= end)) for end in BOUNDS]
    return Timing([*buckets, (float("inf"), sum(kept.values()) + beyond)], sum_ms / 1000)


def _pairs(flat: Sequence[str]) -> list[tuple[str, str]]:
    return list(zip(flat[::2], flat[1::2], strict=True))


def _numbers(flat: Sequence[str]) -> dict[str, int]:
    return {name: int(n) for name, n in _pairs(flat)}
