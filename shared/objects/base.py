"""What every object store does, and what a key looks like.

Objects are whole pictures and checkpoints, small enough to be held; an archive of many is written and read
bit by bit. Keys come from internal IDs and hashes only; what a caller wrote never becomes part of one.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from shared.errors import StorageUnavailable

#: Segments of letters, digits, `.`, `_` and `-` that start with a letter or digit, joined by `/`.
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*")
_MAX_KEY = 255
#: Written and read by `check`; one small object that stays.
PROBE_KEY = "probes/ready"
PROBE = b"impasto"


class ObjectMissingError(LookupError):
    """There is no object under this key."""


@dataclass(frozen=True)
class ObjectStat:
    """An object without its bytes.

    Attributes:
        key: its name. size: bytes. modified: seconds since the epoch, by the store's clock.
    """

    key: str
    size: int
    modified: float


class ObjectWriter(Protocol):
    """An object that is written bit by bit, by one thread; it is there once it is closed.

    After a fault of any method only `abandon` is of use.
    """

    def write(self, data: bytes) -> None:
        """Add to its end. Raises `StorageUnavailable`."""

    def close(self) -> None:
        """The object is complete: readers see it whole from now on. Raises `StorageUnavailable`."""

    def abandon(self) -> None:
        """There will be no such object. Never raises; what cannot be removed now is swept later."""


class ObjectStore(Protocol):
    """A place for pictures and checkpoints, safe to use from any number of threads and processes.

    Every method raises `shared.errors.StorageUnavailable` when the store does not answer or refuses, within
    a bounded time, and `ValueError` for a key that is not one of ours.
    """

    def put(self, key: str, data: bytes, content_type: str) -> None:
        """Store `data` under `key`, over what was there. Readers see the old object or the new, whole."""

    def get(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            ObjectMissingError: there is none.
        """

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """The object's bytes from one on, bit by bit: for objects that are too large to be held.

        Raises:
            ObjectMissingError: there is none.
        """

    def writer(self, key: str, content_type: str) -> ObjectWriter:
        """Begin an object that is too large to be held; closed, it is what is under `key`."""

    def drop_unfinished(self, prefix: str, keep: Callable[[str], bool] = lambda _: False) -> None:
        """Remove what writers of keys with this prefix have begun: dead ones, and any that are at work.

        Args:
            prefix: of the keys.
            keep: says of a key that what is begun of it stays.
        """

    def stat(self, key: str) -> ObjectStat | None:
        """The object's size and age, or None when there is none."""

    def delete(self, key: str) -> None:
        """Remove the object; one that is absent already is fine."""

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """Every object whose key starts with `prefix`, in no particular order."""

    def url(self, key: str, *, seconds: int, filename: str, content_type: str) -> str | None:
        """An address from which a caller may GET the object, or None when the API must stream it.

        Args:
            key: the object, which is not looked up.
            seconds: for how long the address is valid.
            filename: name to save it under: letters, digits, `.`, `_` and `-`.
            content_type: type it is served as, whatever it was stored with.
        """

    def check(self) -> None:
        """Write and read a small object; raises `StorageUnavailable` quickly when either fails."""


def put_and_read_back(objects: ObjectStore, key: str, data: bytes, content_type: str) -> None:
    """Store an object and make sure that it is there: a server may accept what it does not keep.

    Raises:
        StorageUnavailable: it cannot be stored, or what is read back is not what was stored.
    """
    objects.put(key, data, content_type)
    try:
        kept = objects.get(key)
    except ObjectMissingError:
        raise StorageUnavailable("The object store does not hold what it accepted") from None
    if hashlib.sha256(kept).digest() != hashlib.sha256(data).digest():
        raise StorageUnavailable("The object store gives back other bytes than it was given")


def check_key(key: str) -> str:
    """The key itself, when it is well formed.

    Raises:
        ValueError: it is empty, too long, or has a segment that could lead out of the store.
    """
    if len(key) > _MAX_KEY or not _KEY.fullmatch(key):
        raise ValueError(f"not an object key: {key[:80]!r}")
    return key


def check_prefix(prefix: str) -> str:
    """The prefix itself, when keys can start with it: empty, or a key with or without a slash at its end.

    Raises:
        ValueError: no key can start with it.
    """
    if prefix:
        check_key(prefix.removesuffix("/"))
    return prefix
