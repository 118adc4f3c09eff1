"""The archives of batches: which are wanted, who builds one, and which are there.

An archive is built from its beginning by one worker under a lease. Whoever loses it, or dies, is followed by
another that begins anew; a fence keeps the first from publishing. What is in one is the business of
`worker.chores.archives`.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from shared.jobs.batch_record import Batch
from shared.jobs.census import BOUNDS
from shared.jobs.keys import Key
from shared.jobs.policy import milliseconds, policy
from shared.jobs.scripts import Reply, Scripts
from shared.redis import translated
from shared.settings import Settings

PREFIX = "archives/"
CONTENT_TYPE = "application/zip"


class ArchiveLostError(Exception):
    """The archive is another worker's to build, or its batch is gone: publish nothing."""


def key_of(uid: str, fence: str) -> str:
    """Where whoever has a fence stores the archive of a batch."""
    return f"{PREFIX}{uid}/{fence}.zip"


@dataclass(frozen=True)
class Archive:
    """The archive of a batch.

    Attributes:
        done: items that are in it so far. total: items that there are.
        key: of its object, once it is ready; None before that.
        size: bytes. expires_at: when it goes, in seconds since the epoch. Both where it is ready.
    """

    done: int
    total: int
    key: str | None = None
    size: int = 0
    expires_at: float | None = None

    @classmethod
    def from_hash(cls, fields: Mapping[str, str]) -> "Archive":
        """Read an archive's hash."""
        done, total = int(fields["done"]), int(fields["total"])
        if fields["state"] != "ready":
            return cls(done, total)
        return cls(done, total, fields["key"], int(fields["size"]), int(fields["expires_at"]) / 1000)


@dataclass(frozen=True)
class ArchiveClaim:
    """The right to build the archive of a batch, under a fence that is never used again."""

    uid: str
    fence: str

    @property
    def key(self) -> str:
        """Where it is stored."""
        return key_of(self.uid, self.fence)


class ArchiveStore:
    """All archives, in the job store's Redis; safe to share between threads.

    Every method may raise `StoreUnavailable`.
    """

    def __init__(self, redis: redis.Redis, settings: Settings) -> None:
        self._redis = redis
        self._lease = milliseconds(settings.lease_seconds)
        #: Seconds after which a claim is to be renewed.
        self.renew_seconds = settings.lease_seconds / 6
        self._keep = milliseconds(settings.archive_seconds)
        self._scripts = Scripts(redis, policy(settings))

    def want(self, batch: Batch) -> Archive:
        """The archive of an ended batch; one that is not there is built from now on."""
        return _archive(self._scripts.run("archive_want", uid=batch.uid, total=batch.total))

    def want_anew(self, batch: Batch, key: str) -> Archive:
        """The archive of a batch whose object, of this key, is gone or damaged: another is built."""
        flat = self._scripts.run("archive_lost", uid=batch.uid, total=batch.total, key=key)
        return _archive(flat) if flat else self.want(batch)

    def claim(self) -> ArchiveClaim | None:
        """Begin to build one; None when none is wanted."""
        fence = secrets.token_hex(8)
        found = self._scripts.run("archive_claim", fence=fence, lease=self._lease)
        return ArchiveClaim(found[0], fence) if found else None

    def renew(self, claim: ArchiveClaim, done: int) -> None:
        """So many items are in it. Raises `ArchiveLostError`."""
        self._held("archive_renew", claim, done=done, lease=self._lease)

    def give_back(self, claim: ArchiveClaim, *, failed: bool) -> None:
        """Let another begin anew, at once; `failed` where a fault is why. Raises `ArchiveLostError`."""
        self._held("archive_renew", claim, done=0, lease=0, failed=failed)

    def finish(self, claim: ArchiveClaim, size: int, done: int) -> None:
        """The object `claim.key`, of so many bytes, is stored. May be repeated. Raises `ArchiveLostError`."""
        self._held(
            "archive_finish", claim, key=claim.key, size=size, done=done, keep=self._keep, bounds=BOUNDS
        )

    def expire(self, limit: int) -> Sequence[str]:
        """Forget archives that are over, or whose batch is gone; the keys of objects to delete."""
        return self._scripts.run("archive_expire", limit=limit)

    def keys_of(self, uid: str) -> Collection[str]:
        """The objects that may be a batch's archive: of the one that is ready, of the one under way."""
        with translated():
            found: Any = self._redis.hmget(Key.ARCHIVE + uid, "key", "fence")
        key, fence = found
        return [one for one in (key, fence and key_of(uid, fence)) if one]

    def _held(self, script: str, claim: ArchiveClaim, **arguments: object) -> None:
        if not self._scripts.run(script, uid=claim.uid, fence=claim.fence, **arguments):
            raise ArchiveLostError(claim.uid)


def _archive(flat: Reply) -> Archive:
    return Archive.from_hash(dict(zip(map(str, flat[::2]), map(str, flat[1::2]), strict=True)))
