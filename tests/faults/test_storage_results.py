"""Results of workers that were lost between storing and finishing: one counts, the others are taken away."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.jobs.record import Job, Queue, Status
from tests.support.proxy import pass_on
from tests.support.rig import SHORT_LEASE, SUCCESSOR, Process, Rig
from tests.support.s3 import S3Server
from tests.support.s3_faults import Holding, gets
from tests.support.waiting import wait_for


@pytest.fixture
def rig(tmp_path: Path, s3: S3Server) -> Iterator[Rig]:
    with Rig(tmp_path, s3=s3, **SHORT_LEASE) as rig:
        yield rig


def held_between_storing_and_finishing(rig: Rig) -> tuple[Process, Job]:
    """A worker that has stored its result, and hangs while it reads it back."""
    hanging = Holding(gets("outputs/"))
    rig.s3_proxy.rule = hanging
    worker = rig.worker(Queue.PAINT)
    job = rig.submit()
    assert hanging.held.wait(60)
    assert len(rig.output_keys(job)) == 1
    return worker, job


@pytest.mark.fault(1)
def test_the_result_of_a_worker_that_was_killed_before_it_finished_is_removed(rig: Rig) -> None:
    worker, job = held_between_storing_and_finishing(rig)
    worker.kill()
    rig.s3_proxy.rule = pass_on
    (lost,) = rig.output_keys(job)
    rig.worker(Queue.PAINT, **SUCCESSOR)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    wait_for(lambda: lost not in rig.output_keys(job), "the lost result to be removed")
    rig.has_its_one_result(done)
    rig.audit()


@pytest.mark.fault(13)
def test_a_worker_that_wakes_after_another_has_finished_takes_its_own_result_away(rig: Rig) -> None:
    worker, job = held_between_storing_and_finishing(rig)
    (stale,) = rig.output_keys(job)
    worker.freeze()
    rig.s3_proxy.rule = pass_on
    second = rig.worker(Queue.PAINT, **SUCCESSOR)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    wait_for(lambda: rig.output_keys(job) == [done.output and done.output.key], "the result to be alone")
    # As if the stale one had come later: what wakes up has to clean up after itself.
    rig.objects.put(stale, b"stale", "image/png")
    worker.thaw()
    wait_for(lambda: stale not in rig.output_keys(job), "the stale result to be taken away")
    second.terminate()
    second.wait()
    again = rig.submit(hue=7)
    assert rig.ended(again).status is Status.SUCCEEDED, "the worker that woke up works on"
    assert rig.now(job) == done
    rig.has_its_one_result(done)
    rig.audit()
