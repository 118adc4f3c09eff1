"""Fault 21: a cancel while a job waits, while it runs, and at the very moment of its success."""

import threading
import time

import pytest
import torch

from shared.errors import Conflict
from shared.jobs.record import Job, Queue, Status
from tests.support.jobs import UNSTORED, claim_paint, new_job
from tests.support.rig import SMALL, Rig
from tests.support.waiting import wait_for
from worker.engine import Engine
from worker.paint import Painter

pytestmark = pytest.mark.fault(21)

LONG = {**SMALL, "steps": 5000}
RACES = 40
#: A cancel acts within a second; the rest is for a loaded machine.
SECONDS = 1 + 5


def leaves_no_trace(rig: Rig, job: Job) -> None:
    """Assert that a canceled job has no result, and that nothing else of it stays."""
    now = rig.now(job)
    assert (now.status, now.output, now.error) == (Status.CANCELED, None, None)
    for folder in ("outputs", "checkpoints", "previews"):
        wait_for(lambda at=f"{folder}/{job.uid}": not list(rig.objects.list(at)), f"no {folder} to be left")


def seconds_to_cancel(rig: Rig, job: Job) -> float:
    """Cancel a job and wait until it is; returns how long that took."""
    asked_at = time.monotonic()
    rig.store.cancel(job.owner, job.id)
    assert rig.ended(job).status is Status.CANCELED
    return time.monotonic() - asked_at


@pytest.mark.parametrize("stage", ["fetching", "waiting", "in back-off"])
def test_one_that_waits_is_canceled_at_once_and_never_painted(rig: Rig, stage: str) -> None:
    job = rig.store.submit(new_job()).job if stage == "fetching" else rig.submit()
    if stage == "in back-off":
        rig.store.fail(claim_paint(rig.store, worker="lost"), UNSTORED)
    assert rig.store.cancel(job.owner, job.id).status is Status.CANCELED
    worker = rig.worker(Queue.PAINT)
    assert rig.ended(rig.submit(hue=1)).status is Status.SUCCEEDED
    assert not worker.said(f"job {job.id}:")
    leaves_no_trace(rig, job)
    rig.audit()


def test_one_that_is_painted_ends_within_a_second(rig: Rig) -> None:
    rig.worker(Queue.PAINT)
    job = rig.submit(spec=LONG)
    rig.painting(job, step=20)
    seconds = seconds_to_cancel(rig, job)
    print(f"a painting of 64 px was canceled within {seconds:.2f} s")
    assert seconds < SECONDS
    leaves_no_trace(rig, job)
    rig.audit()


def test_one_of_large_evaluations_ends_with_the_one_under_way(rig: Rig) -> None:
    rig.worker(Queue.PAINT)
    job = rig.submit(spec={"size": 1024, "steps": 200, "pyramid": 1})
    first = rig.painting(job, step=2, seconds=120)
    seen_at = time.monotonic()
    assert first.progress is not None
    later = rig.painting(job, step=first.progress.step + 3, seconds=120)
    assert later.progress is not None
    evaluation = (time.monotonic() - seen_at) / (later.progress.step - first.progress.step)
    seconds = seconds_to_cancel(rig, job)
    print(f"a painting of 1024 px, {evaluation:.2f} s an evaluation, was canceled within {seconds:.2f} s")
    assert seconds < SECONDS + 2 * evaluation
    leaves_no_trace(rig, job)
    rig.audit()


def test_one_of_a_batch_ends_alone(rig: Rig) -> None:
    jobs = [rig.submit(hue, spec={**SMALL, "steps": 400}) for hue in range(3)]
    rig.worker(Queue.PAINT, batch=3)
    rig.painting(jobs[1], step=5)
    seconds = seconds_to_cancel(rig, jobs[1])
    print(f"one of a batch of three was canceled within {seconds:.2f} s")
    canceled_at = rig.now(jobs[1]).completed_at
    assert canceled_at is not None
    for job in (jobs[0], jobs[2]):
        done = rig.ended(job)
        assert done.completed_at is not None
        assert done.completed_at > canceled_at
        assert (done.status, done.batch) == (Status.SUCCEEDED, 3)
        rig.has_its_one_result(done)
    leaves_no_trace(rig, jobs[1])
    rig.audit()


def test_a_cancel_at_the_moment_of_success_has_one_outcome(rig: Rig) -> None:
    """The moment is searched for: earlier after a success, later after a cancel."""
    torch.set_num_threads(1)
    painter = Painter(rig.store, rig.objects, Engine(), rig.config, "painter", threading.Event())
    rig.submit()
    painter.work()
    outcomes = {Status.SUCCEEDED: 0, Status.CANCELED: 0}
    delay, change = 0.1, 0.05
    for hue in range(RACES):
        job = rig.submit(hue, spec={**SMALL, "steps": 4})
        racing = threading.Thread(target=painter.work)
        racing.start()
        time.sleep(max(delay, 0))
        refused = False
        try:
            rig.store.cancel(job.owner, job.id)
        except Conflict:
            refused = True
        racing.join()
        ended = rig.now(job)
        outcomes[ended.status] += 1
        if ended.status is Status.SUCCEEDED:
            rig.has_its_one_result(ended)
            delay -= change
        else:
            assert not refused
            leaves_no_trace(rig, job)
            delay += change
        change = max(change * 0.8, 0.002)
        rig.audit()
    print(f"{RACES} races: {outcomes}")
    assert sum(outcomes.values()) == RACES
