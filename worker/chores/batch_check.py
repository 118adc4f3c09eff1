"""Large batches are checked here, after their callers' answer; a batch that tries another's again is written.

The check goes part by part: what is sound of one is stored as lines to load, what is not as faults, and then
the cursor in the batch's record moves. A part that is checked again, after a crash, is written again.
"""

import json
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

from shared.errors import Fault
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind, LinesLostError, Writer, unnumbered
from shared.jobs.batch_record import Batch, LineFault
from shared.jobs.batches import BatchClaim, BatchStore
from shared.jobs.new_job import NewJob
from shared.jobs.record import Job, Status
from shared.jobs.store import JobStore
from shared.jobs.workers import LivePainters
from shared.objects import ObjectStore
from shared.requests.batch import BatchCheck, Names, Place, inputs_of_line, line_of, read_line
from shared.settings import Settings

#: Names that are remembered between two parts, of all batches; those of others are read again.
_REMEMBERED = 4_000_000
#: While names are read again, the claim is prolonged every so many seconds.
_RENEW_SECONDS = 5.0
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
            LinesLostError: a part of what is to be checked is gone, or damaged.
        """
        batch = claim.batch
        if batch.retry_of:
            return at, self._write_retry(claim)
        part = at // PART_LINES
        names = self._names_before(claim, part)
        if names is None:
            return at, False
        numbered = self._numbered(batch, part)
        check = BatchCheck(batch.owner, self._desk, *self._head(batch), names)
        faults: list[Fault] = []
        read = [(Place(line=line), read_line(data, line, faults)) for line, data in numbered]
        broken = {fault.line for fault in faults}
        self._names.pop(batch.uid, None)  # they are half of this part's should the check break off
        check.add([(place, tree) for place, tree in read if place.line not in broken])
        self._remember(batch, part + 1, names)
        faults = sorted([*faults, *check.faults], key=lambda fault: fault.line or 0)
        told = [LineFault(fault.line or 0, fault.pointer or "", fault.detail) for fault in faults]
        if told:
            self._write_faults(batch, part, told)
        else:
            self._file(batch, Kind.ITEMS).write(part, list(check.lines()))
            self._batches.hold(batch.uid, check.stored)
        stop = at + len(numbered)
        done = self._batches.checked(claim, at, stop, batch.total, told)
        if stop == batch.total:
            self._names.pop(batch.uid, None)
        return stop, done and stop < batch.total

    def _head(self, batch: Batch) -> tuple[dict[str, Any], Place]:
        """What the caller said beside the items; it was found sound when it came in."""
        try:
            lines = self._file(batch, Kind.HEAD).read(0)
        except LinesLostError:
            # An early version stored none where nothing was said: the items begin with the first line then.
            if self._numbered(batch, 0)[0][0] > 1:
                raise
            lines = []
        if not lines:
            return {}, Place(line=1)
        line, data = unnumbered(lines[0])
        head: dict[str, Any] = json.loads(data)
        return head, Place(line=line)

    def _numbered(self, batch: Batch, part: int) -> list[tuple[int, bytes]]:
        """A part of what was sent, each line with its number."""
        file = self._file(batch, Kind.LINES)
        try:
            return [unnumbered(line) for line in file.read(part, batch.total)]
        except ValueError:  # an early part, without a seal
            raise file.lost(part, "has lines without a number") from None

    def _names_before(self, claim: BatchClaim, part: int) -> Names | None:
        """The custom IDs of the parts before this one; None when there is no more time for them.

        Where workers take turns each reads what the others have checked, and that once.
        """
        batch = claim.batch
        known, names = self._names.get(batch.uid, (0, Names()))
        if known > part:
            known, names = 0, Names()
        renewed = time.monotonic()
        for earlier in range(known, part):
            if time.monotonic() - renewed > _RENEW_SECONDS:
                renewed = time.monotonic()
                if self._draining.is_set() or not self._batches.renew(claim):
                    return None
            for line, data in self._numbered(batch, earlier):
                self._take(names, line, data)
            self._remember(batch, earlier + 1, names)
        return names

    def _remember(self, batch: Batch, parts: int, names: Names) -> None:
        """Keep the names of a batch's first parts; those go that were not asked for the longest."""
        self._names[batch.uid] = (parts, names)
        self._names.move_to_end(batch.uid)
        while len(self._names) > 1 and sum(len(kept) for _, kept in self._names.values()) > _REMEMBERED:
            self._names.popitem(last=False)

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
        # The store keeps it until then, but an Impasto of before may have deleted it.
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
            lines = file.read(part, earlier.total)[max(0, earlier.loaded - part * PART_LINES) :]
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
