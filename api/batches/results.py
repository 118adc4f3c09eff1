"""What has become of a batch's items, one line each, in their order: written as it is read, however many."""

from collections.abc import Iterator

from api.batches.views import ResultLine
from api.batches.wire import result_line
from api.services import Services
from shared.jobs.batch_files import BatchFile, ItemNames, Kind
from shared.jobs.batch_record import Batch
from shared.jobs.batches import Item

#: Items that are read at a time.
_STRETCH = 500


def result_lines(batch: Batch, found: Services) -> Iterator[bytes]:
    """The lines of `results.ndjson`.

    An item whose job was deleted has no status any more. One that is no job yet is queued, one that will
    never be one is canceled, or, where the batch's lines were refused, nothing.
    """
    names = ItemNames(BatchFile(found.objects, batch.uid, Kind.ITEMS))
    for start in range(0, batch.total, _STRETCH):
        stop = min(start + _STRETCH, batch.total)
        jobs = {item.index: item for item in found.batches.stretch(batch.uid, start, stop - start)}
        yield b"".join(_line(index, jobs.get(index), batch, names) for index in range(start, stop))


def _line(index: int, item: Item | None, batch: Batch, names: ItemNames) -> bytes:
    if item is not None:
        line = result_line(item)
    else:
        status = batch.status_of_unmade if index >= batch.loaded else None
        line = ResultLine(
            index=index, custom_id=names.of(index), id=None, status=status, output=None, error=None
        )
    return line.model_dump_json().encode() + b"\n"
