"""Large batches are checked here, after their callers' answer; a batch that tries another's again is written.

The check goes part by part: what is sound of one is stored as lines to load, what is not as faults, and then
the cursor in the batch's record moves. A part that is checked again, after a crash, is written again.
"""

import json
import threading
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from shared.errors import Fault
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind, Writer, unnumbered
from shared.jobs.batch_record import Batch, LineFault
from shared.jobs.batches import BatchClaim, BatchStore
from shared.jobs.new_job import NewJob
from shared.jobs.record import Job, Status
from shared.jobs.store import JobStore
from shared.jobs.workers import LivePainters
from shared.objects import ObjectStore
from shared.requests.batch import BatchCheck, Names, Place, inputs_of_line, line_of, read_line
from shared.settings import Settings

#: Batches whose names are remembered between two parts; those of others are read again.
_REMEMBERED = 4
#: Items of a batch that are read at a time to be tried again.
_STRETCH = 500
#: What is tried again.
RETRIED = (Status.FAILED, Status.CANCELED, Status.EXPIRED)


@dataclass(frozen=True)
class Desk:
    """What items are checked with: `shared.requests.check.Means`."""

    settings: Settings
    store: JobStore
    objects: ObjectStore
    painters: LivePainters


class Checking:
    """Checks batches that are `validating`, and writes those that try others again."""

    def __init__(self, batches: BatchStore, desk: Desk, draining: threading.Event) -> None:
        self._batches, self._desk, self._draining = batches, desk, draining
        #: By the batch's uid: the parts whose names are known, and the names.
        self._names: OrderedDict[str, tuple[int, Names]] = OrderedDict()

    def advance(self, claim: BatchClaim, at: int) -> tuple[int, bool]:
        """Check the next part, from line `at` on; returns where that came to, and whether there is more.

        Raises:
            StoreUnavailable: Redis does not answer.
            StorageUnavailable: the object store does not answer.
        """
        batch = claim.batch
        if batch.retry_of:
            return at, self._write_retry(claim)
        part = at // PART_LINES
        numbered = [unnumbered(line) for line in self._file(batch, Kind.LINES).read(part)]
        if not numbered:
            raise RuntimeError(f"batch {batch.uid}: line {at} of {batch.total} is not in its file")
        check = BatchCheck(batch.owner, self._desk, *self._head(batch), self._names_before(batch, part))
        faults: list[Fault] = []
        read = [(Place(line=line), read_line(data, line, faults)) for line, data in numbered]
        broken = {fault.line for fault in faults}
        check.add([(place, tree) for place, tree in read if place.line not in broken])
        self._names[batch.uid] = (part + 1, self._names[batch.uid][1])
        faults = sorted([*faults, *check.faults], key=lambda fault: fault.line or 0)
        told = [LineFault(fault.line or 0, fault.pointer or "", fault.detail) for fault in faults]
        if told:
            self._write_faults(batch, part, told)
        else:
            self._file(batch, Kind.ITEMS).write(part, list(check.lines()))
            self._batches.hold(batch.uid, check.stored)
        stop = at + len(numbered)
        done = self._batches.checked(claim, at, stop, batch.total, told)
        return stop, done and stop < batch.total

    def _head(self, batch: Batch) -> tuple[dict[str, Any], Place]:
        """What the caller said beside the items; it was found sound when it came in."""
        lines = self._file(batch, Kind.HEAD).read(0)
        if not lines:
            return {}, Place(line=1)
        line, data = unnumbered(lines[0])
        head: dict[str, Any] = json.loads(data)
        return head, Place(line=line)

    def _names_before(self, batch: Batch, part: int) -> Names:
        """The custom IDs of the parts before this one."""
        known, names = self._names.pop(batch.uid, (0, Names()))
        if known != part:
            names = Names()
            for earlier in range(part):
                for line in self._file(batch, Kind.LINES).read(earlier):
                    self._take(names, *unnumbered(line))
        self._names[batch.uid] = (part, names)
        while len(self._names) > _REMEMBERED:
            self._names.popitem(last=False)
        return names

    @staticmethod
    def _take(names: Names, line: int, data: bytes) -> None:
        tree = read_line(data, line, [])
        name = tree.get("custom_id") if isinstance(tree, dict) else None
        if isinstance(name, str):
            names.take(name, Place(line=line))

    def _write_retry(self, claim: BatchClaim) -> bool:
        """Write the lines of a batch that tries another again, all of them; False, for there is no more."""
        batch = claim.batch
        writer = Writer(self._file(batch, Kind.ITEMS))
        earlier = self._batches.by_uid(batch.retry_of or "")
        for lines, inputs in self._retried(earlier) if earlier else ():
            for line in lines:
                writer.add(line)
            self._batches.hold(batch.uid, inputs)
            if self._draining.is_set() or not self._batches.renew(claim):
                return False
        writer.close()
        # Of one that is deleted meanwhile some jobs may have gone before they were read.
        if earlier and self._batches.by_uid(earlier.uid):
            self._batches.checked(claim, 0, writer.count, writer.count, [])
        else:
            gone = LineFault(0, "", "The batch whose items these are was deleted.")
            self._write_faults(batch, 0, [gone])
            self._batches.checked(claim, 0, batch.total, batch.total, [gone])
        return False

    def _retried(self, earlier: Batch) -> Iterator[tuple[list[bytes], list[str]]]:
        """Lines of what did not succeed, in order, with the inputs that they name, a stretch at a time."""
        for start in range(0, earlier.loaded, _STRETCH):
            jobs = [item.job for item in self._batches.stretch(earlier.uid, start, _STRETCH)]
            again = [job for job in jobs if job.status in RETRIED]
            pictures = [picture for job in again for _, picture in job.inputs.each()]
            inputs = list(dict.fromkeys(one.sha256 for one in pictures if one.sha256))
            yield [line_of(_again(job, earlier)) for job in again], inputs
        file = self._file(earlier, Kind.ITEMS)
        for part in range(earlier.loaded // PART_LINES, -(-earlier.total // PART_LINES)):
            lines = file.read(part)[max(0, earlier.loaded - part * PART_LINES) :]
            yield lines, list(dict.fromkeys(chain.from_iterable(map(inputs_of_line, lines))))

    def _write_faults(self, batch: Batch, part: int, faults: Sequence[LineFault]) -> None:
        lines = [json.dumps(vars(fault), ensure_ascii=False).encode() for fault in faults]
        self._file(batch, Kind.ERRORS).write(part, lines)

    def _file(self, batch: Batch, kind: Kind) -> BatchFile:
        return BatchFile(self._desk.objects, batch.uid, kind)


def _again(job: Job, batch: Batch) -> NewJob:
    """A job of this batch as an item of the one that tries it again."""
    return NewJob(
        uid="",
        id="",
        owner=job.owner,
        spec=job.spec,
        content=job.content,
        styles=job.styles,
        init=job.init,
        metadata=job.metadata,
        body_hash="",
        skip_intake=job.inputs.stored,
        deadline_seconds=job.deadline_at - batch.created_at,
        priority=job.priority,
        retry_of=job.id,
        custom_id=job.custom_id,
        webhook=job.webhook,
        fresh=job.fresh,
        retention_seconds=job.retention_seconds,
    )
