"""Deadlines: by the body or by `Cancel-After`; what never began expires, what had is canceled."""

import time

import httpx
import pytest

from shared.jobs.record import Queue, Status
from tests.integration.service.support import picture
from tests.support.rig import SMALL, Process, Rig
from tests.support.waiting import wait_for

pytestmark = pytest.mark.fault(21)


def at_work(rig: Rig) -> Process:
    """A paint worker that has shown that it takes jobs."""
    worker = rig.worker(Queue.PAINT)
    assert rig.ended(rig.submit(hue=200)).status is Status.SUCCEEDED
    return worker


def test_one_that_never_began_expires(rig: Rig) -> None:
    rig.worker(Queue.CHORES)  # any worker reaps
    job = rig.submit(deadline_seconds=0.5)
    done = rig.ended(job)
    assert done.status is Status.EXPIRED
    assert done.error is not None
    assert done.error.code == "deadline_exceeded"
    assert done.started_at is None
    rig.audit()


def test_one_that_is_painted_is_canceled_within_a_second_of_its_deadline(rig: Rig) -> None:
    at_work(rig)
    job = rig.submit(spec={**SMALL, "steps": 20_000}, deadline_seconds=12)
    rig.painting(job)
    done = rig.ended(job)
    assert done.status is Status.CANCELED
    assert done.error is not None
    assert done.error.code == "deadline_exceeded"
    assert done.completed_at is not None
    late = done.completed_at - done.deadline_at
    print(f"canceled {late:.2f} s after its deadline")
    assert 0 <= late < 1 + 5
    wait_for(lambda: not list(rig.objects.list("checkpoints/")), "its checkpoints to be removed")
    assert rig.outputs(job) == {}
    rig.audit()


def test_one_that_was_put_back_is_canceled_and_not_expired(rig: Rig) -> None:
    worker = at_work(rig)
    job = rig.submit(spec={**SMALL, "steps": 20_000}, deadline_seconds=25)
    rig.painting(job)
    worker.terminate()
    worker.wait()
    assert rig.now(job).status is Status.QUEUED
    rig.worker(Queue.CHORES)
    done = rig.ended(job)
    assert done.status is Status.CANCELED
    assert done.error is not None
    assert done.error.code == "deadline_exceeded"
    rig.audit()


def test_the_header_ends_a_job_as_the_body_does(rig: Rig) -> None:
    rig.worker(Queue.PAINT)
    rig.worker(Queue.CHORES)
    _, url = rig.api()
    uploads = [
        httpx.post(f"{url}/v1/uploads", files={"file": ("a.png", picture(hue=hue), "image/png")}, timeout=20)
        for hue in (0, 60)
    ]
    names = [upload.json()["image"] for upload in uploads]
    body = {"content": names[0], "styles": names[1:], "spec": {**SMALL, "steps": 20_000}}
    sent_at = time.time()
    answer = httpx.post(f"{url}/v1/jobs", json=body, headers={"Cancel-After": "3s"}, timeout=20)
    assert answer.status_code == 202, answer.text
    job = rig.store.by_uid(answer.json()["id"])
    assert job is not None
    assert job.deadline_at - job.created_at == 3
    assert job.deadline_at < sent_at + 3 + 20
    done = rig.ended(job)
    assert done.status in (Status.CANCELED, Status.EXPIRED)
    assert (done.status is Status.CANCELED) == (done.started_at is not None)
    assert done.error is not None
    assert done.error.code == "deadline_exceeded"
    rig.audit()
