"""Clean copies into the object store, each once."""

from shared.jobs.pictures import Picture, input_key
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.pictures.sandbox import CleanPicture

CONTENT_TYPE = "image/png"


def keep(
    picture: CleanPicture,
    store: JobStore,
    objects: ObjectStore,
    *,
    source: str = "data:",
    weight: float = 1.0,
) -> Picture:
    """Store a clean copy as `inputs/<sha256>` and say where it is.

    The copy is held for an hour; a job or an upload has to refer to it before that. One that is there
    already is not written again.

    Raises:
        StoreUnavailable: the job store does not answer.
        StorageUnavailable: the object store does not answer.
    """
    key = input_key(picture.sha256)
    store.hold(picture.sha256)
    found = objects.stat(key)
    if found is None or found.size != len(picture.png):
        objects.put(key, picture.png, CONTENT_TYPE)
    return Picture(
        source=source,
        weight=weight,
        key=key,
        sha256=picture.sha256,
        width=picture.width,
        height=picture.height,
    )
