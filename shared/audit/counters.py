"""Whether the counters say what is counted, and whether a bell is out for what waits."""

from collections.abc import Iterator
from itertools import chain, product

from shared.audit.findings import Code, Finding
from shared.audit.reader import LOOK_SECONDS, Reader
from shared.jobs.keys import Key
from shared.jobs.record import Queue

#: Looks at a sum that does not agree: with others at work it may lack an owner who has only just come.
LOOKS = 5
#: Sets that are summed up at one moment, at most; a store with more is not checked for its sums.
MAX_SETS = 25_000


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
    for look in range(LOOKS):
        if look:
            reader.pause(LOOK_SECONDS)
        met = set(_names(reader, prefix))
        [flat] = reader.at_once(("HGETALL", counter))
        fields |= flat.keys() | {field for field, _ in met}
        owners |= {owner for _, owner in chain(met, _names(reader, Key.LIST))}
        sets = sorted(product(fields, owners))
        if len(sets) > MAX_SETS:
            return
        flat, *sizes = reader.at_once(
            ("HGETALL", counter), *(("ZCARD", f"{prefix}{field}:{owner}") for field, owner in sets)
        )
        sums = dict.fromkeys(fields | flat.keys(), 0)
        for (field, _), size in zip(sets, sizes, strict=True):
            sums[field] += size
        differ = {
            field: (int(flat.get(field, 0)), counted)
            for field, counted in sums.items()
            if int(flat.get(field, 0)) != counted
        }
        stays = {
            field: (kept, counted)
            for field, (kept, counted) in differ.items()
            if not look or (field in stays and stays[field][0] - stays[field][1] == kept - counted)
        }
        if not stays:
            return
    for field, (kept, counted) in sorted(stays.items()):
        yield field, kept, counted


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
    for look in range(LOOKS):
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
