"""Holding a claim: the heartbeat that renews its lease, and the watchdog that ends a stalled process.

A thread of its own beats from claim to finish, so that slow steps, compiles and uploads do not lose the
lease. It reads what the work reports and tells the work why it should stop; it never touches the work.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from enum import StrEnum
from types import TracebackType
from typing import Self, TypeVar

from shared.errors import StoreUnavailable
from shared.jobs.record import PaintProgress, Stage
from shared.jobs.results import Claim, LeaseLostError
from shared.jobs.store import JobStore
from shared.logs import begin

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Longest time between two beats: a cancel and a passed deadline are heard, and progress is seen, within it.
#: Both are to act within a second, of which the evaluation under way needs its part.
BEAT_SECONDS = 0.5
#: Seconds between two tries of a call that the store did not answer.
INSIST_SECONDS = 0.5
#: Exit status of a process that its watchdog ended.
STALLED_EXIT = 75


class Stop(StrEnum):
    """Why the work should stop."""

    CANCEL = "cancel"
    LOST = "lost"
    DRAIN = "drain"


class Pulse:
    """When the work last showed progress. Jobs that are worked on as one have one pulse."""

    def __init__(self) -> None:
        self._beaten = time.monotonic()

    def beat(self) -> None:
        """The work has come further."""
        self._beaten = time.monotonic()

    def silence(self) -> float:
        """Seconds without progress."""
        return time.monotonic() - self._beaten


class Lease:
    """A claim that is kept alive while the block runs.

    Args:
        store: where the claim is renewed.
        claim: the claim to hold.
        lease_seconds: how long the claim holds without a beat.
        stall_seconds: how long the work may go without a sign of progress.
        draining: set when the process has been asked to leave.
        pulse: the work's progress, where several claims are worked on as one.
    """

    def __init__(
        self,
        store: JobStore,
        claim: Claim,
        *,
        lease_seconds: float,
        stall_seconds: float,
        draining: threading.Event,
        pulse: Pulse | None = None,
    ) -> None:
        self.claim = claim
        self._store = store
        self._lease_seconds = lease_seconds
        self._stall_seconds = stall_seconds
        self._draining = draining
        self._ended = threading.Event()
        self._stop: Stop | None = None
        self._progress: PaintProgress | None = None
        self._stage: Stage | None = None
        self._preview: tuple[str, int] | tuple[None, None] = (None, None)
        self._renewed = time.monotonic()
        self._unheard = False
        self._telling = threading.Lock()
        self._pulse = pulse or Pulse()
        name = f"lease-{claim.job.id}"
        self._thread = threading.Thread(target=self._beat_until_ended, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the heartbeat, since the claim is; may be repeated."""
        self._ended.set()
        self._thread.join()

    def moved(
        self,
        progress: PaintProgress | None = None,
        *,
        stage: Stage | None = None,
        preview: tuple[str, int] | None = None,
    ) -> None:
        """Say that the work has come further; the next beat hands it to the store.

        Args:
            progress: how far.
            stage: what it is doing.
            preview: object key of a new preview, and the step that it shows.
        """
        self._pulse.beat()
        self._progress = progress or self._progress
        self._stage = stage or self._stage
        self._preview = preview or self._preview

    @property
    def stop(self) -> Stop | None:
        """Why the work should stop now, or None: a lost lease before a cancel, a cancel before a drain."""
        if time.monotonic() - self._renewed > self._lease_seconds:
            self._stop = Stop.LOST
        return self._stop or (Stop.DRAIN if self._draining.is_set() else None)

    def insist(self, call: Callable[[], T]) -> T:
        """Make the call to the store that ends the claim, again and again while Redis is away.

        It goes on when the lease is over: only the store knows whether the job has been taken away, and until
        it is asked nobody knows what has become of an earlier try.

        Raises:
            LeaseLostError: from the call: the store said so.
            StoreUnavailable: the process has to leave, the lease is over and Redis is away. Whether the call
                took effect is not known.
        """
        while True:
            try:
                with self._telling:
                    answer = call()
                    self._ended.set()
                    return answer
            except StoreUnavailable:
                if self._draining.is_set() and self.stop is Stop.LOST:
                    raise
                self._pulse.beat()  # waiting for Redis is no stall
                self._ended.wait(INSIST_SECONDS)

    def _beat_until_ended(self) -> None:
        begin(**self.claim.log_fields)
        interval = min(self._lease_seconds / 3, BEAT_SECONDS)
        while not self._ended.wait(interval):
            if self._pulse.silence() > self._stall_seconds:
                self._end_process()
            # Work whose lease is lost may still hang: nothing is renewed, the watchdog stays. Nor is anything
            # while the claim is being ended, since a beat that comes after the end would be refused.
            if self._stop is not Stop.LOST and self._telling.acquire(blocking=False):
                try:
                    if not self._ended.is_set():
                        self._beat()
                finally:
                    self._telling.release()

    def _beat(self) -> None:
        """Renew once."""
        sent_at = time.monotonic()
        preview_key, preview_step = self._preview
        try:
            renewal = self._store.renew(
                self.claim,
                progress=self._progress,
                stage=self._stage,
                preview_key=preview_key,
                preview_step=preview_step,
            )
        except LeaseLostError:
            log.warning("job %s: lease lost", self.claim.job.id)
            self._stop = Stop.LOST
            return
        except StoreUnavailable:
            if not self._unheard:
                log.warning("job %s: the job store does not answer; working on", self.claim.job.id)
            self._unheard = True
            return
        except Exception:
            # Without memory, to say so may fail as well; the next beat may not.
            with suppress(MemoryError):
                log.exception("job %s: a beat failed", self.claim.job.id)
            return
        self._renewed, self._unheard = sent_at, False
        if renewal.cancel and self._stop is None:
            self._stop = Stop.CANCEL

    def _end_process(self) -> None:
        log.critical(
            "job %s: no progress for %.0f s; ending this process", self.claim.job.id, self._stall_seconds
        )
        logging.shutdown()
        os._exit(STALLED_EXIT)
