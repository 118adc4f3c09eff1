"""The checkpoints of one attempt: stored beside the painting, which waits for none of them.

When one is due is `worker.attempt`'s to say, what is in one the engine's. A store that is slow or away makes
checkpoints rarer, and a job that is killed then begins further back; nothing else follows from it.
"""

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from functools import partial

from shared.errors import StorageUnavailable, StoreUnavailable
from shared.jobs.record import Checkpoint as Pointer
from shared.jobs.results import LeaseLostError
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from worker.engine import Checkpoint
from worker.lease import Lease
from worker.tries import in_thread

log = logging.getLogger(__name__)

#: Checkpoints of this process that are on their way at a time: each is held in memory until it is stored.
AT_A_TIME = 4
_on_their_way = threading.BoundedSemaphore(AT_A_TIME)


class Checkpoints:
    """Where another attempt can go on.

    Args:
        store: where the job's record is.
        objects: where checkpoints are kept.
        lease: the claim that is held.

    Attributes:
        newest: the one that the record points to.
    """

    def __init__(self, store: JobStore, objects: ObjectStore, lease: Lease) -> None:
        self.newest = lease.claim.job.checkpoint
        self._store = store
        self._objects = objects
        self._claim = lease.claim
        self._job_id = lease.claim.job.id
        self._number = 0
        self._reached = -1
        self._under_way: Future[None] | None = None
        # Held while the record is changed, so that an older one that was overtaken does not replace a newer.
        self._pointing = threading.Lock()

    def offer(self, make: Callable[[], Checkpoint]) -> bool:
        """Make a checkpoint and store it meanwhile; False when others are still on their way."""
        if self._under_way and not self._under_way.done():
            return False
        if not _on_their_way.acquire(blocking=False):
            return False
        try:
            self._under_way = in_thread(self._next(make()), "checkpoint")
        except BaseException:
            _on_their_way.release()
            raise
        self._under_way.add_done_callback(lambda _: _on_their_way.release())
        return True

    def keep(self, checkpoint: Checkpoint, seconds: float) -> None:
        """Store one and wait for that, but no longer than so many seconds: then the last one counts."""
        if not wait([in_thread(self._next(checkpoint), "checkpoint")], seconds).done:
            log.warning("job %s: left without a last checkpoint, the store is too slow", self._job_id)

    def drop(self) -> None:
        """The job has ended: nobody goes on from here. One that is on its way drops itself."""
        with self._pointing:
            newest = self.newest
        if newest is not None:
            self._objects.delete(newest.key)

    def _next(self, checkpoint: Checkpoint) -> Callable[[], None]:
        self._number += 1
        key = f"checkpoints/{self._claim.job.uid}/{self._claim.fence}-{self._number}"
        return partial(self._store_one, key, checkpoint)

    def _store_one(self, key: str, checkpoint: Checkpoint) -> None:
        try:
            self._objects.put(key, checkpoint.to_bytes(), "application/octet-stream")
            superseded = self._point_to(Pointer(key, checkpoint.step))
            if superseded:
                self._objects.delete(superseded)
        except StorageUnavailable:
            log.warning("job %s: the object store fails; a checkpoint is missed", self._job_id)
        except StoreUnavailable:
            # It may have been noted all the same: the object stays, and a chore sweeps it if not.
            log.warning("job %s: the job store does not answer; the checkpoint may not count", self._job_id)
        except Exception:
            log.exception("job %s: a checkpoint is missed", self._job_id)

    def _point_to(self, pointer: Pointer) -> str | None:
        """Have the record point to a stored checkpoint; returns the key that is of no use any more."""
        with self._pointing:
            if pointer.step < self._reached:
                return pointer.key
            try:
                replaced = self._store.checkpoint(self._claim, pointer)
            except LeaseLostError:  # the lease's own beat says so to the painting
                return pointer.key
            self.newest, self._reached = pointer, pointer.step
            return replaced
