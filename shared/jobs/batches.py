"""The batches of the job store: every change of a batch's record and of its jobs as a whole, each one atomic.

What a script does is bounded, however large the batch: loading, cancelling and purging go on in further
calls, made by the chores that hold a claim to the batch. What a single item goes through is the business of
`shared.jobs.store`; the scripts there keep the batch's counts (batches.lua).
"""

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import redis

from shared.errors import Conflict, ErrorInfo, IdempotencyMismatch, NotFound
from shared.jobs.batch_record import BATCH_SCHEMA, MAX_ERRORS, Batch, LineFault, NewBatch
from shared.jobs.hashes import fields_of, to_json
from shared.jobs.keys import Key
from shared.jobs.pages import page_size, page_start, page_token_of
from shared.jobs.policy import milliseconds, policy
from shared.jobs.record import Job, Queue, Status
from shared.jobs.results import Page
from shared.jobs.scripts import Reply, Scripts
from shared.redis import translated
from shared.settings import Settings

#: Jobs that one script call makes, cancels or purges at most: Redis serves nobody else meanwhile.
CHUNK = 100
#: Inputs that one call keeps or lets go.
INPUTS = 500


@dataclass(frozen=True)
class BatchClaim:
    """The right to work on a batch for a while.

    Attributes:
        batch: the record as it was when the claim was made.
        holder: names the claim; never used again.
    """

    batch: Batch
    holder: str


@dataclass(frozen=True)
class Loaded:
    """What loading a chunk came to.

    Attributes:
        count: lines that are jobs now.
        ring: queues whose bell should be rung, since few are outstanding.
    """

    count: int
    ring: tuple[Queue, ...]


@dataclass(frozen=True)
class BatchPage:
    """A part of a list of batches, and the token for the next one where there is more."""

    batches: list[Batch]
    next_token: str | None


@dataclass(frozen=True)
class Item:
    """A job of a batch: its place among the items, and its record."""

    index: int
    job: Job


@dataclass(frozen=True)
class Purge:
    """What one call purged.

    Attributes:
        uid: of the batch.
        gone: True when the batch itself was purged, as the last of it; its files are the caller's to delete.
        jobs: those that were purged; their objects are the caller's to delete.
    """

    uid: str
    gone: bool
    jobs: tuple[Job, ...]


class BatchStore:
    """All batches, in the job store's Redis; safe to share between threads.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(self, redis: redis.Redis, settings: Settings) -> None:
        self._redis = redis
        self._lease = milliseconds(settings.lease_seconds)
        self._patience = milliseconds(settings.batch_lines_seconds)
        self._scripts = Scripts(redis, policy(settings) | {"batch_schema": BATCH_SCHEMA})

    # Callers' side.

    def create(self, batch: NewBatch) -> tuple[Batch, bool]:
        """Accept a batch whose lines are stored, or find the one that this request repeats.

        Returns:
            The batch, and False when an earlier request has made it.

        Raises:
            IdempotencyMismatch: the key was used with another body.
            NotFound: the batch that it is to try again was deleted.
        """
        outcome, *record = self._scripts.run(
            "batch_create", record=batch.record(), idempotency_key=batch.idempotency_key
        )
        if outcome == "mismatch":
            raise _mismatch()
        if outcome == "gone":
            raise _not_found(str(batch.retry_of))
        return _batch(*record), outcome == "created"

    def created_with(self, owner: str, idempotency_key: str, body_hash: str) -> Batch | None:
        """The batch that an earlier request with this key made, for the 24 hours that the key is kept.

        Raises:
            IdempotencyMismatch: that request had another body.
        """
        with translated():
            uid: Any = self._redis.get(f"{Key.BATCH_IDEMPOTENCY}{idempotency_key}:{owner}")
        batch = self.by_uid(uid) if uid else None
        if batch and batch.owner != owner:
            return None  # of another key and owner that come to the same name
        if batch and batch.body_hash != body_hash:
            raise _mismatch()
        return batch

    def get(self, owner: str, id: str) -> Batch:  # noqa: A002 - the caller's word
        """The batch that an owner calls `id`. Raises `NotFound`."""
        with translated():
            record: Any = self._redis.hgetall(Key.BATCH + id)
        if not record or record.get("owner") != owner or record.get("deleted") == "1":
            raise _not_found(id)
        return Batch.from_hash(record)

    def by_uid(self, uid: str) -> Batch | None:
        """The batch of an internal ID, unless it was deleted."""
        with translated():
            record: Any = self._redis.hgetall(Key.BATCH + uid)
        return Batch.from_hash(record) if record and record.get("deleted") != "1" else None

    def list(self, owner: str, *, limit: int = 100, page_token: str | None = None) -> BatchPage:
        """An owner's batches, the last accepted first.

        Args:
            owner: whose.
            limit: batches in the page, coerced to 1..1000.
            page_token: `next_token` of the page before.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        limit = page_size(limit)
        start = page_start(page_token)
        with translated():
            found: Any = self._redis.zrevrangebyscore(
                Key.BATCHES + owner, start, "-inf", start=0, num=limit + 1, withscores=True
            )
            with self._redis.pipeline(transaction=False) as pipeline:
                for uid, _ in found[:limit]:
                    pipeline.hgetall(Key.BATCH + uid)
                records = pipeline.execute()
        token = page_token_of(found[limit - 1][1]) if len(found) > limit else None
        return BatchPage([Batch.from_hash(record) for record in records if record], token)

    def items(
        self, uid: str, *, status: Status | None = None, limit: int = 100, page_token: str | None = None
    ) -> Page:
        """A batch's jobs in the order of its items.

        Args:
            uid: the batch's.
            status: those of this status only.
            limit: jobs in the page, coerced to 1..1000.
            page_token: `next_token` of the page before.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        limit = page_size(limit)
        found = self._places(uid, page_start(page_token, first="-inf"), limit + 1, status)
        jobs = [item.job for item in self._jobs(found[:limit])]
        token = page_token_of(found[limit - 1][1]) if len(found) > limit else None
        return Page([job for job in jobs if status in (None, job.status)], token)

    def newest(
        self,
        owner: str,
        id: str,  # noqa: A002
        *,
        status: Status | None = None,
        limit: int = 100,
        page_token: str | None = None,
    ) -> Page:
        """A batch's jobs, the last one first, as `JobStore.list` has them; none of a batch that is not there.

        Raises:
            InvalidRequest: the token is none of ours.
        """
        limit = page_size(limit)
        start = page_start(page_token)
        with translated():
            known: Any = self._redis.hget(Key.BATCH + id, "owner")
        if known != owner:
            return Page([], None)
        found = self._places(id, "-inf", limit + 1, status, last=start, backwards=True)
        jobs = [item.job for item in self._jobs(found[:limit])]
        token = page_token_of(found[limit - 1][1]) if len(found) > limit else None
        return Page([job for job in jobs if status in (None, job.status)], token)

    def stretch(self, uid: str, start: int, count: int) -> Sequence[Item]:
        """The jobs of so many items from one on, in order; what is no job, or was purged, is left out."""
        found = self._places(uid, str(start), count, None, last=str(start + count - 1))
        return self._jobs(found)

    def cancel(self, owner: str, id: str) -> Batch:  # noqa: A002
        """Have a batch stopped: chores cancel its jobs, and what is no job yet will be none.

        Raises:
            NotFound: no such batch.
            Conflict: it has ended, and was not canceled.
        """
        reply = self._scripts.run("batch_cancel", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        outcome, record = reply
        batch = _batch(record)
        if outcome == "conflict":
            raise Conflict(f"The batch is {batch.status} and cannot be canceled.")
        return batch

    def delete(self, owner: str, id: str) -> None:  # noqa: A002
        """Forget an ended batch; its jobs go soon after.

        Raises:
            NotFound: no such batch.
            Conflict: it has not ended, or a batch that tries it again has not read it yet.
        """
        reply = self._scripts.run("batch_delete", owner=owner, id=id)
        if not reply:
            raise _not_found(id)
        outcome, *reader = reply
        if outcome == "conflict":
            raise Conflict("The batch has not ended; cancel it first.")
        if outcome == "read":
            raise Conflict(
                f"{reader[0]} tries this batch again and has not read it yet; wait until that is no longer "
                "`validating`, or cancel it."
            )

    def hold(self, uid: str, inputs: Sequence[str]) -> None:
        """Keep inputs (by sha256) until each item of a batch is a job; before it is accepted, for an hour."""
        for start in range(0, len(inputs), INPUTS):
            self._scripts.run("batch_hold", uid=uid, inputs=list(inputs[start : start + INPUTS]))

    # Chores' side.

    def claim(self) -> BatchClaim | None:
        """Take up the batch that has waited longest; None when nothing is to be done."""
        holder = secrets.token_hex(8)
        record = self._scripts.run("batch_claim", holder=holder)
        return BatchClaim(_batch(record), holder) if record else None

    def give_back(self, claim: BatchClaim) -> None:
        """The others' turn: what is left of the work waits behind theirs."""
        self._scripts.run("batch_yield", uid=claim.batch.uid, holder=claim.holder)

    def load(self, claim: BatchClaim, start: int, jobs: Sequence[Mapping[str, Any]]) -> Loaded | None:
        """Make jobs of the lines from `start` on, and prolong the claim; all of them, or none.

        Args:
            claim: to the batch.
            start: lines that are jobs already.
            jobs: at most `CHUNK`; of each its record, stage and deadline (milliseconds).

        Returns:
            None when the claim is lost or the batch was canceled.
        """
        reply = self._held("batch_load", claim, jobs=list(jobs), **{"from": start})
        if not reply:
            return None
        count, intake, paint = reply
        rings = {Queue.INTAKE: intake, Queue.PAINT: paint}
        return Loaded(count, tuple(queue for queue, ring in rings.items() if ring))

    def checked(
        self, claim: BatchClaim, start: int, stop: int, total: int, faults: Sequence[LineFault]
    ) -> bool:
        """Lines were checked and what is sound of them stored; prolongs the claim.

        Args:
            claim: to the batch.
            start: lines that were checked before.
            stop: lines that are checked now. When that is `total`, the batch is loaded or has failed.
            total: lines in all.
            faults: what is wrong with these lines.

        Returns:
            False when the claim is lost or the batch was canceled.
        """
        return bool(
            self._held(
                "batch_checked",
                claim,
                to=stop,
                total=total,
                faults=len(faults),
                errors=[asdict(fault) for fault in faults[:MAX_ERRORS]],
                max_errors=MAX_ERRORS,
                **{"from": start},
            )
        )

    def lost(self, claim: BatchClaim, error: ErrorInfo) -> bool:
        """The batch's next lines cannot be read: look again, each time a little later, for a while.

        Args:
            claim: to the batch; it is given back.
            error: why the batch has failed, where this was the last time.

        Returns:
            True when it was.
        """
        reply = self._held("batch_lost", claim, error=to_json(error), patience=self._patience)
        return bool(reply and reply[0])

    def renew(self, claim: BatchClaim) -> bool:
        """Prolong a claim; False when it is lost."""
        return bool(self._held("batch_renew", claim))

    def stop(self, claim: BatchClaim) -> bool:
        """Cancel some jobs of a batch that is to stop; True while there is more to do."""
        reply = self._held("batch_stop", claim, limit=CHUNK // 2)
        return bool(reply and reply[0])

    def purge_due(self) -> Purge | None:
        """Purge some jobs of an ended batch whose time has come, or the batch itself when none is left.

        Returns:
            None when no batch is due.
        """
        reply = self._scripts.run("batch_purge", limit=CHUNK, statuses=list(Status))
        if not reply:
            return None
        uid, gone, *records = reply
        return Purge(uid, bool(gone), tuple(Job.from_reply(record) for record in records))

    def let_go(self) -> bool:
        """Let go of some inputs that a batch needs no more; False when there are none."""
        return bool(self._scripts.run("batch_unhold", limit=INPUTS)[0])

    def _held(self, script: str, claim: BatchClaim, **arguments: object) -> Reply:
        return self._scripts.run(script, uid=claim.batch.uid, holder=claim.holder, **arguments)

    def _places(
        self,
        uid: str,
        first: str,
        count: int,
        status: Status | None,
        *,
        last: str = "+inf",
        backwards: bool = False,
    ) -> Sequence[tuple[str, float]]:
        """Jobs and their places between two bounds, in order, all read at one moment."""
        with translated(), self._redis.pipeline(transaction=True) as pipeline:
            for part in [status] if status else Status:
                key = f"{Key.BATCH_ITEMS}{uid}:{part}"
                if backwards:
                    pipeline.zrevrangebyscore(key, last, first, start=0, num=count, withscores=True)
                else:
                    pipeline.zrangebyscore(key, first, last, start=0, num=count, withscores=True)
            found = sorted(chain.from_iterable(pipeline.execute()), key=itemgetter(1), reverse=backwards)
        return found[:count]

    def _jobs(self, places: Sequence[tuple[str, float]]) -> Sequence[Item]:
        with translated(), self._redis.pipeline(transaction=False) as pipeline:
            for uid, _ in places:
                pipeline.hgetall(Key.JOB + uid)
            records = pipeline.execute()
        return [
            Item(int(place), Job.from_hash(record))
            for (_, place), record in zip(places, records, strict=True)
            if record
        ]


def _batch(flat: Sequence[str]) -> Batch:
    return Batch.from_hash(fields_of(flat))


def _mismatch() -> IdempotencyMismatch:
    return IdempotencyMismatch("Use another key for another request; a UUID for each will do.")


def _not_found(id: str) -> NotFound:  # noqa: A002
    return NotFound(f"There is no batch {id!r}.")
