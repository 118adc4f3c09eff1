"""Calls to the object store that fail, hang or crawl, made so that nobody is held by one.

Each call runs in a thread of its own. Whoever waits for it goes on hearing of a cancel, a drain or a lost
lease, and leaves a call that hangs to itself; what such a call does in the end is undone.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from itertools import chain, repeat
from typing import TypeVar

from shared.errors import StorageUnavailable
from shared.logs import carried
from worker.lease import Lease, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Seconds between tries; the last one again and again.
PAUSES = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: However little time is left, a call to the object store is waited for as long as this.
QUICK_SECONDS = 2.0
#: How long a worker that is to leave waits for the object store.
LEAVING_SECONDS = 15.0
#: Seconds between two looks at what the lease says.
LOOK_SECONDS = 0.1


class StoppedError(Exception):
    """The call is not waited for any more, since the lease says stop; why, it says itself."""


def in_thread(call: Callable[[], T], name: str) -> "Future[T]":
    """Make a call in a thread of its own, which does not keep the process from leaving."""
    made: Future[T] = Future()
    made_there = carried(call)

    def run() -> None:
        try:
            made.set_result(made_there())
        except BaseException as error:  # noqa: BLE001 - it is raised by whoever asks for the result
            made.set_exception(error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return made


def briefly(call: Callable[[], T], seconds: float) -> T:
    """Make a call and wait for it, but no longer than so many seconds.

    Raises:
        StorageUnavailable: it has not ended by then; it is left to itself.
    """
    made = in_thread(call, "object-store")
    if not wait([made], seconds).done:
        raise StorageUnavailable("The object store does not answer in time")
    return made.result()


def patiently(
    call: Callable[[], T],
    lease: Lease,
    *,
    until: float,
    leaving_seconds: float = 0.0,
    undo: Callable[[], object] | None = None,
) -> T:
    """Make a call to the object store, again and again with growing pauses while the store is away.

    Meanwhile the work counts as moving. A cancel and a lost lease end the wait at once.

    Args:
        call: what is to be done; it raises `StorageUnavailable` when that may succeed later.
        lease: says when to stop.
        until: when patience ends, by the monotonic clock.
        leaving_seconds: how long a process that is to leave still waits, for one more try; 0 for no more.
        undo: called, in another thread, once the last call has ended, where all of them came to nothing or
            they are not wanted any more.

    Raises:
        StoppedError: the lease says stop.
        StorageUnavailable: patience is at its end.
    """
    watch = _Watch(lease, until, leaving_seconds)
    watch.look()
    for pause in chain(PAUSES, repeat(PAUSES[-1])):
        last = watch.leaving
        made = in_thread(call, "object-store")
        # Undone only when no other try follows: an undo that is slow would take away what that one has done.
        try:
            try:
                while not wait([made], LOOK_SECONDS).done:
                    watch.look()
                return made.result()
            except StorageUnavailable as fault:
                log.warning("job %s: %s", lease.claim.job.id, fault.detail)
                if last:
                    raise StoppedError from fault
                if time.monotonic() + pause > until:
                    raise
            watch.pause(pause)
        except BaseException:
            _undo(made, undo)
            raise
    raise AssertionError("the pauses have no end")


class _Watch:
    """Looks, while somebody waits, whether that is still wanted."""

    def __init__(self, lease: Lease, until: float, leaving_seconds: float) -> None:
        self.leaving = False
        self._lease = lease
        self._until = until
        self._leaving_seconds = leaving_seconds

    def look(self) -> None:
        """Raises what `patiently` raises when the wait is over."""
        self._lease.moved()
        stop = self._lease.stop
        if stop is Stop.DRAIN and self._leaving_seconds:
            if not self.leaving:
                self.leaving = True
                self._until = min(self._until, time.monotonic() + self._leaving_seconds)
        elif stop is not None:
            raise StoppedError
        if time.monotonic() > self._until:
            if self.leaving:
                raise StoppedError
            raise StorageUnavailable("The object store did not answer in time")

    def pause(self, seconds: float) -> None:
        """Wait, unless the process is to leave."""
        end = time.monotonic() + seconds
        while not self.leaving and time.monotonic() < end:
            time.sleep(LOOK_SECONDS)
            self.look()


def _undo(made: "Future[T]", undo: Callable[[], object] | None) -> None:
    if undo is not None:
        made.add_done_callback(lambda _: in_thread(undo, "undo"))
