"""The job store: every change of a job's record, each one atomic.

A method here turns arguments and answers to and from Python; what happens stands in the script of the same
name. Jobs, leases and deadlines go by Redis' clock alone. Ringing bells is left to the callers: the store
says when one is wanted.
"""

import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import fields
from itertools import chain
from operator import itemgetter
from typing import Any

from redis import Redis

from shared.errors import Conflict, ErrorInfo, Fault, IdempotencyMismatch, NotFound, Quarantined
from shared.jobs.census import BOUNDS
from shared.jobs.flights import FlightStore
from shared.jobs.keys import Key
from shared.jobs.pages import page_start, page_token_of
from shared.jobs.policy import bridging, milliseconds
from shared.jobs.record import (
    SCHEMA,
    Checkpoint,
    Inputs,
    Job,
    NewJob,
    Output,
    PaintProgress,
    Picture,
    Queue,
    Stage,
    Status,
    accepted,
    bucket_for,
    new_record,
    recipe_of,
    to_json,
    work_for,
)
from shared.jobs.results import Claim, LeaseLostError, Page, Purged, Reaped, Renewal, Submitted, Tally
from shared.jobs.scripts import Reply, Scripts
from shared.redis import translated
from shared.settings import Settings

__all__ = [
    "Claim",
    "JobStore",
    "LeaseLostError",
    "Page",
    "Purged",
    "Reaped",
    "Renewal",
    "Submitted",
    "Tally",
]

#: Jobs that one script call handles at most: Redis serves nobody else meanwhile.
BATCH = 200
#: Calls in one round of the reaper that attend to followers of ended leaders.
SETTLE_ROUNDS = 100
MAX_PAGE = 1000
MAX_OWNERS = 1000
#: Milliseconds that a turn lasts at least.
_SHORTEST_TURN = 50


class JobStore(FlightStore):
    """All jobs and their inputs, in one Redis; safe to share between threads.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(self, redis: Redis, settings: Settings) -> None:
        super().__init__(redis, settings)
        # What only reads needs to be told little.
        self._reading = Scripts(redis, {"schema": SCHEMA, "max_owners": MAX_OWNERS})

    # Callers' side.

    def submit(self, job: NewJob) -> Submitted:
        """Accept a job, or find the one that this request repeats.

        Raises:
            Conflict: the owner has another job of this ID.
            IdempotencyMismatch: the key was used with another body.
            Quarantined: such a job has ended its workers before.
        """
        sent = new_record(job)
        outcome, ring, record, *more = self._scripts.run(
            "submit",
            record=sent,
            stage=Stage.WAITING if job.skip_intake else Stage.FETCHING,
            deadline=milliseconds(job.deadline_seconds),
            idempotency_key=job.idempotency_key,
            max_owners=MAX_OWNERS,
        )
        if outcome == "conflict":
            raise Conflict(f"the ID {job.id!r} belongs to another job")
        if outcome == "mismatch":
            raise IdempotencyMismatch("this Idempotency-Key was used with another body within 24 hours")
        if outcome == "quarantined":
            raise Quarantined(json.loads(more[0])["detail"])
        queue = Queue.PAINT if job.skip_intake else Queue.INTAKE
        fields = _fields(record)
        return Submitted(
            Job.from_hash(fields) if "uid" in fields else accepted(job, sent["recipe"], fields),
            created=outcome == "created",
            ring=bool(ring),
            queue=queue,
            position=more[0] if more else None,
        )

    def get(self, owner: str, id: str) -> Job:  # noqa: A002 - the caller's word
        """The job that an owner calls `id`. Raises `NotFound`."""
        record = self._reading.run("get", owner=owner, id=id)
        if not record:
            raise _not_found(id)
        return _job(record)

    def look(self, owner: str, id: str) -> tuple[Job, int | None]:  # noqa: A002
        """As `get` and `position`, both of one moment. Raises `NotFound`."""
        reply = self._reading.run("look", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        return _job(reply[0]), reply[1] if len(reply) > 1 else None

    def has_batch(self, uid: str) -> bool:
        """Whether a batch has a record, be it of one that was deleted and is still being purged."""
        with translated():
            return bool(self._redis.exists(Key.BATCH + uid))

    def by_uid(self, uid: str) -> Job | None:
        """The job of an internal ID."""
        with translated():
            record: Any = self._redis.hgetall(Key.JOB + uid)
        return Job.from_hash(record) if record else None

    def submitted_with(self, owner: str, idempotency_key: str) -> Job | None:
        """The job that an earlier submit with this key made, for the 24 hours that the key is kept."""
        with translated():
            uid: Any = self._redis.get(f"{Key.IDEMPOTENCY}{idempotency_key}:{owner}")
        job = self.by_uid(uid) if uid else None
        return job if job and job.owner == owner else None

    def list(
        self, owner: str, *, status: Status | None = None, limit: int = 100, page_token: str | None = None
    ) -> Page:
        """An owner's jobs, the last accepted first.

        Args:
            owner: whose.
            status: those of this status only.
            limit: jobs in the page, coerced to 1..1000.
            page_token: `next_token` of the page before.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        limit = max(1, min(limit, MAX_PAGE))
        start = page_start(page_token)
        with translated(), self._redis.pipeline() as pipeline:
            for part in [status] if status else Status:
                key = f"{Key.LIST}{part}:{owner}"
                pipeline.zrevrangebyscore(key, start, "-inf", start=0, num=limit + 1, withscores=True)
            found = sorted(chain.from_iterable(pipeline.execute()), key=itemgetter(1), reverse=True)
            for uid, _ in found[:limit]:
                pipeline.hgetall(Key.JOB + uid)
            records = pipeline.execute()
        jobs = [Job.from_hash(record) for record in records if record]
        token = page_token_of(found[limit - 1][1]) if len(found) > limit else None
        return Page([job for job in jobs if status in (None, job.status)], token)

    def position(self, job: Job) -> int | None:
        """The job's place among those that wait for the same workers, the first being 1.

        None when it does not wait. With more than 1000 owners waiting it may be further back.
        """
        place: Any = self._reading.run("position", uid=job.uid)
        return None if place is None else int(place)

    def cancel(self, owner: str, id: str) -> Job:  # noqa: A002
        """Stop a job: what is queued ends at once, what is processing ends when its worker hears of it.

        Raises:
            NotFound: no such job.
            Conflict: it has ended, and was not canceled.
        """
        reply = self._scripts.run("cancel", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        outcome, record = reply
        if outcome == "conflict":
            # A later Impasto's record need not be readable.
            status = _fields(record)["status"]
            raise Conflict(f"the job is {status} and cannot be canceled")
        return _job(record)

    def purge(self, owner: str, id: str) -> Purged:  # noqa: A002
        """Forget an ended job. Its objects are the caller's to delete.

        Raises:
            NotFound: no such job.
            Conflict: it has not ended.
        """
        reply = self._scripts.run("purge", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        outcome, record = reply
        if outcome == "conflict":
            raise Conflict("the job has not ended; cancel it first")
        return Purged.of(_job(record))

    # Workers' side.

    def claim(self, queue: Queue, worker: str, backbones: Sequence[str] = ()) -> Claim | None:
        """Start an attempt at the next job; None when nothing waits.

        Args:
            queue: the stage.
            worker: the claiming worker's name.
            backbones: for paint, those that the worker offers.
        """
        lanes = _paint_lanes(backbones) if queue == Queue.PAINT else [str(queue)]
        token = secrets.token_hex(8)
        reply = self._scripts.run("claim", lanes=lanes, worker=worker, token=token)
        if not reply:
            return None
        fence, record = reply
        return Claim(_job(record), queue, fence)

    def companions(self, claim: Claim, most: int, backbones: Sequence[str] = ()) -> Sequence[Claim]:
        """Start attempts at jobs that can be painted together with one that is held.

        They wait for the same backbone, are of the same bucket (`shared.jobs.buckets`) and go on from the
        same step. Each is an attempt of its own, under its own fence, of the worker that holds `claim`. A job
        that lost a worker takes no companions and is none.

        Args:
            claim: the job that is held, for paint.
            most: companions at most.
            backbones: those that the worker offers: whose companion is taken waits for another turn in each.

        Raises:
            LeaseLostError: the fence of `claim` is stale; nothing was taken.
        """
        if most < 1:
            return []
        given = self._fenced(
            "companions",
            claim,
            most=most,
            lanes=_paint_lanes(backbones),
            worker=claim.job.worker,
            token=secrets.token_hex(8),
        )[0]
        return [Claim(_job(record), claim.queue, fence) for fence, record in given]

    def renew(
        self,
        claim: Claim,
        progress: PaintProgress | None = None,
        stage: Stage | None = None,
        preview_key: str | None = None,
        preview_step: int | None = None,
    ) -> Renewal:
        """Prolong the lease, and show how far the work has come. Raises `LeaseLostError`."""
        reply = self._fenced(
            "renew",
            claim,
            progress=progress and to_json(progress),
            stage=stage,
            preview_key=preview_key,
            preview_step=preview_step,
        )
        return Renewal(cancel=bool(reply[0]))

    def pin(self, claim: Claim, inputs: Inputs) -> None:
        """Some pictures are in: another attempt at intake need not bring them in again.

        Args:
            claim: intake's.
            inputs: every picture of the job, those that are in with their clean copies.

        Raises:
            LeaseLostError: the fence is stale.
        """
        self._fenced("pin", claim, **_pictures(inputs.content, inputs.styles, inputs.init))

    def advance(
        self,
        claim: Claim,
        content: Picture,
        styles: Sequence[Picture],
        seconds: Mapping[str, float],
        init: Picture | None = None,
    ) -> bool:
        """Intake is done: the job waits for paint. True when a paint bell is wanted.

        Args:
            claim: intake's.
            content: with its clean copy, as are the others.
            styles: with their masks and regions.
            seconds: what it took.
            init: the picture to start from; None leaves the record's as it is.

        Raises:
            LeaseLostError: the fence is stale.
        """
        spec = claim.job.spec
        reply = self._fenced(
            "advance",
            claim,
            seconds=to_json(seconds),
            bounds=BOUNDS,
            bucket=bucket_for(spec, content),
            recipe=recipe_of(spec, Inputs(content, tuple(styles), init or claim.job.init)),
            **_pictures(content, styles, init),
        )
        return bool(reply[0])

    def checkpoint(self, claim: Claim, checkpoint: Checkpoint) -> str | None:
        """Say where another attempt can go on; returns the key that this replaces.

        Raises:
            LeaseLostError: the fence is stale.
        """
        replaced = self._fenced("checkpoint", claim, checkpoint=to_json(checkpoint))[0]
        return Checkpoint(**json.loads(replaced)).key if replaced else None

    def release(self, claim: Claim) -> bool:
        """Give the job back uncharged, to its old place. True when a bell is wanted.

        Raises:
            LeaseLostError: the fence is stale.
        """
        return bool(self._fenced("release", claim)[0])

    def set_aside(self, claim: Claim, seconds: float) -> None:
        """Give the job back uncharged; it waits again after so many seconds. Raises `LeaseLostError`."""
        self._fenced("set_aside", claim, delay=milliseconds(seconds))

    def finish(
        self,
        claim: Claim,
        output: Output,
        *,
        seconds: Mapping[str, float],
        evaluations: int,
        loss: Mapping[str, float],
        batch: int = 1,
    ) -> None:
        """The output is stored: the job has succeeded. May be repeated. Raises `LeaseLostError`."""
        self._fenced(
            "finish",
            claim,
            output=to_json(output),
            seconds=to_json(seconds),
            evaluations=evaluations,
            loss=to_json(loss),
            batch=batch,
            work=work_for(claim.job.spec, claim.job.content),
            bounds=BOUNDS,
        )

    def fail(self, claim: Claim, fault: Fault) -> Job:
        """The attempt failed; returns the job as it is now.

        A retryable fault is kept and tried again after a back-off while attempts are left.

        Raises:
            LeaseLostError: the fence is stale.
        """
        error = to_json(ErrorInfo.of(fault))
        return _job(self._fenced("fail", claim, error=error, retryable=fault.retryable))

    def canceled(self, claim: Claim) -> None:
        """The worker stopped as it was asked to. Raises `LeaseLostError`."""
        self._fenced("canceled", claim)

    # Housekeeping.

    def reap(self, *, regular: bool = False) -> Reaped:
        """Heal what crashed workers and lost bells left, a bounded amount; any number of workers may.

        Args:
            regular: this is a round of those that come every `reap_seconds`; if it comes late, Redis may have
                been away, and leases are treated accordingly.
        """
        ended = self._scripts.run("reap", limit=BATCH, **(bridging(self._settings) if regular else {}))
        rejoined = self._scripts.run("rejoin", limit=BATCH)[0]
        expired, canceled = self._scripts.run("expire", limit=BATCH)
        settled = self._settled()
        self._scripts.run("drop_uploads", limit=BATCH)
        return Reaped(
            requeued=ended.count(Status.QUEUED) + rejoined,
            failed=ended.count(Status.FAILED) + settled.count(Status.FAILED),
            canceled=ended.count(Status.CANCELED) + canceled,
            expired=ended.count(Status.EXPIRED) + expired,
            rang=self._bells_wanted(),
        )

    def was_away(self) -> None:
        """Redis did not answer this worker for a good part of a lease: what that cost is no job's fault."""
        self._scripts.run("away")

    def take_turn(self, name: str, worker: str, seconds: float) -> bool:
        """Whether it is this worker's turn at something that one worker does in each interval.

        Args:
            name: of what is to be done.
            worker: who asks.
            seconds: until it is somebody's turn again.
        """
        hold = max(milliseconds(seconds), _SHORTEST_TURN)
        return bool(self._scripts.run("take_turn", name=name, worker=worker, hold=hold)[0])

    def outstanding(self, queue: Queue) -> int:
        """Bells that nobody has answered yet: the length of the Celery queue's list."""
        with translated():
            return int(self._redis.llen(queue))

    def due_for_purge(self, limit: int) -> Sequence[tuple[str, str]]:
        """Owner and ID of ended jobs whose retention is over."""
        names = self._scripts.run("due", limit=limit)
        return list(zip(names[::2], names[1::2], strict=True))

    def trim_changes(self, seconds: float) -> None:
        """Forget changes that are older than so many seconds: they name jobs that may be purged by now."""
        with translated():
            now: Any = self._redis.time()
            oldest = round((now[0] - seconds) * 1000 + now[1] / 1000)
            self._redis.xtrim(Key.CHANGES, minid=oldest, approximate=False)

    def expire_outputs(self, limit: int) -> tuple[int, Sequence[str]]:
        """Forget outputs that were to go before their jobs; how many, and the keys of objects to delete."""
        jobs, keys = self._scripts.run("expire_outputs", limit=limit)
        return jobs, keys

    def shared(self, output_key: str) -> bool:
        """Whether jobs other than its maker name an output."""
        with translated():
            return bool(self._redis.exists(Key.SHARERS + output_key))

    def counts(self) -> Mapping[str, int]:
        """Jobs by status."""
        with translated():
            found: Any = self._redis.hgetall(Key.COUNTS)
        return {status: int(found.get(status, 0)) for status in Status}

    def tally(self) -> Tally:
        """What was refused, lost, put back and finished so far."""
        with translated():
            found: Any = self._redis.hgetall(Key.TALLY)
        return Tally(**{field.name: int(found.get(field.name, 0)) for field in fields(Tally)})

    def depths(self) -> Mapping[Queue, int]:
        """Jobs that wait for intake and for paint, without those in back-off."""
        with translated():
            lanes: Any = self._redis.hgetall(Key.WAITING)
        intake = int(lanes.pop(Queue.INTAKE, 0))
        return {Queue.INTAKE: intake, Queue.PAINT: sum(map(int, lanes.values()))}

    def _settled(self) -> Reply:
        """What became of followers of ended leaders: the status that each has now."""
        settled: Reply = []
        for _ in range(SETTLE_ROUNDS):
            some = self._scripts.run("settle_followers", limit=BATCH)
            if not some:
                break
            settled += some
        return settled

    def _fenced(self, script: str, claim: Claim, **arguments: object) -> Reply:
        reply = self._scripts.run(script, uid=claim.job.uid, fence=claim.fence, **arguments)
        if not reply:
            raise LeaseLostError(f"job {claim.job.uid} is no longer held under fence {claim.fence}")
        return reply

    def _bells_wanted(self) -> dict[Queue, int]:
        wanted = {}
        for queue, depth in self.depths().items():
            wanted[queue] = max(0, min(self._settings.bells, depth) - self.outstanding(queue))
        return wanted


def _job(flat: Sequence[str]) -> Job:
    """The job of a record as a script returns it."""
    return Job.from_hash(_fields(flat))


def _fields(flat: Sequence[str]) -> dict[str, str]:
    """A record as a script returns it: names and values in turn."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _pictures(content: Picture, styles: Sequence[Picture], init: Picture | None) -> dict[str, str | None]:
    """A job's pictures as scripts take them."""
    return {"content": to_json(content), "styles": to_json(styles), "init": to_json(init) if init else None}


def _paint_lanes(backbones: Sequence[str]) -> list[str]:
    return [f"paint.{name}" for name in backbones]


def _not_found(id: str) -> NotFound:  # noqa: A002
    return NotFound(f"no job {id!r}")
