"""The object store: one small interface, a folder or an S3-compatible server behind it."""

from shared.objects.base import ObjectMissingError, ObjectStat, ObjectStore, ObjectWriter, put_and_read_back
from shared.objects.local import LocalObjects
from shared.settings import Settings

__all__ = [
    "ObjectMissingError",
    "ObjectStat",
    "ObjectStore",
    "ObjectWriter",
    "open_objects",
    "put_and_read_back",
]


def open_objects(settings: Settings) -> ObjectStore:
    """The store that the settings name. Nothing is asked of a server yet: see `ObjectStore.check`."""
    if settings.storage == "local":
        return LocalObjects(settings.objects_dir)
    from shared.objects.s3 import S3Objects  # noqa: PLC0415 - boto3 takes long to import and is not always needed

    return S3Objects(settings)
