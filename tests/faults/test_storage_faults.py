"""Faults 9 and 10: the object store refuses, hangs, crawls, resets or lies: nothing is painted twice."""

from pathlib import Path

import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue, Stage, Status
from tests.support.proxy import Rule, black_hole, delayed, pass_on
from tests.support.rig import Process, Rig
from tests.support.s3 import S3Server
from tests.support.s3_faults import Answering, Holding, Resetting, gets, puts
from tests.support.waiting import wait_for

#: More often than the S3 client itself repeats a request.
OFTEN = 6


def painted_once(rig: Rig, job: Job, worker: Process) -> Job:
    """Assert that the job succeeds with its one result, and that no evaluation was made twice for it."""
    done = rig.ended(job)
    assert done.status is Status.SUCCEEDED, done.error
    assert (done.attempt, done.attempt_errors) == (1, ())
    assert done.evaluations == done.spec.steps
    assert worker.log.read_text().count(f"job {job.id}: painting, attempt") == 1
    rig.has_its_one_result(done)
    rig.audit()
    return done


@pytest.mark.fault(9)
@pytest.mark.parametrize(("status", "times"), [(500, 3), (503, 3), (503, OFTEN)])
def test_a_result_that_is_refused_for_a_while_costs_no_painting(
    tmp_path: Path, s3: S3Server, status: int, times: int
) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        refusals = Answering(puts("outputs/"), status, times)
        rig.s3_proxy.rule = refusals
        worker = rig.worker(Queue.PAINT)
        painted_once(rig, rig.submit(), worker)
        assert refusals.times == 0


@pytest.mark.fault(9)
def test_pictures_that_cannot_be_read_for_a_while_cost_no_attempt(tmp_path: Path, s3: S3Server) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        refusals = Answering(gets("inputs/"), 503, OFTEN)
        rig.s3_proxy.rule = refusals
        worker = rig.worker(Queue.PAINT)
        painted_once(rig, rig.submit(), worker)
        assert refusals.times == 0


@pytest.mark.fault(10)
def test_an_object_that_is_accepted_and_not_kept_is_stored_again(tmp_path: Path, s3: S3Server) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        rig.s3_proxy.rule = Answering(puts("outputs/"), 200, times=2)
        worker = rig.worker(Queue.PAINT)
        painted_once(rig, rig.submit(), worker)
        assert worker.said("does not hold what it accepted")


@pytest.mark.fault(10)
def test_a_store_that_resets_in_mid_put_costs_no_painting(tmp_path: Path, s3: S3Server) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        resets = Resetting(puts("outputs/"), OFTEN)
        rig.s3_proxy.rule = resets
        worker = rig.worker(Queue.PAINT)
        painted_once(rig, rig.submit(), worker)
        assert resets.times == 0


@pytest.mark.fault(10)
def test_a_store_that_hangs_is_waited_for_with_the_lease_held_and_no_stall_seen(
    tmp_path: Path, s3: S3Server
) -> None:
    with Rig(tmp_path, s3=s3, paint_stall_seconds=5) as rig:
        hanging = Holding(puts("outputs/"))
        rig.s3_proxy.rule = hanging
        worker = rig.worker(Queue.PAINT)
        job = rig.submit()
        assert hanging.held.wait(60)
        begun = rig.client.zscore(Key.LEASES, job.uid)
        longer = 1000 * 6  # than a stall
        wait_for(lambda: rig.client.zscore(Key.LEASES, job.uid) > begun + longer, "the lease to be renewed")
        held = rig.now(job)
        assert (held.status, held.stage, held.output) == (Status.PROCESSING, Stage.STORING, None)
        rig.s3_proxy.rule = pass_on
        painted_once(rig, job, worker)


@pytest.mark.fault(10)
@pytest.mark.parametrize("fault", ["hangs", "hangs with the result", "refuses"])
def test_a_store_that_stays_away_ends_the_job_in_bounded_time_and_never_as_succeeded(
    tmp_path: Path, s3: S3Server, fault: str
) -> None:
    rules: dict[str, Rule] = {
        "hangs": black_hole,
        "hangs with the result": Holding(puts("outputs/")),
        "refuses": Answering(puts("outputs/"), 503, times=1000),
    }
    with Rig(tmp_path, s3=s3, store_seconds=2, max_attempts=2) as rig:
        rig.worker(Queue.PAINT)
        rig.s3_proxy.rule = rules[fault]
        job = rig.submit()
        done = rig.ended(job, 60)
        assert done.status is Status.FAILED
        assert done.error is not None
        assert done.error.code == "attempts_exhausted"
        assert {error.code for error in done.attempt_errors} == {"storage_unavailable"}
        assert done.output is None
        rig.s3_proxy.rule = pass_on
        # What was on its way arrives late, and is taken away again by who sent it.
        wait_for(lambda: not rig.output_keys(job), "late results to be deleted")
        rig.audit()


@pytest.mark.fault(10)
def test_a_store_that_crawls_makes_a_job_slow_and_no_more(tmp_path: Path, s3: S3Server) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        rig.s3_proxy.rule = delayed(0.2, jitter=0.3, seed=10)
        worker = rig.worker(Queue.PAINT)
        painted_once(rig, rig.submit(), worker)


@pytest.mark.fault(10)
def test_a_canceled_job_does_not_wait_for_a_store_that_hangs(tmp_path: Path, s3: S3Server) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        hanging = Holding(puts("outputs/"))
        rig.s3_proxy.rule = hanging
        rig.worker(Queue.PAINT)
        job = rig.submit()
        assert hanging.held.wait(60)
        rig.store.cancel(job.owner, job.id)
        done = rig.ended(job, 15)
        assert (done.status, done.output) == (Status.CANCELED, None)
        rig.s3_proxy.rule = pass_on
        wait_for(lambda: not rig.output_keys(job), "the late result to be deleted")
        rig.audit()
