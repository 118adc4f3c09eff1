"""Whether the lines that a batch's jobs are still to be made from are there."""

from collections.abc import Iterator

from shared.audit.findings import Code, Finding
from shared.audit.reader import Reader
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind, LinesLostError, parts_of
from shared.jobs.batch_record import Batch, BatchStatus
from shared.jobs.hashes import UnreadableRecordError
from shared.jobs.keys import Key


def check(reader: Reader, batch: Batch, *, deep: bool) -> Iterator[Finding]:
    """Parts of a batch's files that it needs and that are gone, or with `deep` damaged.

    Args:
        reader: the stores.
        batch: its record.
        deep: read each part.
    """
    for kind, part in _needed(batch):
        reader.go_on()
        file = BatchFile(reader.objects, batch.uid, kind)
        fault = _fault(reader, file, part, batch, deep=deep)
        # What has gone on meanwhile may need it no more.
        if fault and (kind, part) in _needed(_again(reader, batch)):
            yield Finding(Code.BATCH_LINES_LOST, batch.uid, fault)


def _needed(batch: Batch | None) -> list[tuple[Kind, int]]:
    """The parts that chores will still read."""
    if batch is None or batch.status.terminal or batch.cancel_requested or batch.error:
        return []
    parts = parts_of(batch.total)
    if batch.status is BatchStatus.PROCESSING and not batch.unmade:
        return []
    if batch.status is BatchStatus.PROCESSING:
        return [(Kind.ITEMS, part) for part in range(batch.loaded // PART_LINES, parts)]
    if batch.retry_of:  # its lines are still to be written
        return []
    checked = batch.checked // PART_LINES
    sound = 0 if batch.faults else checked
    return [(Kind.LINES, part) for part in range(checked, parts)] + [
        (Kind.ITEMS, part) for part in range(sound)
    ]


def _fault(reader: Reader, file: BatchFile, part: int, batch: Batch, *, deep: bool) -> str | None:
    """What is wrong with a part."""
    if not deep:
        return None if reader.objects.stat(file.key(part)) else f"there is no {file.key(part)}"
    try:
        file.read(part, batch.total)
    except LinesLostError as lost:
        return str(lost)
    return None


def _again(reader: Reader, batch: Batch) -> Batch | None:
    [fields] = reader.at_once(("HGETALL", Key.BATCH + batch.uid))
    try:
        return Batch.from_hash(fields)
    except UnreadableRecordError:
        return None
