"""Work that a chores worker does all the time, beside what bells ask of it: one thread each.

A step does a bounded piece of work and says whether there was any; while there is none it is asked again
every so often. Steps may run in several workers at once, so what they work on they claim in Redis first.
"""

import logging
import threading
from collections.abc import Callable

from shared.errors import StorageUnavailable, StoreUnavailable

log = logging.getLogger(__name__)

IDLE_SECONDS = 0.5
#: After a step that failed the next one waits longer and longer, up to this.
MAX_BACKOFF_SECONDS = 8.0


class Loop:
    """Repeats a step until the worker drains.

    Args:
        name: for the thread and the log.
        step: does a bounded piece of work; False when there was none.
        draining: set when the worker is to go; a step under way should end soon then.
        idle_seconds: between two looks for work while there is none.
        finish: called once after the last step.
    """

    def __init__(
        self,
        name: str,
        step: Callable[[], bool],
        draining: threading.Event,
        idle_seconds: float = IDLE_SECONDS,
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        self._name = name
        self._step = step
        self._draining = draining
        self._idle_seconds = idle_seconds
        self._finish = finish
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def join(self) -> None:
        """Wait for the step under way; draining must be set."""
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._draining.is_set():
            try:
                pause = 0.0 if self._step() else self._idle_seconds
                failures = 0
            except (StoreUnavailable, StorageUnavailable) as fault:
                if not failures:
                    log.warning("%s has to wait: %s", self._name, fault.detail)
                failures += 1
            except Exception:
                log.exception("%s: a step failed", self._name)
                failures += 1
            if failures:
                pause = min(self._idle_seconds * 2**failures, MAX_BACKOFF_SECONDS)
            self._draining.wait(pause)
        self._finish()
