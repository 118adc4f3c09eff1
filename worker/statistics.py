"""Style statistics kept between jobs and workers: what the engine computes once a style and size, as objects.

What they hold and how they are named is the engine's business. They are a convenience: one that cannot be
read or stored is computed again, and chores delete them when they are old.
"""

import logging
from functools import partial

from shared.errors import StorageUnavailable
from shared.objects import ObjectMissingError, ObjectStore
from worker.tries import briefly

log = logging.getLogger(__name__)

PREFIX = "styles/"
#: How long the object store is waited for: less than computing them again takes.
WAIT_SECONDS = 3.0


class StoredStatistics:
    """Statistics by key, in the object store; safe to use from any number of threads and processes."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects

    def get(self, key: str) -> bytes | None:
        """What was put under `key`; None when there is nothing, or the object store does not say."""
        try:
            return briefly(partial(self._objects.get, PREFIX + key), WAIT_SECONDS)
        except ObjectMissingError:
            return None
        except StorageUnavailable as fault:
            log.warning("style statistics are computed again: %s", fault.detail)
            return None

    def put(self, key: str, data: bytes) -> None:
        """Keep `data` under `key`, if the object store takes it.

        Raises:
            ValueError: `key` is not letters, digits, `.`, `_`, `-` and `/` as in an object's key.
        """
        try:
            put = partial(self._objects.put, PREFIX + key, data, "application/octet-stream")
            briefly(put, WAIT_SECONDS)
        except StorageUnavailable as fault:
            log.warning("style statistics are not kept: %s", fault.detail)
