"""The timer in every worker: says that the worker lives, and takes its turn at reaping.

The reaper heals what crashed workers and lost bells left behind. It runs on a timer, never on a message,
since messages are what it heals. A short lock in Redis keeps it to one worker at a time.
"""

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace

from redis import Redis

from shared.bells import ring
from shared.errors import StoreUnavailable
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.settings import Settings
from worker.outage import Outage
from worker.recycling import resident

log = logging.getLogger(__name__)

ADVERT_SECONDS = 10.0
#: A worker that is restarting must not look gone to callers.
ADVERT_TTL_SECONDS = 90.0
#: Seconds between two bells for the chores.
CHORES_SECONDS = 30.0
_PART = "ticker"


class Ticker:
    """Advertises one worker and reaps, until stopped."""

    def __init__(
        self, redis: Redis, store: JobStore, config: Settings, info: WorkerInfo, outage: Outage
    ) -> None:
        self._redis = redis
        self._store = store
        self._config = config
        self._info = info
        self._outage = outage
        self._workers = Workers(redis)
        #: Since when Redis has been asked and has not answered.
        self._asking_since: float | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ticker", daemon=True)

    def start(self) -> None:
        """Advertise the worker, then go on in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop ticking and withdraw the advert."""
        self._stopped.set()
        self._thread.join()
        try:
            self._workers.withdraw(self._info.name)
        except StoreUnavailable:
            log.warning("the advert of %s is left to run out", self._info.name)

    def _run(self) -> None:
        advertised_at = -ADVERT_SECONDS
        while True:
            self._asking_since = self._asking_since or time.monotonic()
            try:
                if time.monotonic() - advertised_at >= ADVERT_SECONDS:
                    info = replace(self._info, resident_bytes=resident())
                    self._workers.advertise(info, ttl_seconds=ADVERT_TTL_SECONDS)
                    advertised_at = time.monotonic()
                self._reap()
            except StoreUnavailable as fault:
                self._outage.away(_PART, fault.detail)
                advertised_at = -ADVERT_SECONDS
            except Exception:
                # Without memory, to say so may fail as well; the next tick may not.
                with suppress(MemoryError):
                    log.exception("tick failed")
            else:
                self._outage.back(_PART)
            if self._stopped.wait(self._config.reap_seconds):
                return

    def _reap(self) -> None:
        store, name = self._store, self._info.name
        chores = store.take_turn("chores", name, CHORES_SECONDS)
        self._answered()
        if chores and not store.outstanding(Queue.CHORES):
            ring(Queue.CHORES)
        if not store.take_turn("reaper", name, self._config.reap_seconds * 0.9):
            return
        reaped = store.reap(regular=True)
        if reaped.requeued or reaped.failed or reaped.canceled or reaped.expired:
            log.info(
                "reaped: %d put back, %d failed, %d canceled, %d expired",
                reaped.requeued,
                reaped.failed,
                reaped.canceled,
                reaped.expired,
            )
        for queue, bells in reaped.rang.items():
            for _ in range(bells):
                ring(Queue(queue))

    def _answered(self) -> None:
        """Redis has answered; say so if that took as long as may have cost leases."""
        asked = time.monotonic() - (self._asking_since or time.monotonic())
        if asked > self._config.lease_seconds / 2:
            self._store.was_away()
        self._asking_since = None
