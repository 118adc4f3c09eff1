"""How a worker leaves by itself: as after SIGTERM, with an exit status that says why.

Whatever supervises it (`deploy.local`, Compose's `restart`, Kubernetes) starts it again.
"""

import logging
import os
import signal
import threading

log = logging.getLogger(__name__)

#: Exit status of a process that left for its size: nothing is wrong.
RECYCLED_EXIT = 0
#: Exit status of a process whose device has failed, from sysexits' range beside the watchdog's 75.
DEVICE_LOST_EXIT = 76


class Unfit(Exception):  # noqa: N818 - a state, not an error of the one who says so
    """This process can do no more work. Raised by a stage when the jobs that it held are seen to.

    Attributes:
        status: the exit status to leave with.
    """

    def __init__(self, reason: str, status: int) -> None:
        super().__init__(reason)
        self.status = status


class Leaving:
    """A process' way out; safe to use from every thread.

    Args:
        draining: set when no more work is to be begun.

    Attributes:
        status: the exit status to leave with, once it has been decided here.
    """

    def __init__(self, draining: threading.Event) -> None:
        self.status: int | None = None
        self._draining = draining

    def leave(self, reason: str, status: int) -> None:
        """Take no more work, and have Celery stop as SIGTERM does. The first reason counts."""
        if self.status is not None:
            return
        self.status = status
        log.log(logging.WARNING if status else logging.INFO, "leaving with status %d: %s", status, reason)
        if not self._draining.is_set():
            self._draining.set()
            os.kill(os.getpid(), signal.SIGTERM)
