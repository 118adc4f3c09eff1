"""Faults 15, 16 and 23: memory runs out, an evaluation is no number, the device fails for good.

On a CPU the last is raised in CUDA's words (`tests.support.spoilt_worker`); on a GPU all are really caused.
"""

import re
import resource
from pathlib import Path

import pytest
import torch

from shared.jobs.record import Queue, Status
from tests.support.rig import SMALL, Process, Rig
from worker.leaving import DEVICE_LOST_EXIT

LONG = {**SMALL, "steps": 800}
#: For a job that fails, and is not to end before.
ENDLESS = {**SMALL, "steps": 5000}
GPU = (
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
)


def attempts(process: Process) -> int:
    """How many attempts a paint worker has begun."""
    return len(re.findall(r"painting, attempt", process.log.read_text()))


def held(worker: Process, what: str) -> int:
    """Bytes that a process has, by a name of /proc/<pid>/status."""
    found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{worker.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def next_job_passes(rig: Rig, worker: Process) -> None:
    rig.fault(None)
    done = rig.ended(rig.submit(hue=200))
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert worker.status is None
    rig.has_its_one_result(done)
    rig.audit()


@pytest.mark.fault(16)
def test_evaluations_that_are_no_numbers_end_their_job_and_the_next_one_passes(rig: Rig) -> None:
    worker = rig.spoilt_painter()
    job = rig.submit(spec=ENDLESS)
    rig.painting(job, step=5)
    rig.fault("nan")
    done = rig.ended(job)
    assert done.status is Status.FAILED
    assert done.error is not None
    assert (done.error.code, done.attempt) == ("painting_diverged", 1)
    assert rig.outputs(job) == {}
    next_job_passes(rig, worker)


@pytest.mark.fault(16)
def test_one_evaluation_that_is_no_number_is_undone(rig: Rig) -> None:
    worker = rig.spoilt_painter()
    job = rig.submit(spec=LONG)
    rig.painting(job, step=5)
    rig.fault("nan once")
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert done.loss["total"] < 1e3
    next_job_passes(rig, worker)


@pytest.mark.fault(15)
def test_memory_that_runs_out_once_costs_one_more_run_in_less(rig: Rig) -> None:
    worker = rig.spoilt_painter()
    job = rig.submit(spec=LONG)
    rig.painting(job, step=5)
    rig.fault("memory once")
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert worker.said("painting once more")
    rig.has_its_one_result(done)
    next_job_passes(rig, worker)


@pytest.mark.fault(15)
def test_memory_that_runs_out_again_fails_the_job_and_the_next_one_passes(rig: Rig) -> None:
    worker = rig.spoilt_painter()
    job = rig.submit(spec=ENDLESS)
    rig.painting(job, step=5)
    rig.fault("memory")
    done = rig.ended(job)
    assert done.status is Status.FAILED
    assert done.error is not None
    assert (done.error.code, done.error.pointer, done.attempt) == ("out_of_memory", "/spec/size", 1)
    assert rig.outputs(job) == {}
    next_job_passes(rig, worker)


@pytest.mark.fault(15)
def test_a_job_that_the_limit_of_its_worker_has_no_room_for_fails_before_it_is_begun(rig: Rig) -> None:
    # Given a worker that may take 160 MB more than it holds at work, and a job that needs some hundreds
    worker = rig.worker(Queue.PAINT)
    assert rig.ended(rig.submit()).status is Status.SUCCEEDED
    limit = held(worker, "VmData") + 160 * 2**20
    resource.prlimit(worker.pid, resource.RLIMIT_DATA, (limit, resource.RLIM_INFINITY))
    done = rig.ended(rig.submit(spec={"size": 1536, "steps": 4, "pyramid": 1}))
    assert done.status is Status.FAILED
    assert done.error is not None
    assert (done.error.code, done.attempt) == ("out_of_memory", 1)
    # Beyond the limit libraries of all kinds are refused what they ask for, and not each of them looks.
    assert not worker.said("painting once more")
    next_job_passes(rig, worker)


@pytest.mark.fault(15)
def test_a_job_that_no_plan_fits_into_the_container_fails_before_the_kernel_ends_the_worker(
    rig: Rig, tmp_path: Path
) -> None:
    group = tmp_path / "group"
    group.mkdir()
    facts = {
        "memory.max": str(400 * 2**20),
        "memory.current": str(300 * 2**20),
        "memory.stat": "inactive_file 0",
    }
    for name, text in facts.items():
        (group / name).write_text(text)
    worker = rig.spoilt_painter(test_control_group=group)
    done = rig.ended(rig.submit(spec={"size": 768, "steps": 4, "pyramid": 1}))
    assert done.status is Status.FAILED
    assert done.error is not None
    assert (done.error.code, done.attempt) == ("out_of_memory", 1)
    assert not worker.said("painting once more")
    next_job_passes(rig, worker)


@pytest.mark.fault(23)
def test_a_worker_whose_device_has_failed_leaves_and_another_takes_its_job_over(rig: Rig) -> None:
    worker = rig.spoilt_painter()
    job = rig.submit(spec=LONG)
    begun = rig.painting(job, step=20)
    rig.fault("device")
    assert worker.wait() == DEVICE_LOST_EXIT
    assert attempts(worker) == 1
    back = rig.now(job)
    assert (back.status, back.attempt) == (Status.QUEUED, begun.attempt)
    assert [error.code for error in back.attempt_errors] == ["device_failed"]
    assert "illegal memory access" in back.attempt_errors[0].detail
    rig.worker(Queue.PAINT)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    rig.has_its_one_result(done)
    rig.audit()


@pytest.mark.fault(23)
def test_a_batch_whose_device_has_failed_is_painted_one_by_one_elsewhere(rig: Rig) -> None:
    jobs = [rig.submit(hue=hue, spec={**SMALL, "steps": 400}) for hue in (0, 30, 60)]
    worker = rig.spoilt_painter()
    rig.painting(jobs[0], step=5)
    assert worker.said("painted as one batch with 2 others")
    rig.fault("device")
    assert worker.wait() == DEVICE_LOST_EXIT
    assert attempts(worker) == 3
    other = rig.worker(Queue.PAINT)
    for job in jobs:
        done = rig.ended(job)
        # Lost in company, which costs nobody an attempt.
        assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
        assert [error.code for error in done.attempt_errors] == ["device_failed"]
        rig.has_its_one_result(done)
    assert not other.said("as one batch")
    rig.audit()


@pytest.mark.fault(23)
def test_a_job_that_breaks_every_device_uses_up_its_attempts_and_no_more(tmp_path: Path) -> None:
    with Rig(tmp_path, max_attempts=2) as rig:
        rig.fault("device")
        job = rig.submit()
        for _ in range(2):
            # It may be gone before it was seen to serve.
            assert rig.spoilt_painter(wait=False).wait(90) == DEVICE_LOST_EXIT
        done = rig.ended(job)
        assert done.status is Status.FAILED
        assert done.error is not None
        assert done.error.code == "attempts_exhausted"
        # The device may be a broken one: another such job is not refused for it.
        assert "device_failed" in done.error.detail
        assert rig.submit().status is Status.QUEUED
        assert [error.code for error in done.attempt_errors] == ["device_failed", "device_failed"]
        rig.audit()


@pytest.mark.fault(15)
@GPU[0]
@GPU[1]
def test_a_gpu_that_is_full_fails_the_job_or_paints_it_in_tiles_and_the_next_one_passes(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT, device="cuda", memory=2**50)
    # Given another process that leaves a gigabyte, and a worker that was told to see pictures whole
    free, _ = torch.cuda.mem_get_info()
    hog = torch.empty(free - 2**30, dtype=torch.uint8, device="cuda")
    done = rig.ended(rig.submit(spec={"size": 4096, "steps": 4, "pyramid": 1}))
    assert worker.said("painting once more")
    assert done.attempt == 1
    if done.status is not Status.SUCCEEDED:
        assert done.error is not None
        assert done.error.code == "out_of_memory"
    next_job_passes(rig, worker)
    del hog


@pytest.mark.fault(23)
@GPU[0]
@GPU[1]
def test_a_worker_whose_gpu_met_a_failed_assertion_leaves_and_another_takes_its_job_over(rig: Rig) -> None:
    rig.fault("assert")
    job = rig.submit(spec=LONG)
    worker = rig.spoilt_painter(wait=False, device="cuda")
    assert worker.wait(120) == DEVICE_LOST_EXIT
    back = rig.now(job)
    assert [error.code for error in back.attempt_errors] == ["device_failed"]
    rig.worker(Queue.PAINT, device="cuda")
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    rig.has_its_one_result(done)
    rig.audit()
