"""What the job store answers with."""

from collections.abc import Mapping
from dataclasses import dataclass

from shared.jobs.record import Job, Queue, Status


class LeaseLostError(Exception):
    """The fence is not the job's current one: stop, and publish nothing."""


@dataclass(frozen=True)
class Submitted:
    """An accepted job.

    Attributes:
        created: False when the request repeats an earlier one and `job` is that one's.
        ring: True when a bell should be rung, since few are outstanding.
        queue: whose bell: where the job begins.
        position: the job's place among those that wait, as `JobStore.position` gives it.
    """

    job: Job
    created: bool
    ring: bool
    queue: Queue
    position: int | None


@dataclass(frozen=True)
class Claim:
    """One attempt at a job.

    Attributes:
        job: the record as it was when the attempt started.
        queue: the stage the attempt is of.
        fence: the attempt's name, `<number>-<token>`; safe in object keys, never used again.
    """

    job: Job
    queue: Queue
    fence: str

    @property
    def log_fields(self) -> dict[str, object]:
        """What lines of the log about this attempt say."""
        job = self.job
        return {
            "job": job.uid,
            "job_id": job.id if job.id != job.uid else None,
            "batch": job.batch_id,
            "owner": job.owner,
            "request_id": job.request_id,
            "attempt": job.attempt,
        }


@dataclass(frozen=True)
class Renewal:
    """A lease that goes on.

    Attributes:
        cancel: True when cancel was asked for or the deadline passed: stop soon, then call `canceled`.
    """

    cancel: bool


@dataclass(frozen=True)
class Page:
    """A part of a list, and the token for the next one where there is more."""

    jobs: list[Job]
    next_token: str | None


@dataclass(frozen=True)
class Purged:
    """What nobody needs once a job is purged.

    Attributes:
        keys: of objects; absent ones among them are fine.
        prefixes: below which lost attempts may have left more of them.
    """

    keys: tuple[str, ...]
    prefixes: tuple[str, ...] = ()

    @classmethod
    def of(cls, job: Job) -> "Purged":
        """What a purged job leaves, by its record as it was, without an output that other jobs need."""
        keys = [job.output and job.output.key, job.preview_key, job.checkpoint and job.checkpoint.key]
        # Who ends an attempt tidies up after it; who loses one cannot. An output that others need stays.
        kept = job.status is Status.SUCCEEDED and job.output is None
        strays = ("checkpoints",) if kept else ("outputs", "checkpoints")
        prefixes = tuple(f"{part}/{job.uid}/" for part in strays) if job.attempt_errors else ()
        return cls(tuple(key for key in keys if key), prefixes)


@dataclass(frozen=True)
class Reaped:
    """What one round of the reaper did.

    Attributes:
        requeued: jobs that wait again, after a lost worker or when their back-off was over.
        failed: jobs that had no attempt left.
        canceled: jobs whose worker was lost after cancel was asked for or their deadline had passed.
        expired: queued jobs whose deadline passed.
        rang: bells that the caller should ring, by queue.
    """

    requeued: int
    failed: int
    canceled: int
    expired: int
    rang: Mapping[Queue, int]


@dataclass(frozen=True)
class Tally:
    """How often it happened since the store was made, over all jobs, purged ones included.

    Attributes:
        finished: a job succeeded: as many jobs as ever did.
        repeated: a finish came again after it had taken effect, and was answered again without effect.
        stale: a write was refused, since its fence was not the current one.
        lost: a lease ran out, and the job was taken from its worker.
        released: a worker that leaves put its job back, uncharged.
        reused: a job succeeded with the output of another; it is among the finished.
        shared: a picture, or why there is none, was taken from another job's fetch.
        delivered: a webhook was taken by its receiver.
        undelivered: an attempt to deliver one failed.
        abandoned: a webhook was given up, since its attempts or its time were over.
    """

    finished: int = 0
    repeated: int = 0
    stale: int = 0
    lost: int = 0
    released: int = 0
    reused: int = 0
    shared: int = 0
    delivered: int = 0
    undelivered: int = 0
    abandoned: int = 0
