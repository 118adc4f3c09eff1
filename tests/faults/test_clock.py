"""Fault 19: workers whose clocks are ten minutes off. Only Redis' clock counts, so nothing shows."""

import re
import time

import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue, Status
from tests.integration.service.support import picture
from tests.support.rig import SHORT_LEASE, SMALL, SUCCESSOR, Process, Rig
from tests.support.web import Web

pytestmark = pytest.mark.fault(19)
TEN_MINUTES = 600
#: How a worker is altered.
AHEAD, BEHIND = f"clock={TEN_MINUTES}", f"clock={-TEN_MINUTES}"
#: Painted for some seconds.
LONG = {**SMALL, "steps": 300}
ENDLESS = {**SMALL, "steps": 20_000}


def server_time(rig: Rig) -> float:
    """Seconds since the epoch, as Redis has it."""
    seconds, microseconds = rig.client.time()
    return float(seconds + microseconds / 1e6)


def once(rig: Rig, job: Job, since: float) -> None:
    """Assert that a job succeeded in its first attempt, at times that are Redis' own."""
    assert (job.status, job.attempt, job.attempt_errors) == (Status.SUCCEEDED, 1, ())
    assert job.started_at is not None
    assert job.completed_at is not None
    assert since <= job.created_at <= job.started_at <= job.completed_at <= server_time(rig)
    rig.has_its_one_result(job)


def seconds_off(process: Process) -> float:
    """How far the times in a process' log are from this machine's."""
    stamp = re.search(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d),\d+ ", process.log.read_text(), re.MULTILINE)
    assert stamp, "it has logged nothing"
    return time.mktime(time.strptime(stamp[1], "%Y-%m-%d %H:%M:%S")) - time.time()


def test_jobs_go_once_through_workers_whose_clocks_differ_by_twenty_minutes(rig: Rig, web: Web) -> None:
    since = server_time(rig)
    skewed = {
        rig.worker(Queue.INTAKE, altered=[AHEAD]): TEN_MINUTES,
        rig.worker(Queue.PAINT, altered=[AHEAD], batch=1): TEN_MINUTES,
        rig.worker(Queue.PAINT, altered=[BEHIND], batch=1): -TEN_MINUTES,
    }
    rig.worker(Queue.CHORES, altered=[BEHIND])
    style = web.file("/style.png", picture(hue=200))
    paths = [f"/{hue}.png" for hue in range(3)]
    urls = [web.file(path, picture(hue=hue)) for hue, path in enumerate(paths)]
    jobs = [rig.submit_urls(url, style, spec=LONG) for url in urls]
    for job in jobs:
        once(rig, rig.ended(job), since)
    assert sorted(seen.path for seen in web.seen if seen.path != "/style.png") == paths
    for process, off in skewed.items():
        assert seconds_off(process) == pytest.approx(off, abs=300)
    rig.audit()


@pytest.mark.parametrize("off", [AHEAD, BEHIND])
def test_a_skewed_worker_ends_what_is_overdue_and_nothing_else(rig: Rig, off: str) -> None:
    rig.worker(Queue.PAINT, altered=[off], batch=1)
    painted = rig.submit(spec=ENDLESS, deadline_seconds=8, priority=9)
    queued = rig.submit(hue=1, deadline_seconds=4)
    patient = rig.submit(hue=2, deadline_seconds=3600)
    for job, status in ((queued, Status.EXPIRED), (painted, Status.CANCELED)):
        ended = rig.ended(job)
        assert ended.error is not None
        assert (ended.status, ended.error.code) == (status, "deadline_exceeded")
        assert ended.completed_at is not None
        assert ended.completed_at >= ended.deadline_at
        assert ended.attempt_errors == ()
    assert rig.ended(patient).status is Status.SUCCEEDED
    rig.audit()


def test_the_job_of_a_skewed_worker_that_dies_waits_for_its_lease_to_end(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT, altered=[BEHIND], **SHORT_LEASE)
    job = rig.submit(spec={**SMALL, "steps": 800})
    rig.painting(job, step=20)
    worker.kill()
    lease_ends = rig.client.zscore(Key.LEASES, job.uid)
    rig.worker(Queue.PAINT, altered=[AHEAD], **SUCCESSOR)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    (error,) = done.attempt_errors
    assert error.code == "worker_lost"
    assert error.at is not None
    assert error.at >= lease_ends
    rig.has_its_one_result(done)
    rig.audit()
