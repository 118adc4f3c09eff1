"""Whether every delivery tells of something that is there, and stands where its state says."""

from collections.abc import Iterator
from itertools import chain

from shared.audit.findings import Code, Finding
from shared.audit.places import PORTIONS_SECONDS
from shared.audit.reader import Reader
from shared.jobs.delivery import Delivery, DeliveryState, line_of
from shared.jobs.keys import Key

#: A line that was passed over in a crowd may stand this much later than its first delivery is due.
_PASSED_OVER_MS = 60_000


def check(reader: Reader) -> Iterator[Finding]:
    """What is wrong with deliveries, their lists and their lines."""
    for ids in reader.keys(Key.DELIVERY):
        hashes = reader.at_once(*(("HGETALL", Key.DELIVERY + one) for one in ids))
        for one, fields in zip(ids, hashes, strict=True):
            if fields:
                yield from _delivery(reader, one, fields)
    for prefix in (Key.DELIVERY_LIST, Key.DELIVERY_LINE):
        for name in chain.from_iterable(reader.keys(prefix)):
            yield from _entries(reader, prefix + name)
    lines = set(chain.from_iterable(reader.keys(Key.DELIVERY_LINE)))
    for members in reader.members(Key.DELIVERIES):
        lines.update(line for line, _ in members)
    for line in sorted(lines):
        yield from _line(reader, line)


def _delivery(reader: Reader, one: str, fields: dict[str, str]) -> Iterator[Finding]:
    """A delivery, read again with all that names it at one moment: who it is for does not change."""
    try:
        told = Delivery.from_hash(one, fields)
    except (KeyError, TypeError, ValueError):
        yield Finding(Code.DELIVERY_DISAGREES, one, "its hash cannot be read")
        return
    subject = f"{Key.BATCH if told.kind == 'batch' else Key.JOB}{told.uid}"
    state, due, named, now, *listed = reader.at_once(
        ("HGET", Key.DELIVERY + one, "state"),
        ("ZSCORE", Key.DELIVERY_LINE + line_of(told.url, told.owner), one),
        ("EXISTS", subject),
        ("TIME",),
        *(("ZSCORE", f"{Key.DELIVERY_LIST}{state}:{told.owner}", one) for state in DeliveryState),
    )
    if state is None:
        return  # it was purged meanwhile
    repair = {"kind": "delivery", "id": one}
    lists = [str(state) for state, score in zip(DeliveryState, listed, strict=True) if score is not None]
    waits = state == DeliveryState.WAITING
    if told.kind != "test" and not named:
        yield Finding(Code.DELIVERY_WITHOUT_RECORD, one, f"there is no {subject}", repair)
    elif lists != [state]:
        where = " and ".join(lists) or "none"
        yield Finding(
            Code.DELIVERY_DISAGREES, one, f"it is {state} but of the lists it is in {where}", repair
        )
    elif waits != (due is not None):
        where = "in no line" if waits else "in line to be sent"
        yield Finding(Code.DELIVERY_DISAGREES, one, f"it is {state} but stands {where}", repair)
    elif waits and float(due) < (int(now[0]) - PORTIONS_SECONDS) * 1000:
        yield Finding(Code.DELIVERY_OVERDUE, one, "it should have been sent an hour ago")


def _entries(reader: Reader, key: str) -> Iterator[Finding]:
    """Entries of a list or a line of which there is no delivery."""
    for members in reader.members(key):
        for one, _ in members:
            known, entered = reader.at_once(("EXISTS", Key.DELIVERY + one), ("ZSCORE", key, one))
            if not known and entered is not None:
                repair = {"kind": "delivery_entry", "key": key, "id": one}
                yield Finding(Code.DELIVERY_DISAGREES, key, f"it has {one}, which is no delivery", repair)


def _line(reader: Reader, line: str) -> Iterator[Finding]:
    """Whether a line is known by the time of its first delivery, so that it has its turn."""
    score, first, now = reader.at_once(
        ("ZSCORE", Key.DELIVERIES, line),
        ("ZRANGE", Key.DELIVERY_LINE + line, 0, 0, "WITHSCORES"),
        ("TIME",),
    )
    if not first and score is None:
        return
    if not first:
        detail = f"it has {line!r}, in which nothing stands"
    elif score is None:
        detail = f"it does not have {line!r}, so that nothing of it is sent"
    else:
        # Clients before redis-py 8 give members and scores in one list.
        due = float(first[1] if isinstance(first[0], str) else first[0][1])
        latest = max(due, int(now[0]) * 1000) + _PASSED_OVER_MS
        if due <= float(score) <= latest:
            return
        detail = f"it has {line!r} at another time than its first delivery is due"
    yield Finding(Code.DELIVERY_DISAGREES, Key.DELIVERIES, detail, {"kind": "delivery_line", "line": line})
