"""A worker that has grown too large leaves between two jobs; nothing is lost by it."""

from deploy.children import Child
from shared.jobs.record import Queue, Status
from shared.jobs.workers import Workers
from tests.support.rig import Rig
from tests.support.waiting import wait_for
from worker.leaving import RECYCLED_EXIT


def test_a_worker_past_its_limit_leaves_after_its_job_and_the_next_one_goes_on(rig: Rig) -> None:
    # Given two jobs that wait, and a worker that holds more than it may as soon as it has begun
    jobs = [rig.submit(hue=hue) for hue in (0, 30)]
    worker = rig.worker(Queue.PAINT, wait=False, recycle_bytes=1, batch=1)
    assert worker.wait(90) == RECYCLED_EXIT
    assert worker.said("leaving with status 0: resident set of")
    first, second = (rig.now(job) for job in jobs)
    assert (first.status, second.status) == (Status.SUCCEEDED, Status.QUEUED)
    assert second.attempt == 0
    assert Workers(rig.client).live() == []
    rig.worker(Queue.PAINT)
    for job in jobs:
        done = rig.ended(job)
        assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
        rig.has_its_one_result(done)
    rig.audit()


def test_workers_whose_memory_suffices_stay_and_say_what_they_hold(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT)
    for hue in (0, 30):
        assert rig.ended(rig.submit(hue=hue)).status is Status.SUCCEEDED
    assert worker.status is None
    (advert,) = Workers(rig.client).live()
    assert 50e6 < advert.resident_bytes < 5e9


def test_the_runner_starts_a_worker_again_that_left_for_its_size(rig: Rig) -> None:
    first, second = rig.submit(hue=0), rig.submit(hue=30)
    environ = {**rig.environ, "IMPASTO_RECYCLE_BYTES": "1", "IMPASTO_BATCH": "1"}
    child = Child("paint", rig.worker_command(Queue.PAINT), environ)
    try:

        def both_done() -> bool:
            child.look_after()
            return all(rig.now(job).status is Status.SUCCEEDED for job in (first, second))

        wait_for(both_done, "both jobs", 120)
        assert child.restarts >= 1
    finally:
        child.terminate()
        child.wait_or_kill(0)
    assert [rig.now(job).attempt for job in (first, second)] == [1, 1]
    rig.audit()
