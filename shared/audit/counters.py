"""Whether the counters say what is counted, and whether a bell is out for what waits."""

from collections.abc import Callable, Iterator

from shared.audit.findings import Code, Finding
from shared.audit.reader import LOOK_SECONDS, Reader
from shared.jobs.keys import Key
from shared.jobs.record import Queue

#: Looks at a sum that does not agree: with others at work it may lack a set that has only just come.
LOOKS = 3
#: Sets that are summed up at one moment, at most; a store with more owners is not checked for its sums.
MAX_SETS = 10_000


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
    for status, kept, counted in _sums(reader, Key.COUNTS, lambda: _sets(reader, Key.LIST)):
        detail = f"it says {kept} for {status}, but the lists have {counted}"
        yield Finding(Code.COUNT_DISAGREES, Key.COUNTS, detail, _added(Key.COUNTS, status, counted - kept))


def _waiting(reader: Reader) -> Iterator[Finding]:
    for lane, kept, counted in _sums(reader, Key.WAITING, lambda: _sets(reader, Key.WAIT)):
        detail = f"it says {kept} for {lane}, but {counted} wait there"
        yield Finding(Code.WAITING_DISAGREES, Key.WAITING, detail, _added(Key.WAITING, lane, counted - kept))


def _sets(reader: Reader, prefix: Key) -> Iterator[tuple[str, str]]:
    """The sets of a kind, each with what it is counted under: the first part of its name."""
    for names in reader.keys(prefix):
        for name in names:
            yield name.partition(":")[0], prefix + name


def _added(key: str, field: str, by: int) -> dict[str, object]:
    """Adding is right whatever was counted since."""
    return {"kind": "counter", "key": key, "field": field, "by": by}


def _sums(
    reader: Reader, counter: str, sets: Callable[[], Iterator[tuple[str, str]]]
) -> Iterator[tuple[str, int, int]]:
    """Each field of a counter whose number is not that of the members in its sets: field, number, members.

    Number and members are read at one moment. Which sets there are is not: one that came meanwhile is known
    at the next look, since the sets of every look are kept, so that only a difference that stays is a fault.
    """
    known: set[tuple[str, str]] = set()
    stays: dict[str, tuple[int, int]] = {}
    for look in range(LOOKS):
        if look:
            reader.pause(LOOK_SECONDS)
        known.update(sets())
        if len(known) > MAX_SETS:
            return
        ordered = sorted(known)
        flat, *sizes = reader.at_once(("HGETALL", counter), *(("ZCARD", key) for _, key in ordered))
        sums = dict.fromkeys(flat, 0) | {field: 0 for field, _ in ordered}
        for (field, _), size in zip(ordered, sizes, strict=True):
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
