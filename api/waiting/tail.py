"""Follows the stream of changes in a thread and on a connection of its own, whatever befalls Redis."""

import logging
import threading
from typing import Protocol

import redis

from shared.errors import StoreUnavailable
from shared.jobs.changes import Change, ChangeLog, Extent, order

log = logging.getLogger(__name__)

#: Changes that one read returns at most, and seconds that it waits for the first; less where Redis is given
#: less.
MOST, WAIT_SECONDS = 1000, 1.0
#: After a read that failed the next one waits longer and longer, up to this.
MAX_BACKOFF_SECONDS = 2.0


class Listener(Protocol):
    """Who is told; called by the tail's thread."""

    def begins(self, complete_from: str) -> None:
        """All changes after this ID will follow; what was told before may lack some."""

    def changed(self, changes: list[Change]) -> None:
        """The next ones."""

    def caught_up(self) -> None:
        """What was there when it began has been told."""


class Tail:
    """Tells a listener of every change, in order, from the oldest that is kept.

    Args:
        client: for this thread alone.
        redis_seconds: the timeout of its connections.
        listener: whom to tell.
    """

    def __init__(self, client: redis.Redis, redis_seconds: float, listener: Listener) -> None:
        self._client = client
        self._log = ChangeLog(client)
        self._seconds = min(WAIT_SECONDS, redis_seconds / 2)
        self._listener = listener
        self._position: str | None = None
        self._caught_up = False
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="tail", daemon=True)

    def start(self) -> None:
        """Begin, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Tell nothing more; the thread ends when Redis has answered."""
        self._stopped.set()

    def _run(self) -> None:
        failures = 0
        while not self._stopped.is_set():
            try:
                self._begin_if_needed()
                failures = 0
                while not self._stopped.is_set():
                    self._read()
            except StoreUnavailable as fault:
                if not failures:
                    log.warning("changes cannot be followed: %s", fault.detail)
                failures += 1
            except Exception:
                log.exception("changes cannot be followed")
                failures += 1
            self._stopped.wait(min(0.1 * 2**failures, MAX_BACKOFF_SECONDS))
        self._client.close()

    def _begin_if_needed(self) -> None:
        """After a break: go on where it was, or begin anew when the stream does not reach back to there."""
        extent = self._log.extent()
        if self._position is None or _lacks(extent, self._position):
            self._begin(extent)
        elif not self._caught_up:
            self._catch_up(self._position)

    def _begin(self, extent: Extent) -> None:
        self._caught_up = False
        self._listener.begins(extent.complete_from)
        self._position = extent.complete_from
        self._catch_up(self._position)

    def _catch_up(self, position: str) -> None:
        while changes := self._log.after(position, MOST):
            self._listener.changed(changes)
            self._position = position = changes[-1].id
        self._caught_up = True
        self._listener.caught_up()

    def _read(self) -> None:
        before = self._position
        if before is None:
            raise AssertionError("reading begins after `_begin`")
        changes = self._log.wait(before, self._seconds, MOST)
        if not changes:
            return
        # Who lags behind reads what is left once the stream has been cut, without being told.
        if len(changes) == MOST and _lacks(extent := self._log.extent(), before):
            self._begin(extent)
            return
        self._listener.changed(changes)
        self._position = changes[-1].id


def _lacks(extent: Extent, position: str) -> bool:
    """Whether something after this position may be missing: it was cut off, or the server has lost it."""
    return order(extent.complete_from) > order(position) or order(extent.last) < order(position)
