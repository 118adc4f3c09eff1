"""Archives are built here: every finished picture of a batch and what became of each item, as one ZIP file.

One step reads a few items and writes them into the object store; no more of the archive is held. A worker
that leaves gives its archive back, one that dies loses its lease: either way the next begins anew, and the
fence keeps all but one from being published.
"""

import hashlib
import json
import logging
import tempfile
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from shared.errors import StorageUnavailable, StoreUnavailable
from shared.jobs.archives import CONTENT_TYPE, PREFIX, ArchiveClaim, ArchiveLostError, ArchiveStore
from shared.jobs.batch_files import BatchFile, ItemNames, Kind
from shared.jobs.batch_record import Batch
from shared.jobs.batches import BatchStore, Item
from shared.jobs.record import Job, Status
from shared.objects import ObjectMissingError, ObjectStore
from shared.zip_writer import ZipWriter
from worker.chores.archive_names import FileNames

log = logging.getLogger(__name__)

#: Items of one step, and pictures that are read at a time.
STRETCH, AT_A_TIME = 64, 8
#: Archives that one step forgets.
LIMIT = 50
#: Objects of builders that died are left alone for this long, and looked for every so often.
ORPHAN_SECONDS = SWEEP_SECONDS = 3600.0
LIST_NAME = "results.ndjson"
_CHUNK = 256 * 1024
_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}


class ArchiveWork:
    """What chores do for archives: `step` is a `Loop`'s, `finish` ends it.

    Args:
        archives: which are wanted.
        batches: what is in them.
        objects: the pictures, and the archives.
    """

    def __init__(self, archives: ArchiveStore, batches: BatchStore, objects: ObjectStore) -> None:
        self._archives, self._batches, self._objects = archives, batches, objects
        self._build: _Build | None = None
        self._swept_at = -SWEEP_SECONDS

    def step(self) -> bool:
        """Do a piece of work; False when there was none.

        Raises:
            StoreUnavailable: Redis does not answer.
            StorageUnavailable: the object store does not answer; the archive is begun anew.
        """
        if self._build is None:
            forgot = self._forget()
            self._build = self._begin()
            if self._build is None:
                return forgot
        try:
            if self._build.go_on():
                return True
        except ArchiveLostError:
            log.warning("batch %s: its archive is no longer this worker's to build", self._build.claim.uid)
            self._build.abandon()
        except Exception:
            self._leave(failed=True)
            raise
        self._build = None
        return True

    def finish(self) -> None:
        """Give back what is being built."""
        self._leave(failed=False)

    def _leave(self, *, failed: bool) -> None:
        build, self._build = self._build, None
        if build is not None:
            build.abandon()
            with suppress(StoreUnavailable, ArchiveLostError):
                self._archives.give_back(build.claim, failed=failed)

    def _begin(self) -> "_Build | None":
        claim = self._archives.claim()
        batch = self._batches.by_uid(claim.uid) if claim else None
        if claim is None or batch is None:
            return None
        self._objects.drop_unfinished(f"{PREFIX}{claim.uid}/")
        return _Build(claim, batch, self._archives, self._batches, self._objects)

    def _forget(self) -> bool:
        keys = self._archives.expire(LIMIT)
        for key in keys:
            self._objects.delete(key)
        if time.monotonic() - self._swept_at >= SWEEP_SECONDS:
            self._swept_at = time.monotonic()
            self._sweep()
        return bool(keys)

    def _sweep(self) -> None:
        """Delete archives that were stored and not published, and what is left of those that were begun."""
        self._objects.drop_unfinished(PREFIX, keep=lambda key: key in self._archives.keys_of(_uid(key)))
        horizon = time.time() - ORPHAN_SECONDS
        for stat in self._objects.list(PREFIX):
            if stat.modified < horizon and stat.key not in self._archives.keys_of(_uid(stat.key)):
                self._objects.delete(stat.key)


def _uid(key: str) -> str:
    """The batch whose archive it is."""
    return key.split("/")[1]


class _Build:
    """One archive under way."""

    def __init__(
        self,
        claim: ArchiveClaim,
        batch: Batch,
        archives: ArchiveStore,
        batches: BatchStore,
        objects: ObjectStore,
    ) -> None:
        self.claim = claim
        self._batch, self._archives, self._batches, self._objects = batch, archives, batches, objects
        self._files = FileNames()
        self._names = ItemNames(BatchFile(objects, batch.uid, Kind.ITEMS))
        self._writer = objects.writer(claim.key, CONTENT_TYPE)
        self._zip = ZipWriter(self._writer.write)
        self._list = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the build
        self._list_crc = 0
        self._done = 0
        self._pool = ThreadPoolExecutor(AT_A_TIME, "archive")
        self._started = self._renewed = time.monotonic()

    def go_on(self) -> bool:
        """Add some items; False once the archive is published.

        Raises:
            ArchiveLostError: it is another's to build.
            StorageUnavailable: a picture cannot be read now, or the archive not be written.
        """
        stop = min(self._done + STRETCH, self._batch.total)
        found = {
            item.index: item for item in self._batches.stretch(self._batch.uid, self._done, stop - self._done)
        }
        for start in range(self._done, stop, AT_A_TIME):
            indices = range(start, min(start + AT_A_TIME, stop))
            for index, picture in zip(
                indices, self._pool.map(self._picture, map(found.get, indices)), strict=True
            ):
                self._add(index, found.get(index), picture)
            self._hold(start)
        self._done = stop
        if self._done < self._batch.total:
            self._archives.renew(self.claim, self._done)
            self._renewed = time.monotonic()
            return True
        self._publish()
        return False

    def _hold(self, done: int) -> None:
        """Renew the claim where that is due. Raises `ArchiveLostError`."""
        if time.monotonic() - self._renewed >= self._archives.renew_seconds:
            self._archives.renew(self.claim, done)
            self._renewed = time.monotonic()

    def abandon(self) -> None:
        """There will be no archive of this build."""
        self._writer.abandon()
        self._close()

    def _close(self) -> None:
        self._pool.shutdown(wait=True)
        self._zip.__exit__(None, None, None)
        self._list.close()

    def _picture(self, item: Item | None) -> bytes | None:
        """An item's finished picture; None where it has none, or none that is whole."""
        output = item.job.output if item else None
        if output is None:
            return None
        try:
            data = self._objects.get(output.key)
        except ObjectMissingError:
            return None
        return data if hashlib.sha256(data).hexdigest() == output.sha256 else None

    def _add(self, index: int, item: Item | None, picture: bytes | None) -> None:
        job = item.job if item else None
        custom_id = job.custom_id if job else self._names.of(index)
        stem, name = self._files.stem(custom_id, index), None
        if job and job.output and picture is not None:
            name = f"{stem}.{_EXTENSIONS.get(job.output.content_type, 'bin')}"
            self._zip.add(name, job.completed_at or 0.0, picture)
        status = job.status if job else self._batch.status_of_unmade if index >= self._batch.loaded else None
        line = json.dumps(_line(index, custom_id, status, job, name), separators=(",", ":")).encode() + b"\n"
        self._list.write(line)
        self._list_crc = zlib.crc32(line, self._list_crc)

    def _publish(self) -> None:
        size = self._list.tell()
        self._list.seek(0)
        self._zip.add_from(LIST_NAME, self._batch.completed_at or 0.0, size, self._list_crc, self._lines())
        self._zip.finish()
        self._archives.renew(self.claim, self._done)  # what is another's by now need not be stored
        self._writer.close()
        try:
            self._archives.finish(self.claim, self._zip.size, self._done)
        except ArchiveLostError:
            with suppress(StorageUnavailable):
                self._objects.delete(self.claim.key)
            raise
        self._close()
        log.info(
            "batch %s: its archive has %d files, %d bytes, built in %.1f s",
            self._batch.uid,
            self._zip.entries,
            self._zip.size,
            time.monotonic() - self._started,
        )

    def _lines(self) -> Iterator[bytes]:
        while chunk := self._list.read(_CHUNK):
            yield chunk
            self._hold(self._done)


def _line(
    index: int, custom_id: str | None, status: Status | None, job: Job | None, name: str | None
) -> dict[str, Any]:
    """An item in the archive's own list."""
    output = job.output if job else None
    return {
        "index": index,
        "custom_id": custom_id,
        "id": job.id if job else None,
        "status": status,
        "file": name,
        "sha256": output.sha256 if output and name else None,
        "width": output.width if output and name else None,
        "height": output.height if output and name else None,
        "error": asdict(job.error) if job and job.error else None,
    }
