"""Telling of an outage of Redis once: a line when it begins and one when it is over, whoever finds out.

Several parts of a worker notice it, each on its own connection. It begins with the first that is cut off, and
is over when none is.
"""

import logging
import threading
import time

log = logging.getLogger(__name__)


class Outage:
    """What is cut off from Redis at the moment; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._away: set[str] = set()
        self._began = 0.0

    def away(self, part: str, reason: str) -> None:
        """A part of the worker does not reach Redis.

        Args:
            part: its name; it reports `back` under the same.
            reason: what it found, for the log.
        """
        with self._lock:
            if not self._away:
                self._began = time.monotonic()
                log.warning("Redis is away, trying on: %s", reason)
            self._away.add(part)

    def back(self, part: str) -> None:
        """A part of the worker reaches Redis, as ever or again."""
        with self._lock:
            if part in self._away:
                self._away.remove(part)
                if not self._away:
                    log.warning("Redis is back after %.1f s", time.monotonic() - self._began)
