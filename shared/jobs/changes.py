"""The stream of changes as its readers see it: what each entry says, and how far back it reaches.

Written by `changes.lua`. An entry is a hint: it says where a job stood when it changed; the record says where
it stands.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from sys import intern
from typing import Any

import redis

from shared.jobs.hashes import UnreadableRecordError
from shared.jobs.keys import Key
from shared.jobs.record import Job, Status
from shared.redis import translated

#: Where a stream begins: before the first entry that it can have.
BEGINNING = "0-0"


def order(entry_id: str) -> tuple[int, int]:
    """The place of an entry's ID (`<milliseconds>-<number>`) among others.

    Raises:
        ValueError: it is no such ID.
    """
    milliseconds, dash, number = entry_id.partition("-")
    if not (dash and milliseconds.isascii() and milliseconds.isdigit() and len(milliseconds) <= 20):
        raise ValueError(f"{entry_id!r} is not the ID of an entry")
    if not (number.isascii() and number.isdigit() and len(number) <= 20):
        raise ValueError(f"{entry_id!r} is not the ID of an entry")
    return int(milliseconds), int(number)


@dataclass(frozen=True, slots=True)
class Change:
    """One entry.

    Attributes:
        id: the entry's, later ones being greater by `order`.
        uid: of the job, or of the batch.
        version: the record's after the change.
        status: likewise. stage: likewise; None where there is none.
        progress: the record's JSON (`record.PaintProgress`).
        preview_step: at which the latest preview was made.
        batch_id: uid of the batch that the job is an item of. custom_id: what its caller calls it there.
    """

    id: str
    uid: str
    version: int
    status: str
    stage: str | None
    progress: str | None = None
    preview_step: int | None = None
    batch_id: str | None = None
    custom_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether a job of this status has ended; a batch is in none of these."""
        return self.status in _ENDED


_ENDED = frozenset(str(status) for status in Status if status.terminal)


@dataclass(frozen=True)
class Extent:
    """How far the stream reaches.

    Attributes:
        complete_from: every change after this ID is still there.
        last: ID of the newest entry there ever was.
    """

    complete_from: str
    last: str


class ChangeLog:
    """Reads the stream. Every method may raise `StoreUnavailable`."""

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def extent(self) -> Extent:
        """From where to where the stream reaches."""
        with translated():
            try:
                about: Any = self._client.xinfo_stream(Key.CHANGES)
            except redis.ResponseError as error:
                if "no such key" in str(error):
                    return Extent(BEGINNING, BEGINNING)
                raise
        first, last = about["first-entry"], about["last-generated-id"]
        whole = about["entries-added"] == about["length"]
        return Extent(BEGINNING if whole else first[0] if first else last, last)

    def after(self, entry_id: str, most: int) -> list[Change]:
        """The changes that follow an entry, at most so many."""
        with translated():
            found: Any = self._client.xrange(Key.CHANGES, min=f"({entry_id}", count=most)
        return [_change(*entry) for entry in found]

    def wait(self, entry_id: str, seconds: float, most: int) -> list[Change]:
        """The same, waiting for one for so long; the connection's timeout must be longer."""
        with translated():
            found: Any = self._client.xread({Key.CHANGES: entry_id}, count=most, block=round(seconds * 1000))
        return [_change(*entry) for _, entries in found for entry in entries]


def read_jobs(client: redis.Redis, uids: Sequence[str]) -> dict[str, Job]:
    """The records of these jobs, in one round trip; those that are gone, or cannot be read here, are missing.

    Raises:
        StoreUnavailable: Redis does not answer.
    """
    with translated(), client.pipeline(transaction=False) as pipeline:
        for uid in uids:
            pipeline.hgetall(Key.JOB + uid)
        records = pipeline.execute()
    found = {}
    for uid, record in zip(uids, records, strict=True):
        with suppress(UnreadableRecordError):  # a later version's: one of them shall not stop all others
            if record:
                found[uid] = Job.from_hash(record)
    return found


def _change(entry_id: str, fields: Mapping[str, str]) -> Change:
    get = fields.get
    return Change(
        id=entry_id,
        uid=fields["uid"],
        version=int(fields["version"]),
        status=intern(fields["status"]),
        stage=intern(fields["stage"]) or None,
        progress=get("progress"),
        preview_step=int(step) if (step := get("preview_step")) else None,
        batch_id=intern(batch) if (batch := get("batch_id")) else None,
        custom_id=get("custom_id"),
    )
