"""Whether the counters say what is counted, and whether a bell is out for what waits."""

from collections.abc import Iterator
from itertools import chain

from shared.audit.findings import Code, Finding
from shared.audit.reader import LOOK_SECONDS, Reader
from shared.jobs.keys import Key
from shared.jobs.record import Queue

#: Looks at a sum that does not agree: with others at work it may lack an owner who has only just come.
SUM_LOOKS = 5
#: Sets that are summed up at one moment, at most; a store with more owners is not checked for its sums.
MAX_SETS = 25_000
#: Looks at bells that are not out while jobs wait.
BELL_LOOKS = 3


def check(reader: Reader, reap_seconds: float) -> Iterator[Finding]:
    """What is wrong with jobs by status, jobs waiting, and bells.

    Args:
        reader: the stores.
        reap_seconds: the setting, by which bells are topped up.
    """
    yield from _counts(reader)
    yield from _waiting(reader)
    yield from _bells(reader, reap_seconds)


def _counts(reader: Reader) -> Iterator[Finding]:
    for status, kept, counted in _sums(reader, Key.COUNTS, Key.LIST):
        detail = f"it says {kept} for {status}, but the lists have {counted}"
        yield Finding(Code.COUNT_DISAGREES, Key.COUNTS, detail, _added(Key.COUNTS, status, counted - kept))


def _waiting(reader: Reader) -> Iterator[Finding]:
    for lane, kept, counted in _sums(reader, Key.WAITING, Key.WAIT):
        detail = f"it says {kept} for {lane}, but {counted} wait there"
        yield Finding(Code.WAITING_DISAGREES, Key.WAITING, detail, _added(Key.WAITING, lane, counted - kept))


def _added(key: str, field: str, by: int) -> dict[str, object]:
    """Adding is right whatever was counted since."""
    return {"kind": "counter", "key": key, "field": field, "by": by}


def _sums(reader: Reader, counter: Key, prefix: Key) -> Iterator[tuple[str, int, int]]:
    """Each field of a counter whose number is not that of the members in its sets: field, number, members.

    A field has a set for each owner, which comes with its first member and goes with its last: between the
    scan and the sum, too. So every field is summed up over all owners that were ever met in any set, there or
    not, and number and members are read at one moment. What a sum can lack then is an owner of whom nothing
    was there before; such owners are met in the next look, and only a difference that stays is a fault.
    """
    fields: set[str] = set()
    owners: set[str] = set()
    stays: dict[str, tuple[int, int]] = {}
    for look in range(SUM_LOOKS):
        if look:
            reader.pause(LOOK_SECONDS)
        [kept] = reader.at_once(("HKEYS", counter))
        fields.update(kept)
        for kind in {prefix, Key.LIST}:
            for field, owner in _names(reader, kind):
                owners.add(owner)
                if kind is prefix:
                    fields.add(field)
        if len(owners) > MAX_SETS:
            return
        sums = {field: _sum(reader, counter, field, f"{prefix}{field}:", owners) for field in fields}
        stays = {
            field: (number, members)
            for field, (number, members) in sums.items()
            if number != members
            and (not look or (field in stays and stays[field][0] - stays[field][1] == number - members))
        }
        if not stays:
            return
    for field, (number, members) in sorted(stays.items()):
        yield field, number, members


def _sum(reader: Reader, counter: Key, field: str, sets: str, owners: set[str]) -> tuple[int, int]:
    """A field's number, and how many members its sets have, at one moment."""
    number, *sizes = reader.at_once(("HGET", counter, field), *(("ZCARD", sets + owner) for owner in owners))
    return int(number or 0), sum(sizes)


def _names(reader: Reader, prefix: Key) -> Iterator[tuple[str, str]]:
    """The sets of a kind that are there: what each is counted under, and its owner."""
    for name in chain.from_iterable(reader.keys(prefix)):
        field, _, owner = name.partition(":")
        yield field, owner


def _bells(reader: Reader, reap_seconds: float) -> Iterator[Finding]:
    """Jobs that wait while no bell is out and nobody claims any, nor is there a worker that would ring.

    Where one lives, each bell may have been answered and what waits been left for others: for a worker with
    its backbone, or of a later version.
    """
    silent = {Queue.INTAKE: True, Queue.PAINT: True}
    turns = set()
    for look in range(BELL_LOOKS):
        if look:
            reader.pause(reap_seconds + LOOK_SECONDS)
        waiting, turn, live, *bells = reader.at_once(
            ("HGETALL", Key.WAITING),
            ("GET", Key.TURN),
            ("ZCOUNT", Key.WORKER_ENDS, reader.now(), "+inf"),
            *(("LLEN", str(queue)) for queue in silent),
        )
        turns.add(turn)
        depths = dict.fromkeys(silent, 0)
        for lane, depth in waiting.items():
            depths[Queue.INTAKE if lane == Queue.INTAKE else Queue.PAINT] += int(depth)
        for queue, out in zip(silent, bells, strict=True):
            silent[queue] &= depths[queue] > 0 and not out
        if live or not any(silent.values()) or len(turns) > 1:
            return
    for queue, quiet in silent.items():
        if quiet:
            yield Finding(Code.NO_BELL, queue, "jobs wait, but no bell is out and nobody rings one")
