"""Fault 7: Redis freezes in mid-job for longer than the lease. The job is taken up again, and ends once."""

import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from tests.support.proxy import Connection, Fate, Way, black_hole, pass_on
from tests.support.rig import SMALL, Rig
from tests.support.waiting import wait_for

LOST = "the lease was lost; nothing was published"


@pytest.mark.fault(7)
def test_a_worker_stops_before_publishing_when_the_server_froze_past_its_lease(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT)
    job = rig.submit(spec={**SMALL, "steps": 800})
    rig.painting(job, step=20)
    fence = rig.client.hget(Key.JOB + job.uid, "fence")
    rig.valkey.freeze()
    wait_for(lambda: worker.said(LOST), "the worker to give up")
    assert rig.outputs(job) == {}
    rig.valkey.thaw()
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    assert done.output is not None
    assert str(fence) not in done.output.key
    rig.has_its_one_result(done)
    tally = rig.store.tally()
    assert (tally.finished, tally.lost) == (1, 1)
    assert "Traceback" not in worker.log.read_text()
    rig.audit()


@pytest.mark.fault(7)
def test_a_result_whose_publishing_was_held_up_past_the_lease_does_not_stay(rig: Rig) -> None:
    """The picture is stored, then nothing passes until the job has been taken from its worker."""
    worker = rig.worker(Queue.PAINT)

    def holds_the_finish(connection: Connection, way: Way, chunk: bytes) -> Fate:
        if way is Way.ASKED and b'"evaluations"' in chunk:
            rig.redis_proxy.rule = black_hole
            return Fate.CUT
        return pass_on(connection, way, chunk)

    rig.redis_proxy.rule = holds_the_finish
    job = rig.submit()
    wait_for(lambda: rig.outputs(job), "the picture to be stored")
    wait_for(lambda: rig.store.reap().requeued, "the lease to run out")
    rig.redis_proxy.rule = pass_on
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    rig.has_its_one_result(done)
    assert rig.store.tally().stale >= 1
    assert worker.status is None
    rig.audit()
