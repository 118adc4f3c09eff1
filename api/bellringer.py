"""Ringing bells beside the requests: a submit does not wait for its bell.

One thread rings, what waits for it is bounded, and a bell that is missed is rung by the reaper.
"""

import logging
import threading
from collections import Counter
from collections.abc import Callable

from shared.errors import StoreUnavailable
from shared.jobs.record import Queue

log = logging.getLogger(__name__)


class Bellringer:
    """Rings in a thread of its own, which begins with the first bell: a process may fork before that.

    Args:
        ring: rings one bell; may raise `StoreUnavailable`.
        most: bells of a stage that wait to be rung at most; more would be more than may be outstanding.
    """

    def __init__(self, ring: Callable[[Queue], None], most: int) -> None:
        self._ring = ring
        self._most = most
        self._wanted: Counter[Queue] = Counter()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._away = False

    def ring(self, queue: Queue) -> None:
        """Have a bell rung soon; returns at once and raises nothing."""
        with self._changed:
            self._wanted[queue] = min(self._wanted[queue] + 1, self._most)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="bells", daemon=True)
                self._thread.start()
            self._changed.notify()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._wanted.total() > 0)
                queue = next(iter(+self._wanted))
                self._wanted[queue] -= 1
            self._ring_one(queue)

    def _ring_one(self, queue: Queue) -> None:
        try:
            self._ring(queue)
            self._away = False
        except StoreUnavailable as fault:
            # The records are what counts; the reaper rings for what waits.
            if not self._away:
                log.warning("bells are not rung: %s", fault.detail)
            self._away = True
        except Exception:
            log.exception("a bell was not rung")
