"""Whether every input that is named has its object, and every such object is named or about to go."""

import hashlib
from collections.abc import Iterator
from itertools import islice

from shared.audit.findings import Code, Finding
from shared.audit.held import Held
from shared.audit.places import PORTIONS_SECONDS
from shared.audit.reader import BATCH, Reader
from shared.jobs.keys import Key
from shared.jobs.pictures import INPUTS
from shared.objects import ObjectMissingError, ObjectStat


def check(reader: Reader, *, deep: bool) -> Iterator[Finding]:
    """What is wrong with inputs, but for how often they are named.

    Args:
        reader: the stores.
        deep: compare every input's SHA-256 with its name.
    """
    held = Held()
    yield from _objects(reader, held, deep=deep)
    for fields in reader.fields(Key.REFS):
        for sha256, _ in fields:
            if not held.has(INPUTS + sha256):
                yield from _missing(reader, sha256)
    yield from _unused(reader)


def _objects(reader: Reader, held: Held, *, deep: bool) -> Iterator[Finding]:
    listed = reader.objects.list(INPUTS)
    while batch := list(islice(listed, BATCH)):
        for stat in batch:
            held.add(stat.key, stat.size)
        for stat in _forgotten(reader, batch):
            # A chore reports an input as deleted once it is.
            if reader.objects.stat(stat.key) is not None and _forgotten(reader, [stat]):
                detail = "nobody names this input, and nobody is going to delete it"
                yield Finding(Code.INPUT_FORGOTTEN, stat.key, detail, _settled(stat.key))
        for stat in batch if deep else ():
            yield from _hashed(reader, stat.key)


def _settled(name: str) -> dict[str, object]:
    return {"kind": "unused", "sha256": name.removeprefix(INPUTS)}


def _forgotten(reader: Reader, stats: list[ObjectStat]) -> list[ObjectStat]:
    found = reader.at_once(
        *(
            command
            for stat in stats
            for sha256 in (stat.key.removeprefix(INPUTS),)
            for command in (
                ("HGET", Key.REFS, sha256),
                ("ZSCORE", Key.UNUSED, sha256),
                ("ZSCORE", Key.SWEEPING, sha256),
            )
        )
    )
    return [stat for index, stat in enumerate(stats) if found[3 * index : 3 * index + 3] == [None] * 3]


def _hashed(reader: Reader, key: str) -> Iterator[Finding]:
    reader.go_on()
    try:
        found = hashlib.sha256(reader.objects.get(key)).hexdigest()
    except ObjectMissingError:
        return  # collected since
    if found != key.removeprefix(INPUTS):
        yield Finding(Code.INPUT_DAMAGED, key, f"it has SHA-256 {found}")


def _missing(reader: Reader, sha256: str) -> Iterator[Finding]:
    """An input is stored before it is named, and named by nobody before it is deleted."""
    for _ in range(2):
        if reader.objects.stat(INPUTS + sha256) is not None:
            return
        [kept] = reader.at_once(("HGET", Key.REFS, sha256))
        if kept is None:
            return
    detail = f"it is named {kept} times, but there is no such object"
    yield Finding(Code.INPUT_MISSING, INPUTS + sha256, detail)


def _unused(reader: Reader) -> Iterator[Finding]:
    horizon = reader.now() - PORTIONS_SECONDS * 1000
    for key in (Key.UNUSED, Key.SWEEPING):
        for entries in reader.members(key):
            found = reader.at_once(
                *(("ZSCORE", key, sha256) for sha256, _ in entries),
                *(("HGET", Key.REFS, sha256) for sha256, _ in entries),
            )
            for (sha256, _), due, kept in zip(
                entries, found[: len(entries)], found[len(entries) :], strict=True
            ):
                if due is not None and kept is not None:
                    detail = f"it has {sha256}, which is named {kept} times"
                    yield Finding(Code.UNUSED_DISAGREES, key, detail, _settled(sha256))
                elif due is not None and float(due) < horizon:
                    detail = f"it has {sha256}, which should have been deleted"
                    yield Finding(Code.INPUT_OVERDUE, key, detail)
