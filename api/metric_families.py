"""What `/metrics` tells of the store: each family with its name, its help and where its values come from.

Counters are kept in Redis and go on over restarts. `docs/metrics.md` is written from what is here.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

from api.traffic import Traffic
from api.version import VERSION
from shared.jobs.batch_record import BatchStatus
from shared.jobs.census import ARCHIVE, PARTS, WHOLE, Census, Timing
from shared.jobs.record import SCHEMA, Queue, Status
from shared.jobs.workers import WorkerInfo

#: The values of a family's labels; none of a family without labels.
_Of = TypeVar("_Of", bound=tuple[str, ...])


@dataclass(frozen=True)
class Families:
    """Every family that there is, for whoever lists them."""

    store: Sequence[Metric]
    process: Sequence[Metric]


def every_family() -> Families:
    """All of them, without values."""
    return Families(
        (redis_up(up=False), *of_store(Census())), (build_info(), held_callers(0), *Traffic().collect())
    )


def labels_of(family: Metric) -> tuple[str, ...]:
    """The names of a family's labels."""
    names: tuple[str, ...] = getattr(family, "_labelnames", ())
    return tuple(names)


def build_info() -> Metric:
    """What runs here."""
    values = {(VERSION, str(SCHEMA)): 1}
    return _gauge(
        "impasto_build_info",
        "Always 1: the version of this API process, and of the records that it writes.",
        values,
        "version",
        "schema",
    )


def held_callers(number: int) -> Metric:
    """Who waits at this process."""
    help_ = "Callers that wait at this API process for a change: long polls and streams of events."
    return _gauge("impasto_api_held_callers", help_, {(): number})


def redis_up(*, up: bool) -> Metric:
    """Whether the store has been counted."""
    help_ = "Whether Redis answered this scrape: when it is 0, the families of the store are missing."
    return _gauge("impasto_redis_up", help_, {(): int(up)})


def of_store(census: Census) -> Iterator[Metric]:
    """Every family of the store. One that has no values yet has its name and its help."""
    yield from _jobs(census)
    yield from _queues(census)
    yield from _times(census)
    yield from _faults(census)
    yield from _workers(census)
    yield from _batches(census)
    yield from _archives(census)
    yield from _deliveries(census)
    yield from _kept(census)


def _jobs(census: Census) -> Iterator[Metric]:
    yield _gauge("impasto_jobs", "Jobs that are kept.", _by_name(census.jobs), "status")
    held = {(str(queue),): census.held.get(queue, 0) for queue in (Queue.INTAKE, Queue.PAINT)}
    yield _gauge("impasto_jobs_held", "Jobs that a worker holds: is fetching, or painting.", held, "queue")
    yield _gauge(
        "impasto_jobs_delayed", "Jobs in back-off after an attempt that failed.", {(): census.delayed}
    )
    yield _counter("impasto_jobs_accepted", "Jobs accepted.", {(): census.accepted})
    ended = {status: 0 for status in Status if status.terminal} | census.of("ended")
    yield _counter(
        "impasto_jobs_ended", "Jobs that have ended, purged ones included.", _by_name(ended), "status"
    )
    yield _counter(
        "impasto_jobs_failed",
        "Jobs that have failed, by the code of their error.",
        _codes(census, "failed"),
        "code",
    )


def _queues(census: Census) -> Iterator[Metric]:
    depths = {_lane(lane): number for lane, number in census.waiting.items()}
    depths.setdefault(("intake", "intake"), 0)
    yield _gauge(
        "impasto_queue_depth",
        "Jobs that wait, those in back-off not included. A lane is what the same workers take: `intake`, or "
        "`paint.` and a backbone.",
        depths,
        "queue",
        "lane",
    )
    ages = {lane: census.oldest.get(lane[1], 0.0) for lane in depths}
    yield _gauge(
        "impasto_queue_oldest_age_seconds",
        "Time since the acceptance of the oldest job that waits in the lane; 0 when none does. Of more than "
        "64 owners, the next 64 in turn are looked at.",
        ages,
        "queue",
        "lane",
    )
    bells = {(str(queue),): census.bells.get(queue, 0) for queue in Queue}
    yield _gauge("impasto_bells", "Bells that no worker has answered yet.", bells, "queue")


def _times(census: Census) -> Iterator[Metric]:
    parts = {(part,): census.timings.get(part, Timing()) for part in PARTS}
    yield _histogram(
        "impasto_stage_duration_seconds",
        "Time that a part of a job took: `fetch` of every job whose pictures came in, `wait` (for a "
        "painter), `paint` and `store` of those that succeeded.",
        parts,
        "stage",
    )
    whole = {(): census.timings.get(WHOLE, Timing())}
    yield _histogram("impasto_job_duration_seconds", "Time from a job's acceptance to its success.", whole)


def _faults(census: Census) -> Iterator[Metric]:
    events = {
        "lost": ("impasto_leases_lost", "Leases that ran out: their jobs were taken from their workers."),
        "stale": ("impasto_writes_refused", "Writes of workers that had lost their lease."),
        "reused": (
            "impasto_jobs_reused",
            "Jobs that succeeded with the output of another of the same recipe.",
        ),
        "shared": ("impasto_fetches_shared", "Pictures that were taken from another job's fetch."),
        "released": (
            "impasto_jobs_released",
            "Jobs that a worker put back, uncharged, since it had to leave.",
        ),
        "quarantined": (
            "impasto_jobs_quarantined",
            "Jobs refused or failed since their like had ended its workers.",
        ),
    }
    for event, (name, help_) in events.items():
        yield _counter(name, help_, {(): census.events.get(event, 0)})
    yield _counter(
        "impasto_attempts_failed",
        "Attempts that have failed, by the code of their error; `worker_lost` for those whose lease ran out.",
        _codes(census, "attempt"),
        "code",
    )
    overdue = {(): census.leases_overdue}
    yield _gauge(
        "impasto_leases_overdue", "Leases that have run out and that no reaper has taken yet.", overdue
    )
    due = {(): census.purge_due}
    yield _gauge("impasto_purges_due", "Ended jobs whose retention is over and that are still kept.", due)


def _workers(census: Census) -> Iterator[Metric]:
    groups: dict[tuple[str, str], list[WorkerInfo]] = defaultdict(list)
    offers: dict[tuple[str, str], int] = defaultdict(int)
    for worker in census.workers:
        groups[str(worker.queue), worker.device].append(worker)
        for backbone in worker.backbones:
            offers[backbone, worker.device] += 1
    live = {group: len(workers) for group, workers in groups.items()}
    for queue in Queue:
        if not any(group[0] == queue for group in live):
            live[str(queue), "none"] = 0
    yield _gauge(
        "impasto_workers",
        "Live workers; 0 with the device `none` for a stage without any.",
        live,
        "queue",
        "device",
    )
    yield _gauge(
        "impasto_workers_offering", "Live paint workers that offer a backbone.", offers, "backbone", "device"
    )
    sums = {group: sum(worker.resident_bytes for worker in workers) for group, workers in groups.items()}
    yield _gauge(
        "impasto_workers_resident_bytes",
        "Resident sets of the live workers together.",
        sums,
        "queue",
        "device",
    )
    most = {group: max(worker.resident_bytes for worker in workers) for group, workers in groups.items()}
    yield _gauge(
        "impasto_workers_resident_max_bytes",
        "Resident set of the largest live worker.",
        most,
        "queue",
        "device",
    )


def _batches(census: Census) -> Iterator[Metric]:
    standing = dict.fromkeys(BatchStatus, 0) | census.of("batches")
    yield _gauge("impasto_batches", "Batches that are kept.", _by_name(standing), "status")
    ended = {status: 0 for status in BatchStatus if status.terminal} | census.of("batch")
    yield _counter(
        "impasto_batches_ended", "Batches that have ended, purged ones included.", _by_name(ended), "status"
    )
    yield _gauge(
        "impasto_batches_due",
        "Batches with something that a chores worker should do now: check, load or stop.",
        {(): census.batches_due},
    )


def _archives(census: Census) -> Iterator[Metric]:
    standing = dict.fromkeys(("waiting", "building", "ready"), 0) | dict(census.archives)
    yield _gauge(
        "impasto_archives",
        "Archives of batches: `waiting` for a chores worker, being built, or `ready`.",
        _by_name(standing),
        "state",
    )
    yield _gauge(
        "impasto_archives_oldest_age_seconds",
        "Time since the oldest archive that is not ready was asked for; 0 when all are. Of more than 64, the "
        "next 64 in turn are looked at.",
        {(): census.archives_age},
    )
    events = census.of("archive")
    yield _counter("impasto_archives_built", "Archives that were built.", {(): events.get("built", 0)})
    yield _counter(
        "impasto_archives_failed",
        "Archives that were begun in vain: after a fault, or the loss of their worker, they are begun anew.",
        {(): events.get("failed", 0)},
    )
    yield _histogram(
        "impasto_archive_duration_seconds",
        "Time that building an archive took, from its last beginning.",
        {(): census.timings.get(ARCHIVE, Timing())},
    )


def _deliveries(census: Census) -> Iterator[Metric]:
    standing = dict.fromkeys(("waiting", "delivered", "failed", "disabled"), 0) | census.of("deliveries")
    yield _gauge(
        "impasto_webhook_deliveries",
        "Deliveries of webhooks that are kept: `waiting` to be sent, now or again; `delivered`; `failed`, "
        "given up; `disabled`, the receiver has answered 410.",
        _by_name(standing),
        "state",
    )
    attempts = {
        ("delivered",): census.events.get("delivered", 0),
        ("failed",): census.events.get("undelivered", 0),
    }
    yield _counter(
        "impasto_webhook_attempts",
        "Attempts to deliver a webhook, by what came of them.",
        attempts,
        "outcome",
    )
    yield _counter(
        "impasto_webhooks_abandoned",
        "Webhooks that were given up, since their attempts or their time were over.",
        {(): census.events.get("abandoned", 0)},
    )
    yield _gauge(
        "impasto_webhook_receivers_due",
        "Receivers with a webhook that should be sent now.",
        {(): census.receivers_due},
    )


def _kept(census: Census) -> Iterator[Metric]:
    yield _gauge("impasto_uploads", "Uploads that are kept.", {(): census.uploads})
    inputs = {(state,): census.inputs.get(state, 0) for state in ("named", "unused", "deleting")}
    yield _gauge(
        "impasto_inputs",
        "Input pictures: `named` by a job or an upload, `unused` (deleted after an hour), or being deleted.",
        inputs,
        "state",
    )
    yield _gauge("impasto_redis_memory_bytes", "Memory that Redis has allocated.", {(): census.memory_used})
    limit = {(): census.memory_limit}
    yield _gauge(
        "impasto_redis_memory_max_bytes",
        "Memory that Redis may allocate before it refuses new jobs; 0 for no limit.",
        limit,
    )


def _lane(lane: str) -> tuple[str, str]:
    return lane.partition(".")[0], lane


def _by_name(numbers: Mapping[str, int] | Mapping[Status, int]) -> dict[tuple[str, ...], float]:
    return {(str(name),): number for name, number in numbers.items()}


def _codes(census: Census, kind: str) -> dict[tuple[str, ...], float]:
    return _by_name(census.of(kind))


def _gauge(name: str, help_: str, values: Mapping[_Of, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, help_, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _counter(name: str, help_: str, values: Mapping[_Of, float], *labels: str) -> Metric:
    family = CounterMetricFamily(name, help_, labels=labels)
    for of, value in values.items():
        family.add_metric(of, value)
    return family


def _histogram(name: str, help_: str, timings: Mapping[_Of, Timing], *labels: str) -> Metric:
    family = HistogramMetricFamily(name, help_, labels=labels)
    for of, timing in timings.items():
        family.add_metric(of, _ends(timing.buckets), timing.seconds)
    return family


def _ends(buckets: Sequence[tuple[float, int]]) -> list[tuple[str, float]]:
    return [("+Inf" if end == float("inf") else str(end), float(number)) for end, number in buckets]
