"""Deleting what a purged job leaves in the object store."""

from shared.jobs.results import Purged
from shared.objects import ObjectStore


def erase(objects: ObjectStore, purged: Purged) -> None:
    """Delete every object of a purged job. May be repeated.

    Raises:
        StorageUnavailable: what is left behind no record names: a chore sweeps it.
    """
    for key in purged.keys:
        objects.delete(key)
    for prefix in purged.prefixes:
        for stat in objects.list(prefix):
            objects.delete(stat.key)
