"""Whether every archive is built once it is wanted, is there once it is ready, and goes when it is over."""

from collections.abc import Iterator
from functools import partial
from itertools import chain

from shared.audit.findings import Code, Finding
from shared.audit.leftovers import leftovers
from shared.audit.places import PORTIONS_SECONDS
from shared.audit.reader import Reader
from shared.jobs.archives import PREFIX, Archive, key_of
from shared.jobs.keys import Key
from shared.objects import ObjectStat


def check(reader: Reader) -> Iterator[Finding]:
    """What is wrong with archives, the lists that name them, and their objects."""
    for uid in chain.from_iterable(reader.keys(Key.ARCHIVE)):
        yield from _archive(reader, uid)
    for key in (Key.ARCHIVE_WORK, Key.ARCHIVE_ENDS):
        for entries in reader.members(key):
            for uid, _ in entries:
                named, listed = reader.at_once(("EXISTS", Key.ARCHIVE + uid), ("ZSCORE", key, uid))
                if listed is not None and not named:
                    detail = f"it has {uid}, of which there is no archive"
                    yield Finding(Code.ENTRY_WITHOUT_JOB, key, detail, _repair(uid))
    # Nobody can ask for those whose batch is gone, or has another.
    yield from leftovers(reader, (PREFIX,), partial(_unnamed, reader), "no batch has this archive")


def _archive(reader: Reader, uid: str) -> Iterator[Finding]:
    fields, work, ends, batch = reader.at_once(
        ("HGETALL", Key.ARCHIVE + uid),
        ("ZSCORE", Key.ARCHIVE_WORK, uid),
        ("ZSCORE", Key.ARCHIVE_ENDS, uid),
        ("EXISTS", Key.BATCH + uid),
    )
    if not fields:
        return  # over meanwhile
    try:
        archive = Archive.from_hash(fields)
    except (KeyError, ValueError):
        yield Finding(Code.ARCHIVE_STRANDED, uid, "its record cannot be read", _repair(uid))
        return
    horizon = reader.now() - PORTIONS_SECONDS * 1000
    waits = archive.key is None and bool(batch)
    place = work if waits else ends
    if place is None and not batch:
        yield Finding(
            Code.ARCHIVE_STRANDED, uid, "its batch is gone, but nobody will forget it", _repair(uid)
        )
    elif place is None:
        detail = "it is wanted, but no chores worker will build it" if waits else "it is ready for good"
        yield Finding(Code.ARCHIVE_STRANDED, uid, detail, _repair(uid))
    elif float(place) < horizon:
        detail = "nobody has built it for an hour" if waits else "its time is over but it is still kept"
        yield Finding(Code.ARCHIVE_OVERDUE, uid, detail)
    if archive.key is not None:
        yield from _object(reader, uid, archive.key, archive.size)


def _object(reader: Reader, uid: str, key: str, size: int) -> Iterator[Finding]:
    """What is wrong with the object of an archive that is ready."""
    stat = reader.objects.stat(key)
    if stat is not None and stat.size == size:
        return
    # Who forgets an archive deletes its object after the record.
    if reader.at_once(("HGET", Key.ARCHIVE + uid, "key")) != [key]:
        return
    repair = {**_repair(uid), "key": key}
    if stat is None:
        yield Finding(Code.ARCHIVE_MISSING, uid, f"there is no {key}", repair)
    else:
        detail = f"{key} has {stat.size} bytes, not {size}"
        yield Finding(Code.ARCHIVE_DAMAGED, uid, detail, repair)


def _unnamed(reader: Reader, stats: list[ObjectStat]) -> list[ObjectStat]:
    """Those that are neither ready nor about to be."""
    uids = [stat.key.split("/")[1] for stat in stats]
    found = reader.at_once(*(("HMGET", Key.ARCHIVE + uid, "key", "fence") for uid in uids)) if uids else []
    return [
        stat
        for stat, uid, (key, fence) in zip(stats, uids, found, strict=True)
        if stat.key != key and not (fence and stat.key == key_of(uid, fence))
    ]


def _repair(uid: str) -> dict[str, object]:
    return {"kind": "archive", "uid": uid}
