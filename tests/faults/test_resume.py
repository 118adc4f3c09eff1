"""Fault 1, further: what a killed painting has lost. It resumes where it nearly was, and ends as well."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.jobs.record import Job, Status
from tests.support.rig import SHORT_LEASE, SUCCESSOR, Process, Rig

#: Long enough that a second, the shortest time between two checkpoints, is less than a tenth of it.
SPEC = {"size": 128, "pyramid": 2, "steps": 1000}


def kept_step(job: Job) -> int:
    return job.checkpoint.step if job.checkpoint else 0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, **SHORT_LEASE) as rig:
        yield rig


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> float:
    """The loss of a painting whose worker nobody kills."""
    with Rig(tmp_path_factory.mktemp("undisturbed")) as rig:
        rig.spoilt_painter()
        done = rig.ended(rig.submit(spec=SPEC), seconds=250)
        assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
        return done.loss["total"]


def killed_at_80_percent(rig: Rig, worker: Process) -> Job:
    """A job whose worker was killed in the midst of it."""
    job = rig.submit(spec=SPEC)
    rig.painting(job, step=int(0.8 * SPEC["steps"]), seconds=200)
    worker.kill()
    return rig.now(job)


@pytest.mark.fault(1)
@pytest.mark.parametrize("form", ["whole", "experience"])
def test_a_job_killed_at_80_percent_resumes_at_70_or_later_and_ends_within_2_percent(
    rig: Rig, form: str, undisturbed: float
) -> None:
    # Given checkpoints as of small pictures, and as of large ones
    options = {"test_whole": 0} if form == "experience" else {}
    job = killed_at_80_percent(rig, rig.spoilt_painter(**options))
    least = 0.7 * SPEC["steps"]
    if kept_step(job) < least:  # a machine that stood still may be why, but not twice
        rig.store.cancel(job.owner, job.id)
        job = killed_at_80_percent(rig, rig.spoilt_painter(**options))
    assert kept_step(job) >= least
    other = rig.spoilt_painter(**options, **SUCCESSOR)
    resumed = rig.ended(job, seconds=200)
    assert (resumed.status, resumed.attempt) == (Status.SUCCEEDED, 2)
    assert other.said("going on from step")
    rig.has_its_one_result(resumed)
    assert resumed.loss["total"] < 1.02 * undisturbed
    rig.audit()
