"""Fault 3: a paint worker is told to leave. It puts its job back uncharged and goes at once."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Self

import pytest

from client import Impasto, Job
from deploy.ports import free_port
from shared.jobs.record import Job as Record
from shared.jobs.record import Queue, Stage, Status
from tests.integration.service.support import LONG, SECONDS, picture, wait_until_painting
from tests.support.house import PATIENT, QUICK
from tests.support.rig import ROOT, SHORT_LEASE, SMALL, SUCCESSOR, Process, Rig
from tests.support.s3 import S3Server
from tests.support.s3_faults import Holding, puts
from tests.support.waiting import wait_for

pytestmark = pytest.mark.fault(3)

#: What stands for `worker.tries.LEAVING_SECONDS`, so that a test need not wait that long.
LEAVING_SECONDS = 3.0
#: On top of what is bounded: Celery's own way out, Python's, and a loaded machine.
MARGIN_SECONDS = 10


def leave(worker: Process) -> float:
    """Tell a worker to leave; returns the seconds that it took."""
    told_at = time.monotonic()
    worker.terminate()
    assert worker.wait() == 0
    return time.monotonic() - told_at


def resumed_at(worker: Process, job: Record) -> int:
    """The step from which a worker went on with a job."""
    found = re.search(rf"job {job.id}: going on from step (\d+)", worker.log.read_text())
    assert found is not None, "the job was begun anew"
    return int(found[1])


@pytest.mark.parametrize("size", [64, 512])
def test_a_worker_told_to_leave_goes_within_a_step_and_an_upload(rig: Rig, size: int) -> None:
    worker = rig.worker(Queue.PAINT)
    job = rig.submit(spec={"size": size, "steps": 5000, "pyramid": 1})
    before = rig.painting(job, step=3, seconds=120)
    seconds = leave(worker)
    print(f"left a painting of {size} px within {seconds:.2f} s of SIGTERM")
    back = rig.now(job)
    assert (back.status, back.stage, back.attempt) == (Status.QUEUED, Stage.WAITING, 0)
    assert back.checkpoint is not None
    assert before.progress is not None
    # A large picture's accepted evaluation is made once more (`worker.engine.resumption`).
    assert back.checkpoint.step >= before.progress.step - 1
    assert rig.client.llen(Queue.PAINT) >= 1, "the bell was rung"
    assert seconds < MARGIN_SECONDS
    rig.audit()


def test_an_update_hands_a_job_from_the_old_worker_to_the_new_one(rig: Rig) -> None:
    workers = [rig.worker(Queue.PAINT) for _ in range(2)]
    job = rig.submit(spec={**SMALL, "steps": 800})
    painter = rig.painting(job, step=50).worker or ""
    # Both are there beforehand: to start one may take as long as the job.
    (old,) = (worker for worker in workers if painter.endswith(f":{worker.pid}"))
    (new,) = (worker for worker in workers if worker is not old)
    leave(old)
    done = rig.ended(job)
    assert (done.status, done.attempt, done.attempt_errors) == (Status.SUCCEEDED, 1, ())
    assert resumed_at(new, job) >= 50
    rig.has_its_one_result(done)
    rig.audit()


def test_a_short_job_is_finished_or_put_back_but_charged_once(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT)
    jobs = [rig.submit(hue, spec={**SMALL, "steps": 5}) for hue in range(6)]
    wait_for(lambda: rig.now(jobs[0]).status is not Status.QUEUED, "the first to be begun")
    leave(worker)
    assert {rig.now(job).status for job in jobs} <= {Status.SUCCEEDED, Status.QUEUED}
    rig.worker(Queue.PAINT)
    for job in jobs:
        done = rig.ended(job)
        assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
        rig.has_its_one_result(done)
    rig.audit()


def test_one_that_does_not_leave_within_the_grace_is_killed_and_its_lease_heals(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT, **SHORT_LEASE)
    job = rig.submit(spec={**SMALL, "steps": 2000})
    rig.painting(job, step=100)
    wait_for(lambda: rig.now(job).checkpoint, "a checkpoint")
    worker.freeze()  # as a step does that outlasts the grace
    assert rig.now(job).stage is Stage.PAINTING
    worker.terminate()
    time.sleep(0.5)
    assert worker.status is None
    worker.kill()
    second = rig.worker(Queue.PAINT, **SUCCESSOR)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    assert [error.code for error in done.attempt_errors] == ["worker_lost"]
    assert resumed_at(second, job) > 0
    rig.has_its_one_result(done)
    rig.audit()


@pytest.mark.parametrize("folder", ["checkpoints/", "outputs/"])
def test_a_store_that_hangs_does_not_keep_a_worker_from_leaving(
    tmp_path: Path, s3: S3Server, folder: str
) -> None:
    with Rig(tmp_path, s3=s3) as rig:
        hanging = Holding(puts(folder))
        rig.s3_proxy.rule = hanging
        worker = rig.worker(Queue.PAINT, altered=[f"leaving={LEAVING_SECONDS}"])
        job = rig.submit(spec={**SMALL, "steps": 5000 if folder == "checkpoints/" else 10})
        assert hanging.held.wait(60)
        assert leave(worker) < LEAVING_SECONDS + MARGIN_SECONDS
        back = rig.now(job)
        assert (back.status, back.stage, back.attempt) == (Status.QUEUED, Stage.WAITING, 0)
        rig.audit()


def test_ctrl_c_of_the_one_machine_runner_puts_the_job_back_and_the_next_run_goes_on(tmp_path: Path) -> None:
    port = free_port()
    with Runner(tmp_path, port) as run, Impasto(run.url) as impasto:
        job = impasto.submit(picture(), [picture(hue=60)], spec={**LONG, "steps": 2500})
        before = wait_until_painting(impasto, job.id)
        wait_for(lambda: step_of(impasto, job) > 20, "some steps", SECONDS)
        assert before.attempt == 1
        seconds = run.interrupt()
        print(f"the house left within {seconds:.1f} s of Ctrl-C")
        assert f"job {job.id}: put back at step" in run.log.read_text()
        assert "killing it" not in run.log.read_text()
    with Runner(tmp_path, port) as run, Impasto(run.url) as impasto:
        wait_for(lambda: f"job {job.id}: going on from step" in run.log.read_text(), "it to go on", SECONDS)
        assert impasto.get(job.id).attempt == 1
        impasto.cancel(job.id)
        run.interrupt()


def step_of(impasto: Impasto, job: Job) -> int:
    progress = impasto.get(job.id).progress
    return progress.step if progress else 0


class Runner:
    """`make run` as a terminal has it: a process group of its own, in which Ctrl-C reaches everybody."""

    def __init__(self, folder: Path, port: int) -> None:
        self.log = folder / "run.log"
        self.url = f"http://127.0.0.1:{port}"
        others = {name: value for name, value in os.environ.items() if not name.startswith("IMPASTO_")}
        own = {
            **QUICK,
            **PATIENT,
            "IMPASTO_LEASE_SECONDS": "30",
            "IMPASTO_REDIS_TIMEOUT": "10",
            "IMPASTO_API_PORT": str(port),
            "IMPASTO_DATA_DIR": str(folder / "data"),
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "deploy.local"],
                cwd=ROOT,
                env={**others, **own},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                process_group=0,
            )

    def __enter__(self) -> Self:
        try:
            wait_for(lambda: "Impasto is ready" in self.log.read_text(), "the house to be ready", 120)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self._process.poll() is None:
            self._process.terminate()
            self._process.wait(60)

    def interrupt(self) -> float:
        """Ctrl-C; returns the seconds until everything is gone."""
        told_at = time.monotonic()
        os.killpg(self._process.pid, signal.SIGINT)
        assert self._process.wait(60) == 0
        return time.monotonic() - told_at
