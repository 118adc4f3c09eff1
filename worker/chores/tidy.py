"""Keeping the house tidy: ended jobs past their retention, pictures nobody needs, leftovers of crashes.

Every step is bounded and can be repeated: a chore that dies half-way is finished by the next one.
"""

import logging
import time
from collections.abc import Callable

from shared.errors import Conflict, NotFound
from shared.jobs.batch_files import PREFIX
from shared.jobs.erase import erase
from shared.jobs.hashes import UnreadableRecordError
from shared.jobs.record import SCHEMA, Job
from shared.jobs.store import JobStore
from shared.objects import ObjectStat, ObjectStore

log = logging.getLogger(__name__)

#: What one chore does at most; the next bell goes on.
BATCH = 200
#: Whoever listens for changes has heard of them by then, and whoever comes back later asks anew.
CHANGES_SECONDS = 3600.0
#: An object that no record names is left alone for this long: its writer may not have pointed at it yet.
ORPHAN_SECONDS = 3600.0
#: Nor is a file of a batch without a record, for this long.
DRAFT_SECONDS = 6 * 3600.0
#: Seconds between two looks through all objects.
SWEEP_SECONDS = 3600.0
#: Deleting unused inputs stops after this long, well before another worker may take over what is left.
COLLECT_SECONDS = 120.0


class Tidy:
    """The chores worker's task."""

    def __init__(self, store: JobStore, objects: ObjectStore, retention_seconds: float) -> None:
        self._store = store
        self._objects = objects
        self._retention_seconds = retention_seconds
        self._swept_at = -SWEEP_SECONDS

    def work(self) -> bool:
        """Do one bounded round; True when something was left for another."""
        purged = self._purge_expired()
        expired = self._expire_outputs()
        self._store.trim_changes(CHANGES_SECONDS)
        collected = self._collect_inputs()
        swept = self._sweep_leftovers()
        if purged or expired or collected or swept:
            log.info(
                "tidied: %d jobs purged, %d outputs, %d inputs and %d leftovers deleted",
                purged,
                expired,
                collected,
                swept,
            )
        return BATCH in (purged, expired, collected) or swept >= BATCH

    def _purge_expired(self) -> int:
        due = self._store.due_for_purge(BATCH)
        for owner, job_id in due:
            try:
                purged = self._store.purge(owner, job_id)
            except (NotFound, Conflict):
                continue
            erase(self._objects, purged)
        return len(due)

    def _expire_outputs(self) -> int:
        expired, keys = self._store.expire_outputs(BATCH)
        for key in keys:
            self._objects.delete(key)
        return expired

    def _collect_inputs(self) -> int:
        started = time.monotonic()
        garbage = self._store.garbage(BATCH)
        for done, key in enumerate(garbage):
            if time.monotonic() - started > COLLECT_SECONDS:
                return done
            self._objects.delete(key)
            self._store.forget(key)
        return len(garbage)

    def _sweep_leftovers(self) -> int:
        if time.monotonic() - self._swept_at < SWEEP_SECONDS:
            return 0
        swept = [
            self._sweep(prefix, ORPHAN_SECONDS, self._unnamed)
            for prefix in ("checkpoints/", "outputs/", "previews/")
        ]
        # A batch's lines are stored before its record, and a large one takes its time.
        swept.append(self._sweep(PREFIX, DRAFT_SECONDS, lambda stat: not self._store.has_batch(_uid(stat))))
        # Statistics of styles belong to no job, and one that is missed is computed again.
        swept.append(self._sweep("styles/", self._retention_seconds, lambda _: True))
        if max(swept) < BATCH:
            self._swept_at = time.monotonic()
        return sum(swept)

    def _unnamed(self, stat: ObjectStat) -> bool:
        """Whether no record names the object. One that cannot be read may."""
        try:
            job = self._store.by_uid(_uid(stat))
        except UnreadableRecordError:
            return False
        return not (_named(job, stat) or self._store.shared(stat.key))

    def _sweep(self, prefix: str, seconds: float, unwanted: Callable[[ObjectStat], bool]) -> int:
        """Delete objects below the prefix that are older than so many seconds and unwanted."""
        swept = 0
        horizon = time.time() - seconds
        for stat in self._objects.list(prefix):
            if stat.modified < horizon and unwanted(stat):
                self._objects.delete(stat.key)
                swept += 1
                if swept == BATCH:
                    break
        return swept


def _uid(stat: ObjectStat) -> str:
    """The uid in an object's key: its second part."""
    return stat.key.split("/")[1]


def _named(job: Job | None, stat: ObjectStat) -> bool:
    """Whether the job needs the object: its result, and while it has not ended its preview and checkpoint.

    What a later Impasto's record needs is not known here: all that there is.
    """
    if job is None:
        return False
    if job.schema > SCHEMA:
        return True
    if job.output is not None and stat.key == job.output.key:
        return True
    checkpoint = job.checkpoint.key if job.checkpoint else None
    return not job.status.terminal and stat.key in (job.preview_key, checkpoint)
