"""The audit as a chore: rare, in one worker, only so long. What it finds is logged; nothing is changed."""

import logging
import threading
import time
from contextlib import suppress

import redis

from shared.audit import AuditStoppedError, audit
from shared.errors import StorageUnavailable, StoreUnavailable
from shared.objects import ObjectStore
from shared.redis import translated
from shared.settings import Settings

log = logging.getLogger(__name__)

#: Seconds between two audits, whichever worker makes them.
CHECKUP_SECONDS = 6 * 3600.0
#: An audit gives way to the other chores after this long; `impasto doctor` takes the time that it needs.
MAX_SECONDS = 300.0
#: Findings that are logged one by one.
MAX_LOGGED = 100
#: Seconds until another worker begins anew what a drain or an outage has broken off.
AGAIN_SECONDS = 60.0
LOCK = "im:lock:checkup"


class Checkup:
    """Audits both stores when it is time."""

    def __init__(
        self, client: redis.Redis, objects: ObjectStore, config: Settings, draining: threading.Event
    ) -> None:
        self._client = client
        self._objects = objects
        self._config = config
        self._draining = draining

    def work(self) -> None:
        """Make an audit, unless somebody did within the interval.

        Raises:
            StoreUnavailable: Redis does not answer.
            StorageUnavailable: the object store does not answer.
        """
        with translated():
            mine = self._client.set(LOCK, "", nx=True, px=int(CHECKUP_SECONDS * 1000))
        if not mine:
            return
        until = time.monotonic() + MAX_SECONDS
        found = 0
        try:
            for finding in audit(
                self._client,
                self._objects,
                self._config,
                should_stop=lambda: self._draining.is_set() or time.monotonic() > until,
                pause=self._draining.wait,
            ):
                found += finding.fault
                if finding.fault and found <= MAX_LOGGED:
                    log.warning(
                        "audit: %s: %s: %s. %s", finding.code, finding.subject, finding.detail, finding.remedy
                    )
        except AuditStoppedError:
            log.info("audit stopped before its end: %d found; `impasto doctor` looks at everything", found)
            if self._draining.is_set():
                self._again_soon()
            return
        except (StoreUnavailable, StorageUnavailable):
            self._again_soon()
            raise
        log.log(logging.WARNING if found else logging.INFO, "audit: %d found", found)

    def _again_soon(self) -> None:
        with suppress(StoreUnavailable), translated():
            self._client.pexpire(LOCK, int(AGAIN_SECONDS * 1000))
