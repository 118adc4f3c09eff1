"""Fault 7: Redis freezes in mid-job for longer than the lease. The job is taken up again, and ends once."""

import time
from pathlib import Path

import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from tests.support.proxy import Connection, Fate, Way, pass_on
from tests.support.rig import SHORT_LEASE, SMALL, Rig
from tests.support.waiting import wait_for

TIMEOUT_SECONDS, LEASE_SECONDS = 1.0, 4
LOST = "the lease was lost; nothing was published"


@pytest.mark.fault(7)
def test_a_worker_stops_before_publishing_when_the_server_froze_past_its_lease(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT, **SHORT_LEASE)
    job = rig.submit(spec={**SMALL, "steps": 800})
    rig.painting(job, step=20)
    fence = rig.client.hget(Key.JOB + job.uid, "fence")
    # Just after a round of the reaper: one that is asked for and runs at the thaw, before a beat that was
    # asked for later, takes the lease for one that its worker has renewed since.
    before = rig.client.get(Key.REAPED)
    wait_for(lambda: rig.client.get(Key.REAPED) != before, "a round of the reaper")
    rig.valkey.freeze()
    wait_for(lambda: worker.said(LOST), "the worker to give up")
    assert rig.outputs(job) == {}
    # Whoever asks in vain for half a lease knows that it is Redis.
    time.sleep(SHORT_LEASE["lease_seconds"])
    rig.valkey.thaw()
    done = rig.ended(job)
    # It was Redis that was away, so that no attempt is charged.
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert [error.code for error in done.attempt_errors] == ["store_unavailable"]
    assert done.output is not None
    assert str(fence) not in done.output.key
    rig.has_its_one_result(done)
    tally = rig.store.tally()
    assert (tally.finished, tally.lost) == (1, 1)
    assert "Traceback" not in worker.log.read_text()
    rig.audit()


@pytest.mark.fault(7)
def test_a_result_whose_publishing_was_held_up_past_the_lease_does_not_stay(tmp_path: Path) -> None:
    """The picture is stored, then no script runs until the worker has tried again after its lease."""
    tries = 0

    def holds_the_finish(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
        nonlocal tries
        tries += way is Way.ASKED and b'"evaluations"' in chunk
        return Fate.HOLD if tries and way is Way.ASKED and b"EVAL" in chunk else Fate.PASS

    with Rig(tmp_path, redis_timeout=TIMEOUT_SECONDS, lease_seconds=LEASE_SECONDS) as rig:
        worker = rig.worker(Queue.PAINT)
        rig.redis_proxy.rule = holds_the_finish
        job = rig.submit()
        wait_for(lambda: rig.outputs(job), "the picture to be stored")
        enough = LEASE_SECONDS / TIMEOUT_SECONDS + 2
        wait_for(lambda: tries > enough, "the worker to try on when its lease is over")
        assert rig.store.reap().requeued == 1
        rig.redis_proxy.rule = pass_on
        done = rig.ended(job)
        assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
        rig.has_its_one_result(done)
        assert rig.store.tally().stale >= 1
        assert worker.status is None
        rig.audit()
