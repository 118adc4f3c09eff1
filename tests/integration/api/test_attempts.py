"""What a caller sees of failed attempts, and of a job that has ended its workers before."""

import httpx
import redis

from shared.errors import FetchUnreachable
from shared.jobs.keys import Key
from shared.jobs.recipes import recipe_of
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from tests.support.api import BODY


def test_failed_attempts_are_shown_without_who_made_them(http: httpx.Client, store: JobStore) -> None:
    job = http.post("/v1/jobs", json=BODY).json()
    assert job["attempt_errors"] == []
    claim = store.claim(Queue.INTAKE, "intake@host-of-ours:7")
    assert claim
    store.fail(claim, FetchUnreachable("The picture's server answered 503.", pointer="/content"))
    (shown,) = http.get(f"/v1/jobs/{job['id']}").json()["attempt_errors"]
    assert shown.pop("at") >= job["created_at"]
    assert shown == {
        "code": "fetch_unreachable",
        "title": FetchUnreachable.title,
        "detail": "The picture's server answered 503.",
        "pointer": "/content",
        "stage": "fetching",
        "attempt": 1,
    }


def test_a_job_in_quarantine_is_refused_with_what_to_change(
    http: httpx.Client, store: JobStore, redis_client: redis.Redis
) -> None:
    first = http.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "first"}).json()
    job = store.get("local", first["id"])
    redis_client.set(f"{Key.QUARANTINE}{recipe_of(job.spec, job.inputs)}", job.uid, px=90_000)
    for refused in (http.post("/v1/jobs", json=BODY), http.put("/v1/jobs/mine", json=BODY)):
        assert refused.status_code == 422
        assert refused.json()["code"] == "quarantined"
        assert "not tried again for 2 min: ask for a smaller `size`" in refused.json()["detail"]
    again = http.post("/v1/jobs", json=BODY, headers={"Idempotency-Key": "first"})
    assert (again.status_code, again.json()["id"]) == (202, first["id"])
    assert http.post("/v1/jobs", json=BODY | {"spec": {"size": 256}}).status_code == 202
    store.cancel("local", first["id"])
    assert http.post(f"/v1/jobs/{first['id']}/retry").json()["code"] == "quarantined"
