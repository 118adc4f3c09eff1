"""Whether every batch counts the jobs that it has, comes to its end, and goes when its retention is over."""

from collections.abc import Iterator, Sequence
from itertools import chain

from shared.audit import lines
from shared.audit.findings import Code, Finding
from shared.audit.places import PORTIONS_SECONDS
from shared.audit.reader import Reader, Sighting
from shared.jobs.batch_record import BATCH_SCHEMA, Batch, BatchStatus
from shared.jobs.hashes import UnreadableRecordError
from shared.jobs.keys import Key
from shared.jobs.record import Status


def check(reader: Reader, *, deep: bool) -> Iterator[Finding]:
    """What is wrong with batches, their lists, and the sets of their jobs.

    Args:
        reader: the stores.
        deep: read the lines that jobs are still to be made from.
    """
    for uids in reader.keys(Key.BATCH):
        for uid in uids:
            yield from _batch(reader, uid, deep=deep)
    for name in chain.from_iterable(reader.keys(Key.BATCH_ITEMS)):
        yield from _items(reader, *name.rsplit(":", 1))
    lists = [Key.BATCHES + owner for owner in chain.from_iterable(reader.keys(Key.BATCHES))]
    for key in (*lists, Key.BATCH_WORK, Key.BATCH_ENDED):
        for entries in reader.members(key):
            for uid, _ in entries:
                named, listed = reader.at_once(("EXISTS", Key.BATCH + uid), ("ZSCORE", key, uid))
                if listed is not None and not named:
                    repair = {"kind": "batch_entry", "key": key, "uid": uid}
                    detail = f"it has {uid}, of which there is no record"
                    yield Finding(Code.ENTRY_WITHOUT_JOB, key, detail, repair)


def of_jobs(reader: Reader, jobs: Sequence[Sighting]) -> Iterator[Finding]:
    """Jobs that their batch does not have among its items of their status."""
    mine = [seen for seen in jobs if "batch_id" in seen.record and not seen.later]
    for seen in mine:
        batch = seen.record["batch_id"]
        # A purged batch takes its jobs with it, some at a time: the record is the last to go.
        status, place, named, *listed = reader.at_once(
            ("HGET", Key.JOB + seen.uid, "status"),
            ("HGET", Key.JOB + seen.uid, "batch_index"),
            ("EXISTS", Key.BATCH + batch),
            *(("ZSCORE", f"{Key.BATCH_ITEMS}{batch}:{one}", seen.uid) for one in Status),
        )
        if status is None:
            continue
        scores = {
            str(one): float(score) for one, score in zip(Status, listed, strict=True) if score is not None
        }
        repair = {"kind": "job", "uid": seen.uid}
        if not named:
            yield Finding(
                Code.BATCH_DISAGREES, seen.uid, f"there is no batch {batch}, of which it is an item"
            )
        elif scores != {status: float(place or -1)}:
            yield Finding(Code.JOB_UNLISTED, seen.uid, f"batch {batch} does not have it as {status}", repair)


def _batch(reader: Reader, uid: str, *, deep: bool) -> Iterator[Finding]:
    [owner] = reader.at_once(("HGET", Key.BATCH + uid, "owner"))
    fields, work, ended, listed, *sizes = reader.at_once(
        ("HGETALL", Key.BATCH + uid),
        ("ZSCORE", Key.BATCH_WORK, uid),
        ("ZSCORE", Key.BATCH_ENDED, uid),
        ("ZSCORE", f"{Key.BATCHES}{owner}", uid),
        *(("ZCARD", f"{Key.BATCH_ITEMS}{uid}:{status}") for status in Status),
    )
    if not fields:
        return  # purged meanwhile
    try:
        batch = Batch.from_hash(fields)
    except UnreadableRecordError:
        yield Finding(Code.BATCH_DISAGREES, uid, "its record cannot be read")
        return
    if batch.schema > BATCH_SCHEMA:
        yield Finding(Code.RECORD_LATER, uid, f"its record is of schema {batch.schema}")
        return
    repair: dict[str, object] = {"kind": "batch", "uid": uid}
    for status, size in zip(Status, sizes, strict=True):
        kept = batch.counts[status] - batch.gone[status]
        # A batch that is being purged forgets what it counted with its record.
        if kept != size:
            detail = f"it counts {kept} {status} jobs, and has {size}"
            yield Finding(Code.BATCH_DISAGREES, uid, detail, repair)
    deleted = fields.get("deleted") == "1"
    if (listed is None) != deleted:
        yield Finding(Code.BATCH_DISAGREES, uid, "the list of its owner's batches does not have it", repair)
    yield from _course(batch, work, ended, reader.now(), repair)
    yield from lines.check(reader, batch, deep=deep)


def _course(
    batch: Batch, work: str | None, ended: str | None, now: int, repair: dict[str, object]
) -> Iterator[Finding]:
    """Whether a batch goes on to its end, and then away."""
    horizon = now - PORTIONS_SECONDS * 1000
    left = batch.status is BatchStatus.VALIDATING or (
        batch.unmade > 0 and not batch.cancel_requested and not batch.error
    )
    open_jobs = batch.counts[Status.QUEUED] + batch.counts[Status.PROCESSING]
    if batch.status.terminal:
        if ended is None or work is not None:
            detail = "it has ended but is not kept as such"
            yield Finding(Code.BATCH_STRANDED, batch.uid, detail, repair)
        elif float(ended) < horizon:
            yield Finding(Code.BATCH_OVERDUE, batch.uid, "its retention is over but it is still kept")
    elif ended is not None or (left and work is None):
        detail = (
            f"it is {batch.status} with {batch.unmade} items to make, but no chores worker will take it up"
        )
        yield Finding(Code.BATCH_STRANDED, batch.uid, detail, repair)
    elif not left and not open_jobs:
        yield Finding(Code.BATCH_STRANDED, batch.uid, "all its items have ended but it has not", repair)
    elif work is not None and float(work) < horizon:
        yield Finding(Code.BATCH_OVERDUE, batch.uid, "its work has waited for an hour")


def _items(reader: Reader, uid: str, status: str) -> Iterator[Finding]:
    """Entries of a batch's set of jobs that name none, or one that is elsewhere."""
    key = f"{Key.BATCH_ITEMS}{uid}:{status}"
    for entries in reader.members(key):
        answers = reader.at_once(
            *(
                command
                for job, _ in entries
                for command in (("ZSCORE", key, job), ("HMGET", Key.JOB + job, "status", "batch_id"))
            )
        )
        for (job, _), place, record in zip(entries, answers[::2], answers[1::2], strict=True):
            if place is None or record == [status, uid]:
                continue
            code = Code.ENTRY_CONTRADICTS if record[0] else Code.ENTRY_WITHOUT_JOB
            what = "whose record says otherwise" if record[0] else "of which there is no record"
            repair = {"kind": "batch_entry", "key": key, "uid": job}
            yield Finding(code, key, f"it has {job}, {what}", repair)
