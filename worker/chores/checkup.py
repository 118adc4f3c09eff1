"""The audit as a chore: rare, in one worker, only so long. What it finds is logged; nothing is changed."""

import logging
import threading
import time

import redis

from shared.audit import AuditStoppedError, audit
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
#: Seconds for which one that is being made keeps others from beginning; longer than it may take. Where a
#: drain, an outage or its worker's death has broken it off, another begins after these.
TURN_SECONDS = 2 * MAX_SECONDS
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
            mine = self._client.set(LOCK, "", nx=True, px=int(TURN_SECONDS * 1000))
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
                return
        else:
            log.log(logging.WARNING if found else logging.INFO, "audit: %d found", found)
        with translated():
            self._client.pexpire(LOCK, int(CHECKUP_SECONDS * 1000))
