"""What has become of a batch's items, one line each, in their order: written as it is read, however many."""

import json
from collections.abc import Iterator

from api.batches.views import ResultLine
from api.batches.wire import result_line
from api.services import Services
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind
from shared.jobs.batch_record import Batch
from shared.jobs.batches import Item
from shared.jobs.record import Status

#: Items that are read at a time.
_STRETCH = 500


def result_lines(batch: Batch, found: Services) -> Iterator[bytes]:
    """The lines of `results.ndjson`.

    An item whose job was deleted has no status any more. One that is no job yet is queued, one that will
    never be one is canceled.
    """
    names = _Names(BatchFile(found.objects, batch.uid, Kind.ITEMS))
    for start in range(0, batch.total, _STRETCH):
        stop = min(start + _STRETCH, batch.total)
        jobs = {item.index: item for item in found.batches.stretch(batch.uid, start, stop - start)}
        yield b"".join(_line(index, jobs.get(index), batch, names) for index in range(start, stop))


def _line(index: int, item: Item | None, batch: Batch, names: "_Names") -> bytes:
    if item is not None:
        line = result_line(item)
    else:
        status = None
        if index >= batch.loaded:
            status = Status.CANCELED if batch.cancel_requested else Status.QUEUED
        line = ResultLine(
            index=index, custom_id=names.of(index), id=None, status=status, output=None, error=None
        )
    return line.model_dump_json().encode() + b"\n"


class _Names:
    """What the caller calls items that are no jobs; a part of the file is read once."""

    def __init__(self, file: BatchFile) -> None:
        self._file = file
        self._part: tuple[int, list[bytes]] = (-1, [])

    def of(self, index: int) -> str | None:
        part, place = divmod(index, PART_LINES)
        if self._part[0] != part:
            self._part = (part, self._file.read(part))
        lines = self._part[1]
        if place >= len(lines):
            return None
        name: str | None = json.loads(lines[place])["record"].get("custom_id")
        return name
