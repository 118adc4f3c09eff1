"""What crashes leave in the object store, and the chore that takes it away without waiting an hour."""

from unittest import mock

from tests.support.rig import Rig
from worker.chores import tidy


def sweep(rig: Rig) -> int:
    """Let a chore take away what no record names; returns how many results that were."""
    before = _outputs(rig)
    # Some stores round the time of an object up, to the next second.
    with mock.patch.object(tidy, "ORPHAN_SECONDS", -2.0):
        chore = tidy.Tidy(rig.store, rig.objects, rig.config.retention_seconds)
        while chore.work():
            pass
    return before - _outputs(rig)


def _outputs(rig: Rig) -> int:
    return sum(1 for _ in rig.objects.list("outputs/"))
