"""A batch's record: what the store keeps of one batch beside its jobs.

The record is one Redis hash; this module is its only reader. The lines that its jobs are made from are
objects (`shared.jobs.batch_files`).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from shared.errors import ErrorInfo
from shared.jobs.hashes import from_json, optional, reading, seconds, to_json
from shared.jobs.record import Status, Webhook

#: Version of the record's layout; the scripts leave later ones alone.
BATCH_SCHEMA = 1
#: Milliseconds of a slot in which ended items are counted, and the slots that are kept (batches.lua).
SLOT, SLOTS = 15_000, 20
#: Faults of a batch that are kept in its record; all of them are in its file of faults.
MAX_ERRORS = 100


class BatchStatus(StrEnum):
    """Where a batch is in its life. The last three are terminal and final."""

    VALIDATING = "validating"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"

    @property
    def terminal(self) -> bool:
        """True when the batch has ended."""
        return self not in (BatchStatus.VALIDATING, BatchStatus.PROCESSING)


@dataclass(frozen=True)
class NewBatch:
    """What accepting a batch writes.

    Attributes:
        uid: internal ID, never reused; the caller's ID too.
        status: `validating` where its lines are still to be checked, else `processing`.
        total: its items.
        body_hash: hash of the request, to tell a repeated one from another under the same Idempotency-Key.
        idempotency_key: the caller's Idempotency-Key; the same key and body give the same batch for 24 h.
        webhook: who is to be told of the batch's own events.
        retry_of: ID of the batch whose items it tries again, which is kept while this one is `validating`.
    """

    uid: str
    owner: str
    status: BatchStatus
    total: int
    metadata: Mapping[str, str]
    body_hash: str
    idempotency_key: str | None = None
    webhook: Webhook | None = None
    retry_of: str | None = None

    def record(self) -> dict[str, str]:
        """The hash, but for what the script adds: times and order."""
        record = {
            "uid": self.uid,
            "id": self.uid,
            "owner": self.owner,
            "schema": str(BATCH_SCHEMA),
            "status": str(self.status),
            "total": str(self.total),
            "metadata": to_json(self.metadata),
            "body_hash": self.body_hash,
        }
        optional = {"webhook": self.webhook and to_json(self.webhook), "retry_of": self.retry_of}
        return record | {name: value for name, value in optional.items() if value}


@dataclass(frozen=True)
class LineFault:
    """What is wrong with one line of a batch: a pointer into the line's object, and what would be right."""

    line: int
    pointer: str
    detail: str


@dataclass(frozen=True)
class Batch:
    """A batch's record as read from the store. Times are seconds since the epoch, by Redis' clock.

    Attributes:
        loaded: items that are jobs already, the first ones.
        checked: lines that were checked so far, while it is `validating`.
        counts: jobs by status, those that were purged since included; items that are no jobs yet are in none.
        gone: jobs by status that were purged before the batch.
        following: jobs that wait for another's picture, and take no work of their own.
        slots: items that ended with work of their own, the number of the slot of `SLOT` milliseconds.
        started_at: when the first job left the queue that shares no other's picture.
        errors: the first faults of a batch that failed its check. faults: how many there are.
        unchecked: True when it was canceled before all of its lines were checked.
        error: why no more jobs are made of its lines; it fails once those that were made have ended.
    """

    uid: str
    id: str
    owner: str
    schema: int
    version: int
    status: BatchStatus
    total: int
    loaded: int
    checked: int
    counts: Mapping[Status, int]
    gone: Mapping[Status, int]
    following: int
    slots: Mapping[int, int]
    metadata: Mapping[str, str]
    webhook: Webhook | None
    body_hash: str
    cancel_requested: bool
    retry_of: str | None
    created_at: float
    started_at: float | None
    completed_at: float | None
    expires_at: float | None
    errors: tuple[LineFault, ...]
    faults: int
    unchecked: bool
    error: ErrorInfo | None

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> "Batch":
        """Read a record from its Redis hash.

        Raises:
            UnreadableRecordError: it does not say what it must.
        """
        with reading("batch", fields):
            return cls._from_hash(fields)

    @classmethod
    def _from_hash(cls, fields: Mapping[str, str]) -> "Batch":
        get = fields.get
        return cls(
            uid=fields["uid"],
            id=fields["id"],
            owner=fields["owner"],
            schema=int(fields["schema"]),
            version=int(fields["version"]),
            status=BatchStatus(fields["status"]),
            total=int(fields["total"]),
            loaded=int(fields["loaded"]),
            checked=int(get("checked") or 0),
            counts={status: int(get(f"n:{status}") or 0) for status in Status},
            gone={status: int(get(f"gone:{status}") or 0) for status in Status},
            following=max(0, int(get("following") or 0)),
            slots={int(name[2:]): int(n) for name, n in fields.items() if name.startswith("w:")},
            metadata=json.loads(fields["metadata"]),
            webhook=Webhook.from_plain(json.loads(webhook)) if (webhook := get("webhook")) else None,
            body_hash=fields["body_hash"],
            cancel_requested=get("cancel_requested") == "1",
            retry_of=get("retry_of") or None,
            created_at=int(fields["created_at"]) / 1000,
            started_at=seconds(get("started_at")),
            completed_at=seconds(get("completed_at")),
            expires_at=seconds(get("expires_at")),
            errors=tuple(LineFault(**error) for error in from_json(get("errors"), [])),
            faults=int(get("faults") or 0),
            unchecked=get("unchecked") == "1",
            error=optional(ErrorInfo, get("error")),
        )

    @property
    def unmade(self) -> int:
        """Items that are no jobs: not yet, or, after a cancel, never."""
        return self.total - self.loaded

    @property
    def status_of_unmade(self) -> Status | None:
        """What an item is that is no job: queued, or canceled; None where lines were refused or lost."""
        if self.cancel_requested:
            return Status.CANCELED
        return None if self.error or self.status is BatchStatus.FAILED else Status.QUEUED

    @property
    def retriable(self) -> int:
        """Items that did not succeed, but for those whose job was deleted."""
        statuses = (Status.FAILED, Status.CANCELED, Status.EXPIRED)
        return self.unmade + sum(self.counts[status] - self.gone[status] for status in statuses)

    @property
    def ended(self) -> int:
        """Items that have ended."""
        return sum(count for status, count in self.counts.items() if status.terminal)

    @property
    def to_do(self) -> int:
        """Items that have not ended, but for those that end with another or never will be jobs."""
        never = self.unmade if self.cancel_requested or self.error else 0
        return self.total - self.ended - self.following - never

    def rate(self, now: float) -> float | None:
        """Items that ended per second, over the last five minutes; None while none has.

        Those that share another's picture are not among them: they end with it, however many they are.

        Args:
            now: seconds since the epoch.
        """
        here = int(now * 1000) // SLOT
        ended = sum(n for slot, n in self.slots.items() if here - SLOTS < slot <= here)
        if not ended or self.started_at is None:
            return None
        since = max(self.started_at, (here - SLOTS + 1) * SLOT / 1000)
        # Of less than a second nothing can be said yet.
        return ended / (now - since) if now - since >= 1 else None
