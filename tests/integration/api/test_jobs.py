"""Poll, list, cancel, retry, delete."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from api import services
from api.app import create_app
from api.auth import LOCAL_OWNER
from shared.errors import FetchFailed
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import BODY, finish, picture_bytes, start_painting
from tests.support.jobs import new_job

Submit = Callable[..., dict[str, Any]]


def test_a_poll_with_its_etag_is_answered_304_until_something_changes(
    http: httpx.Client, submit: Submit, store: JobStore
) -> None:
    job = submit()
    first = http.get(job["urls"]["self"])
    headers = {"If-None-Match": first.headers["ETag"]}
    unchanged = http.get(job["urls"]["self"], headers=headers)
    assert (unchanged.status_code, unchanged.content) == (304, b"")
    assert unchanged.headers["ETag"] == first.headers["ETag"]
    start_painting(store)
    changed = http.get(job["urls"]["self"], headers=headers)
    assert (changed.status_code, changed.json()["stage"]) == (200, "painting")


def test_a_job_just_submitted_is_remembered_for_its_first_poll(settings: Settings, store: JobStore) -> None:
    app = create_app(settings)
    with app.test_client() as client:
        job = client.post("/v1/jobs", json=BODY).json
    assert job is not None
    assert app.extensions[services.KEY].records.get((LOCAL_OWNER, job["id"])) == store.by_uid(job["id"])


def test_a_first_poll_shows_what_others_have_made_of_the_job(http: httpx.Client, store: JobStore) -> None:
    url = http.put("/v1/jobs/mine", json=BODY).headers["Location"]
    store.cancel(LOCAL_OWNER, "mine")
    store.purge(LOCAL_OWNER, "mine")
    store.submit(new_job(LOCAL_OWNER, id="mine", metadata={"order": "another"}))
    assert http.get(url).json()["metadata"] == {"order": "another"}


def test_a_place_further_ahead_is_a_change(http: httpx.Client, submit: Submit) -> None:
    ahead, job = submit(), submit()
    first = http.get(job["urls"]["self"])
    assert first.json()["queue"] == {"position": 2, "eta_seconds": None}
    http.post(ahead["urls"]["cancel"])
    second = http.get(job["urls"]["self"], headers={"If-None-Match": first.headers["ETag"]})
    assert second.json()["queue"] == {"position": 1, "eta_seconds": None}


def test_a_job_shows_how_far_it_is(http: httpx.Client, submit: Submit, store: JobStore) -> None:
    job = submit()
    start_painting(store)
    answer = http.get(job["urls"]["self"])
    assert answer.json()["status"] == "processing"
    assert answer.json()["progress"]["fraction"] == 0.1
    assert answer.json()["progress"]["loss"] == {"style": 0.5}
    assert answer.json()["queue"] is None
    assert 1 <= int(answer.headers["Retry-After"]) <= 10


def test_an_ended_job_asks_for_no_further_poll(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    data = picture_bytes()
    finish(store, objects, start_painting(store), data, hashlib.sha256(data).hexdigest())
    answer = http.get(job["urls"]["self"])
    assert "Retry-After" not in answer.headers
    done = answer.json()
    assert (done["status"], done["stage"]) == ("succeeded", None)
    assert done["metrics"]["evaluations"] == 100
    assert done["metrics"]["seconds"]["paint"] == 1.5
    assert done["output"]["sha256"] == hashlib.sha256(data).hexdigest()
    assert done["started_at"] <= done["completed_at"] < done["expires_at"]


def test_a_failed_job_is_a_200_with_its_error_inside(
    http: httpx.Client, submit: Submit, store: JobStore
) -> None:
    job = submit()
    claim = store.claim(Queue.INTAKE, "intake")
    assert claim
    store.fail(claim, FetchFailed("example.org answered 404", pointer="/content"))
    answer = http.get(job["urls"]["self"])
    assert (answer.status_code, answer.json()["status"]) == (200, "failed")
    assert answer.json()["error"]["code"] == "fetch_failed"
    assert answer.json()["error"]["pointer"] == "/content"


def test_cancel_ends_what_waits_at_once(http: httpx.Client, submit: Submit) -> None:
    job = submit()
    for _ in range(2):  # canceling a canceled job is fine
        answer = http.post(job["urls"]["cancel"])
        assert (answer.status_code, answer.json()["status"]) == (200, "canceled")


def test_cancel_asks_the_worker_to_stop(http: httpx.Client, submit: Submit, store: JobStore) -> None:
    job = submit()
    claim = start_painting(store)
    answer = http.post(job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["cancel_requested"]) == (202, True)
    store.canceled(claim)
    assert http.get(job["urls"]["self"]).json()["status"] == "canceled"


def test_a_job_that_has_succeeded_cannot_be_canceled(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    finish(store, objects, start_painting(store), b"x", "0" * 64)
    answer = http.post(job["urls"]["cancel"])
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")


def test_retry_makes_a_new_job_that_names_the_old(http: httpx.Client, submit: Submit) -> None:
    job = submit(spec={"seed": 5}, metadata={"order": "A-17"}, priority=3)
    assert http.post(job["urls"]["retry"]).status_code == 409
    http.post(job["urls"]["cancel"])
    answer = http.post(job["urls"]["retry"])
    again = answer.json()
    assert (answer.status_code, again["retry_of"]) == (202, job["id"])
    assert again["id"] != job["id"]
    assert answer.headers["Location"] == again["urls"]["self"]
    for field in ("spec", "content", "styles", "metadata", "priority"):
        assert again[field] == job[field]


def test_a_retry_uses_the_pictures_that_are_here(http: httpx.Client) -> None:
    image = http.post("/v1/uploads", files={"file": picture_bytes()}).json()["image"]
    job = http.post("/v1/jobs", json={"content": image, "styles": [image]}).json()
    http.post(job["urls"]["cancel"])
    again = http.post(job["urls"]["retry"]).json()
    assert (again["stage"], again["content"]) == ("waiting", job["content"])


def test_a_retry_with_a_key_happens_once(http: httpx.Client, submit: Submit) -> None:
    job = submit()
    http.post(job["urls"]["cancel"])
    headers = {"Idempotency-Key": "again"}
    first, second = (http.post(job["urls"]["retry"], headers=headers) for _ in range(2))
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


def test_delete_removes_the_job_and_its_picture(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    assert http.delete(job["urls"]["self"]).json()["code"] == "conflict"
    key = finish(store, objects, start_painting(store), b"x", "0" * 64)
    assert objects.stat(key)
    answer = http.delete(job["urls"]["self"])
    assert (answer.status_code, answer.content) == (204, b"")
    assert objects.stat(key) is None
    for url in (job["urls"]["self"], job["urls"]["output"]):
        assert http.get(url).json()["code"] == "not_found"
    assert http.delete(job["urls"]["self"]).status_code == 404


def test_an_id_is_free_again_after_delete(http: httpx.Client) -> None:
    body = {"content": "https://example.org/1.jpg", "styles": ["https://example.org/2.jpg"]}
    http.put("/v1/jobs/mine", json=body)
    http.post("/v1/jobs/mine/cancel")
    etag = http.get("/v1/jobs/mine").headers["ETag"]
    http.delete("/v1/jobs/mine")
    assert http.put("/v1/jobs/mine", json=body | {"priority": 1}).status_code == 202
    assert http.get("/v1/jobs/mine", headers={"If-None-Match": etag}).status_code == 200


def test_a_list_is_read_page_by_page_newest_first(http: httpx.Client, submit: Submit) -> None:
    made = [submit()["id"] for _ in range(5)]
    seen, url = [], "/v1/jobs?limit=2"
    while url:
        page = http.get(url).json()
        assert len(page["jobs"]) <= 2
        seen += [job["id"] for job in page["jobs"]]
        url = page["next_url"]
        assert (url is None) == (page["next_page_token"] is None)
    assert seen == made[::-1]


def test_a_list_is_filtered_by_status_on_every_page(http: httpx.Client, submit: Submit) -> None:
    jobs = [submit() for _ in range(4)]
    for job in jobs[:3]:
        http.post(job["urls"]["cancel"])
    first = http.get("/v1/jobs?status=canceled&limit=2").json()
    second = http.get(first["next_url"]).json()
    found = [job["id"] for page in (first, second) for job in page["jobs"]]
    assert found == [job["id"] for job in jobs[2::-1]]
    assert [job["id"] for job in http.get("/v1/jobs?status=queued").json()["jobs"]] == [jobs[3]["id"]]


@pytest.mark.parametrize("limit", ["100000", "9999999999", "9" * 3000])
def test_a_limit_over_the_highest_is_cut_down(http: httpx.Client, submit: Submit, limit: str) -> None:
    submit()
    assert len(http.get(f"/v1/jobs?limit={limit}").json()["jobs"]) == 1


@pytest.mark.parametrize("token", ["x", "", "MTow0", "%00", "1" * 2000])
def test_a_page_token_that_is_none_of_ours_is_refused(http: httpx.Client, token: str) -> None:
    answer = http.get("/v1/jobs", params={"page_token": token})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/query/page_token"
