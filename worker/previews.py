"""Previews of a painting: stored beside it, which waits for none of them."""

import logging
import time
from concurrent.futures import Future
from functools import partial

from shared.errors import StorageUnavailable
from shared.objects import ObjectStore
from worker.engine import Progress, files
from worker.lease import Lease
from worker.tries import in_thread

log = logging.getLogger(__name__)

PREVIEW_SECONDS = 2.0
QUALITY = 80


class Previews:
    """The previews of one attempt; each replaces the one before.

    Args:
        objects: where they are kept.
        lease: the claim that is held; its next beat tells the record of them.
    """

    def __init__(self, objects: ObjectStore, lease: Lease) -> None:
        self._objects = objects
        self._lease = lease
        self._job = lease.claim.job
        self._key = f"previews/{self._job.uid}"
        self._shown_at = time.monotonic()
        self._under_way: Future[None] | None = None
        self._dropped = False

    def show(self, progress: Progress, together: int) -> None:
        """Show how far a painting is, if it is time for that and the last preview is not still on its way.

        Args:
            progress: the painting's.
            together: how many are painted at once: each is shown as much less often.
        """
        now = time.monotonic()
        waits = self._under_way is not None and not self._under_way.done()
        if waits or now - self._shown_at < PREVIEW_SECONDS * together:
            return
        self._shown_at = now
        data = files.encode(progress.image(), "jpeg", QUALITY)
        self._under_way = in_thread(partial(self._store, data, progress.step), "preview")

    def drop(self) -> None:
        """The job has ended. One that is still on its way drops itself.

        Raises:
            StorageUnavailable: what stays behind is swept by a chore.
        """
        self._dropped = True
        self._objects.delete(self._key)

    def _store(self, data: bytes, step: int) -> None:
        try:
            self._objects.put(self._key, data, "image/jpeg")
            if self._dropped:
                self._objects.delete(self._key)
        except StorageUnavailable:
            log.warning("job %s: no preview, the object store fails", self._job.id)
        else:
            self._lease.moved(preview=(self._key, step))
