"""Fault 1: the paint worker is killed."""

import pytest

from shared.jobs.record import Queue, Status
from tests.support.rig import SMALL, Rig


@pytest.mark.fault(1)
def test_a_killed_painting_is_taken_over_and_has_one_result(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT)
    job = rig.submit(spec={**SMALL, "steps": 300})
    rig.painting(job, step=20)
    worker.kill()
    rig.worker(Queue.PAINT)
    done = rig.ended(job)
    assert done.status is Status.SUCCEEDED
    assert done.attempt == 2
    rig.has_its_one_result(done)
    rig.audit()
