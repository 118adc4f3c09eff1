"""Batches go on here: lines become jobs, what was canceled is stopped, what is over is forgotten.

One step holds a claim to one batch for a moment and does a bounded piece of its work, so that batches take
turns. Whoever dies in a step leaves a cursor in the batch's record: the next worker goes on there.
"""

import json
import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from shared.errors import BatchLinesLost, ErrorInfo, StoreUnavailable
from shared.ids import new_id
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind, LinesLostError, remove
from shared.jobs.batch_record import Batch, BatchStatus
from shared.jobs.batches import CHUNK, BatchClaim, BatchStore
from shared.jobs.erase import erase
from shared.jobs.record import Queue
from shared.jobs.results import Purged
from worker.chores.batch_check import Checking, Desk

log = logging.getLogger(__name__)

#: Seconds for which one batch is worked on before the others have their turn.
TURN_SECONDS = 0.5


class BatchWork:
    """What chores do for batches: `step` is a `Loop`'s.

    Args:
        batches: the batches.
        desk: what their items are checked with, and where their files are.
        ring: rings a stage's bell.
        draining: set when the worker is to go.
    """

    def __init__(
        self,
        batches: BatchStore,
        desk: Desk,
        ring: Callable[[Queue], None],
        draining: threading.Event,
    ) -> None:
        self._batches, self._objects = batches, desk.objects
        self._checking = Checking(batches, desk, draining)
        self._ring_bell, self._draining = ring, draining
        self._part: tuple[str, int, list[bytes]] = ("", 0, [])

    def step(self) -> bool:
        """Do a piece of work; False when there was none.

        Raises:
            StoreUnavailable: Redis does not answer.
            StorageUnavailable: the object store does not answer.
        """
        forgot = self._purge() or self._batches.let_go()
        claim = self._batches.claim()
        if claim is None:
            return forgot
        try:
            self._work(claim)
        except LinesLostError as lost:
            self._lost(claim, lost)
        finally:
            self._batches.give_back(claim)
        return True

    def _work(self, claim: BatchClaim) -> None:
        batch = claim.batch
        left = batch.unmade > 0 and not batch.error
        advance, at, more = self._load, batch.loaded, left or batch.cancel_requested
        if batch.status is BatchStatus.VALIDATING:
            advance, at, more = self._checking.advance, batch.checked, True
        until = time.monotonic() + TURN_SECONDS
        while more and not self._draining.is_set():
            if batch.cancel_requested:
                more = self._batches.stop(claim)
            else:
                at, more = advance(claim, at)
            if time.monotonic() >= until:
                break

    def _load(self, claim: BatchClaim, at: int) -> tuple[int, bool]:
        """Make jobs of the lines from `at` on; returns where that came to, and whether to go on."""
        batch = claim.batch
        lines = self._lines(batch, at)
        try:
            jobs = [job_of_line(line, at + i, batch) for i, line in enumerate(lines)]
        except (ValueError, KeyError, TypeError):  # an early part, without a seal
            file = BatchFile(self._objects, batch.uid, Kind.ITEMS)
            raise file.lost(at // PART_LINES, "has lines that are no jobs") from None
        loaded = self._batches.load(claim, at, jobs)
        if loaded is None:
            return at, False
        for queue in loaded.ring:
            self._ring(queue)
        return loaded.count, loaded.count < batch.total

    def _lost(self, claim: BatchClaim, lost: LinesLostError) -> None:
        """Lines cannot be read: look for them again later, or end the batch."""
        uid = claim.batch.uid
        self._part = ("", 0, [])
        self._objects.check()  # a store that is away has lost nothing
        first = lost.part * PART_LINES
        fault = BatchLinesLost(
            f"What was stored of the items from index {first} to {first + PART_LINES - 1} is gone or "
            "damaged, so no more jobs are made of the batch; those that it has go on. Send the items again "
            "that have no job in `results.ndjson`."
        )
        if self._batches.lost(claim, ErrorInfo.of(fault)):
            log.error("batch %s has failed: %s", uid, lost)
        else:
            log.warning("batch %s: %s; it is looked for again", uid, lost)

    def _lines(self, batch: Batch, at: int) -> list[bytes]:
        """The lines of a chunk from one on, of one part: the part is kept for the next chunk."""
        part, place = divmod(at, PART_LINES)
        if self._part[:2] != (batch.uid, part):
            file = BatchFile(self._objects, batch.uid, Kind.ITEMS)
            self._part = (batch.uid, part, file.read(part, batch.total))
        return self._part[2][place : place + CHUNK]

    def _ring(self, queue: Queue) -> None:
        try:
            self._ring_bell(queue)
        except StoreUnavailable as fault:
            log.warning("a bell of %s was not rung: %s", queue, fault.detail)  # the reaper rings

    def _purge(self) -> bool:
        purged = self._batches.purge_due()
        if purged is None:
            return False
        for job in purged.jobs:
            erase(self._objects, Purged.of(job))
        if purged.gone:
            remove(self._objects, purged.uid)
            log.info("batch %s is purged", purged.uid)
        return True


def job_of_line(line: bytes, index: int, batch: Batch) -> dict[str, Any]:
    """A job as the loading script takes it, made from the line of this number."""
    job: dict[str, Any] = json.loads(line)
    uid = new_id("job")
    job["record"] |= {"uid": uid, "id": uid, "owner": batch.owner, "body_hash": f"{batch.uid} {index}"}
    return job
