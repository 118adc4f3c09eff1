"""Looking at a batch once for all who wait for it."""

import time
from collections.abc import Callable

from shared.jobs.batch_record import Batch

#: Seconds between two looks at a batch, for all who wait for it.
LOOK_SECONDS = 0.45


class Lately:
    """Batches as they were a moment ago, so that a crowd of callers looks once. For the hub's thread alone.

    Args:
        look: the batch of a uid; may raise `StoreUnavailable`.
    """

    def __init__(self, look: Callable[[str], Batch | None]) -> None:
        self._look = look
        self._seen: dict[str, tuple[float, Batch | None]] = {}

    def forget(self, uid: str) -> None:
        """It has changed: what was seen of it is not how it is."""
        self._seen.pop(uid, None)

    def __call__(self, uid: str) -> Batch | None:
        """The batch; None when it is gone."""
        now = time.monotonic()
        if len(self._seen) > 1000:
            self._seen = {uid: seen for uid, seen in self._seen.items() if now - seen[0] < LOOK_SECONDS}
        at, batch = self._seen.get(uid, (float("-inf"), None))
        if now - at >= LOOK_SECONDS:
            batch = self._look(uid)
            self._seen[uid] = (now, batch)
        return batch
