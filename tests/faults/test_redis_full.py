"""Fault 8: Redis is at its limit of memory. New jobs are refused whole, those it has are worked off."""

import httpx
import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.api import BODY
from tests.support.rig import SHORT_LEASE, SMALL, Rig
from tests.support.waiting import wait_for

FULL, FREE = "1mb", "0"


@pytest.mark.fault(8)
def test_a_full_server_refuses_new_jobs_and_works_off_those_it_has(rig: Rig) -> None:
    Workers(rig.client).advertise(WorkerInfo("other@host:1", Queue.PAINT, ("compact",), "cpu"), 600)
    _, url = rig.api()
    first = rig.worker(Queue.PAINT, **SHORT_LEASE)
    running = rig.submit(spec={**SMALL, "steps": 600})
    waiting = [rig.submit(hue) for hue in range(1, 4)]
    rig.painting(running)

    rig.client.config_set("maxmemory", FULL)
    rig.client.delete(Queue.PAINT)  # whatever bell is heard from now on was rung by a full server
    headers = {"Idempotency-Key": "once"}
    with httpx.Client(base_url=url, timeout=20) as http:
        refused = http.post("/v1/jobs", json=BODY, headers=headers)
        assert (refused.status_code, refused.json()["code"]) == (503, "store_unavailable")
        assert int(refused.headers["Retry-After"]) > 0
        assert http.get("/v1/jobs").status_code == 200
        assert len(rig.audit().records) == 4, "no half job"

        # Bells ring, and a worker that starts now consumes: nothing that frees memory needs any.
        assert rig.ended(running).status is Status.SUCCEEDED
        first.kill()
        second = rig.worker(Queue.PAINT, **SHORT_LEASE)
        for job in waiting:
            done = rig.ended(job)
            assert done.status is Status.SUCCEEDED
            rig.has_its_one_result(done)
        assert second.status is None
        assert "Traceback" not in second.log.read_text()

        rig.client.config_set("maxmemory", FREE)
        accepted = http.post("/v1/jobs", json=BODY, headers=headers)
        assert accepted.status_code == 202
        assert len(http.get("/v1/jobs").json()["jobs"]) == 1
    assert len(rig.audit().records) == 5


@pytest.mark.fault(8)
def test_a_full_server_is_emptied_by_the_chores(rig: Rig) -> None:
    job = rig.submit()
    rig.store.cancel(job.owner, job.id)
    rig.client.zadd(Key.ENDED, {job.uid: 0})  # its retention is over
    rig.client.config_set("maxmemory", FULL)
    rig.worker(Queue.CHORES)
    wait_for(lambda: rig.store.by_uid(job.uid) is None, "the job to be purged")
