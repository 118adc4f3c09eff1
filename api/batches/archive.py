"""The archive of a batch: built by a chore once somebody asks for it, then sent, or where it is."""

import io
from collections.abc import Iterator

from flask import Blueprint, Response, g

from api import conditions
from api.batches.views import ArchiveView
from api.replies import reply
from api.services import services
from shared.errors import Conflict
from shared.jobs.archives import CONTENT_TYPE, Archive
from shared.jobs.batch_record import BatchStatus
from shared.objects import ObjectMissingError, ObjectStore

blueprint = Blueprint("archives", __name__)

#: Items that a builder adds in a second, about: for `Retry-After`.
_PACE = 200
_SOONEST, _LATEST = 1, 30


@blueprint.get("/v1/batches/<batch_id>/archive.zip")
def archive(batch_id: str) -> Response:
    """The archive, once it is built: a redirect to where it is kept, or the file with local storage."""
    found = services()
    batch = found.batches.get(g.owner, batch_id)
    if batch.status in (BatchStatus.VALIDATING, BatchStatus.PROCESSING):
        raise Conflict(f"The batch is {batch.status}; there is an archive of it once it has ended.")
    wanted = found.archives.want(batch)
    if wanted.key is not None:
        stat = found.objects.stat(wanted.key)
        if stat is None or stat.size != wanted.size:
            wanted = found.archives.want_anew(batch, wanted.key)
    if wanted.key is None:
        return _being_built(wanted)
    filename = f"{batch.id}.zip"
    url = found.objects.url(
        wanted.key, seconds=found.settings.presign_seconds, filename=filename, content_type=CONTENT_TYPE
    )
    if url:
        return Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
    return _file(found.objects, wanted.key, wanted.size, filename)


def _being_built(wanted: Archive) -> Response:
    response = reply(ArchiveView(done=wanted.done, total=wanted.total), 202)
    seconds = round((wanted.total - wanted.done) / _PACE)
    response.headers["Retry-After"] = str(min(max(seconds, _SOONEST), _LATEST))
    response.headers["Cache-Control"] = "no-store"
    return response


def _file(objects: ObjectStore, key: str, size: int, filename: str) -> Response:
    response = Response(_Bytes(objects, key), content_type=CONTENT_TYPE, direct_passthrough=True)
    response.content_length = size
    response.headers["Content-Disposition"] = f'attachment; filename="{filename}"'
    response.headers["Cache-Control"] = "private, no-cache"
    # Its key names the build, and is never used again.
    response.set_etag(key.rpartition("/")[2].removesuffix(".zip"))
    return conditions.apply(response, size)


class _Bytes(Iterator[bytes]):
    """An object's bytes from where they are sought: Werkzeug takes ranges from what can seek."""

    def __init__(self, objects: ObjectStore, key: str) -> None:
        self._objects, self._key, self._start = objects, key, 0
        self._chunks: Iterator[bytes] | None = None

    def __next__(self) -> bytes:
        if self._chunks is None:
            self._chunks = self._objects.read(self._key, self._start)
        try:
            return next(self._chunks)
        except ObjectMissingError:  # it went while it was read: the answer is cut short
            raise StopIteration from None

    def seekable(self) -> bool:
        return True

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        if whence != io.SEEK_SET or self._chunks is not None:
            raise io.UnsupportedOperation("only once, from the beginning")
        self._start = place
        return place

    def tell(self) -> int:
        return self._start

    def close(self) -> None:
        close = getattr(self._chunks, "close", None)
        if close:
            close()
