"""Whether every entry of the job store's indexes names a job that is as the entry says."""

from collections.abc import Callable, Iterator, Mapping
from itertools import chain

from shared.audit.findings import Code, Finding
from shared.audit.reader import Reader, Sighting
from shared.jobs.keys import Key


def check(reader: Reader) -> Iterator[Finding]:
    """What is wrong with leases, back-offs, deadlines, the ended, waiting sets, lists and IDs.

    Where a job's record contradicts one of the first four, `places` says so.
    """
    for key in (Key.LEASES, Key.DELAYED, Key.DEADLINES, Key.ENDED, Key.OUTPUT_ENDS):
        yield from jobs_in(reader, key, _may_be)
    for name in each(reader, Key.LIST):
        status, _, owner = name.partition(":")
        yield from jobs_in(reader, Key.LIST + name, _listed(status, owner))
    for name in each(reader, Key.WAIT):
        lane, _, owner = name.partition(":")
        yield from jobs_in(reader, Key.WAIT + name, _waiting(lane, owner))
        yield from _turn(reader, lane, owner)
    for lane in each(reader, Key.TURNS):
        for owners in reader.members(Key.TURNS + lane):
            for owner, _ in owners:
                yield from _turn(reader, lane, owner)
    for owner in each(reader, Key.IDS):
        yield from _ids(reader, owner)


def each(reader: Reader, prefix: str) -> Iterator[str]:
    """What follows the prefix in each key that has it."""
    return chain.from_iterable(reader.keys(prefix))


def _may_be(_: Sighting) -> bool:
    return True


def _listed(status: str, owner: str) -> Callable[[Sighting], bool]:
    return lambda seen: seen.record.get("status") == status and seen.record.get("owner") == owner


def _waiting(lane: str, owner: str) -> Callable[[Sighting], bool]:
    """Whether a job that stands in a waiting set belongs there, at the place that it has."""

    def belongs(seen: Sighting) -> bool:
        record = seen.record
        own = "intake" if record.get("stage") == "fetching" else record.get("lane")
        try:
            place = rank(record)
        except (KeyError, ValueError):
            return False
        queued = record.get("status") == "queued" and "following" not in record
        return queued and (own, record.get("owner"), seen.found) == (
            lane,
            owner,
            place,
        )

    return belongs


def rank(record: Mapping[str, str]) -> int:
    """A waiting job's score in its line, as in reading.lua; `KeyError` or `ValueError` where it has none."""
    priority = max(int(record["priority"]), int(record.get("lift", 0)))
    return (9 - priority) * 10**13 + int(record["order"])


def jobs_in(reader: Reader, key: str, agrees: Callable[[Sighting], bool]) -> Iterator[Finding]:
    """What is wrong with a sorted set of jobs."""
    for entries in reader.members(key):
        for seen in reader.sightings([uid for uid, _ in entries], key):
            if seen.found is None:
                continue  # it has left since
            repair = {"kind": "entry", "key": key, "uid": seen.uid}
            if not seen.record:
                detail = f"it has {seen.uid}, of which there is no record"
                yield Finding(Code.ENTRY_WITHOUT_JOB, key, detail, repair)
            elif not seen.later and not agrees(seen):
                detail = f"it has {seen.uid}, whose record says otherwise"
                yield Finding(Code.ENTRY_CONTRADICTS, key, detail, repair)


def _turn(reader: Reader, lane: str, owner: str) -> Iterator[Finding]:
    turn, waiting = reader.at_once(
        ("ZSCORE", Key.TURNS + lane, owner), ("ZCARD", f"{Key.WAIT}{lane}:{owner}")
    )
    if turn is None and waiting:
        detail = f"{waiting} jobs of {owner} wait in {lane} but never have their turn"
    elif turn is not None and not waiting:
        detail = f"{owner} has a turn but nothing that waits"
    else:
        return
    repair = {"kind": "turn", "lane": lane, "owner": owner}
    yield Finding(Code.TURN_DISAGREES, Key.TURNS + lane, detail, repair)


def _ids(reader: Reader, owner: str) -> Iterator[Finding]:
    for entries in reader.fields(Key.IDS + owner):
        uids = [uid for _, uid in entries]
        for (job_id, uid), seen in zip(entries, reader.sightings(uids), strict=True):
            record = seen.record
            if (record.get("owner"), record.get("id")) == (owner, job_id) or seen.later:
                continue
            # A uid is never used again, so a record that was missing before stays missing.
            [kept] = reader.at_once(("HGET", Key.IDS + owner, job_id))
            if kept == uid:
                code = Code.ENTRY_CONTRADICTS if record else Code.ENTRY_WITHOUT_JOB
                what = "is called otherwise" if record else "has no record"
                repair = {"kind": "id", "owner": owner, "id": job_id, "uid": uid}
                yield Finding(code, Key.IDS + owner, f"{job_id!r} names {uid}, which {what}", repair)
