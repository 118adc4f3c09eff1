"""Batches that are tried again, and batches that are deleted."""

import base64
import json

import httpx
import redis

from shared.jobs.keys import Key
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.support.api import CONTENT, finish, picture_bytes, start_painting
from tests.support.audit import audit
from tests.support.batch_requests import ITEMS, Post
from tests.support.batches import work_off
from worker.chores.batches import BatchWork


def test_pictures_of_items_that_never_became_jobs_are_kept_to_be_tried_again_until_their_batch_goes(
    http: httpx.Client, work: BatchWork, redis_client: redis.Redis, post: Post
) -> None:
    inside = "data:image/png;base64," + base64.b64encode(picture_bytes()).decode()
    deleted = post({"content": inside, "styles": [inside]})
    http.post(deleted["urls"]["cancel"])
    work_off(work)
    [sha256] = redis_client.hkeys(Key.REFS)
    assert http.delete(deleted["urls"]["self"]).status_code == 204
    work_off(work)
    assert redis_client.hget(Key.REFS, sha256) is None
    batch = post({"content": inside, "styles": [inside]})
    http.post(batch["urls"]["cancel"])
    again = http.post(batch["urls"]["retry"]).json()
    while http.get(again["urls"]["self"]).json()["status"] == "validating":
        assert work.step()
    assert redis_client.hget(Key.REFS, sha256) == "2", "both batches keep it"
    http.delete(batch["urls"]["self"])
    work_off(work)
    [job] = http.get(again["urls"]["items"]).json()["items"]
    assert (job["stage"], redis_client.hget(Key.REFS, sha256)) == ("waiting", "2")
    audit(redis_client)


def test_a_retry_tries_what_did_not_succeed_again_and_in_order(
    http: httpx.Client,
    work: BatchWork,
    store: JobStore,
    objects: ObjectStore,
    redis_client: redis.Redis,
    post: Post,
) -> None:
    batch = post(*ITEMS, {"custom_id": "gone", "content": CONTENT})
    assert http.post(batch["urls"]["retry"]).status_code == 409, "it has not ended"
    work_off(work)
    finish(store, objects, start_painting(store), b"picture", "0" * 64)
    jobs = http.get(batch["urls"]["items"], params={"status": "queued"}).json()["items"]
    for job in jobs:
        http.post(job["urls"]["cancel"])
    http.delete(jobs[-1]["urls"]["self"])
    key = {"Idempotency-Key": "again"}
    answer = http.post(batch["urls"]["retry"], headers=key)
    again = answer.json()
    assert (answer.status_code, again["retry_of"], again["counts"]["total"]) == (202, batch["id"], 2)
    assert http.post(batch["urls"]["retry"], headers=key).json()["id"] == again["id"]
    work_off(work)
    made = http.get(again["urls"]["items"]).json()["items"]
    assert [(job["custom_id"], job["retry_of"]) for job in made] == [
        (job["custom_id"], job["id"]) for job in jobs[:-1]
    ]
    assert [job["spec"] for job in made] == [job["spec"] for job in jobs[:-1]]
    audit(redis_client)


def test_items_that_never_became_jobs_are_tried_again_too(
    http: httpx.Client, work: BatchWork, post: Post
) -> None:
    batch = post()
    http.post(batch["urls"]["cancel"])
    again = http.post(batch["urls"]["retry"]).json()
    work_off(work)
    assert [job["custom_id"] for job in http.get(again["urls"]["items"]).json()["items"]] == [
        item["custom_id"] for item in ITEMS
    ]


def test_a_batch_is_not_deleted_before_its_retries_have_read_it(
    http: httpx.Client, work: BatchWork, post: Post
) -> None:
    batch = post()
    http.post(batch["urls"]["cancel"])
    first, second = (http.post(batch["urls"]["retry"]).json() for _ in range(2))
    refused = http.delete(batch["urls"]["self"])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert first["id"] in refused.json()["detail"]
    http.post(first["urls"]["cancel"])
    assert second["id"] in http.delete(batch["urls"]["self"]).json()["detail"], "the other has yet to read it"
    work_off(work)
    assert http.delete(batch["urls"]["self"]).status_code == 204
    work_off(work)
    now = http.get(second["urls"]["self"]).json()
    assert (now["status"], now["error"], now["counts"]["queued"]) == ("processing", None, len(ITEMS))


def test_a_job_is_not_deleted_before_the_retries_of_its_batch_have_read_it(
    http: httpx.Client, work: BatchWork, store: JobStore, objects: ObjectStore, post: Post
) -> None:
    batch = post()
    work_off(work)
    finish(store, objects, start_painting(store), b"picture", "0" * 64)
    http.post(batch["urls"]["cancel"])
    work_off(work)
    done, *others = http.get(batch["urls"]["items"]).json()["items"]
    again = http.post(batch["urls"]["retry"]).json()
    assert http.delete(done["urls"]["self"]).status_code == 204, "what has succeeded is not tried again"
    refused = http.delete(others[0]["urls"]["self"])
    assert (refused.status_code, refused.json()["code"]) == (409, "conflict")
    assert again["id"] in refused.json()["detail"]
    work_off(work)
    assert http.delete(others[0]["urls"]["self"]).status_code == 204
    made = http.get(again["urls"]["items"]).json()["items"]
    assert [job["retry_of"] for job in made] == [job["id"] for job in others]


def test_the_retry_of_a_batch_whose_record_is_gone_fails(
    http: httpx.Client, work: BatchWork, post: Post, redis_client: redis.Redis
) -> None:
    batch = post()
    http.post(batch["urls"]["cancel"])
    again = http.post(batch["urls"]["retry"]).json()
    redis_client.hset(Key.BATCH + batch["id"], "deleted", 1)
    work_off(work)
    now = http.get(again["urls"]["self"]).json()
    assert (now["status"], len(now["errors"])) == ("failed", 1)
    assert json.loads(http.get(now["urls"]["errors"]).text) == now["errors"][0]


def test_deleting_takes_a_batch_and_its_jobs_away(
    http: httpx.Client, work: BatchWork, post: Post, redis_client: redis.Redis, objects: ObjectStore
) -> None:
    batch = post()
    assert http.delete(batch["urls"]["self"]).status_code == 409
    work_off(work)
    http.post(batch["urls"]["cancel"])
    work_off(work)
    assert http.delete(batch["urls"]["self"]).status_code == 204
    assert http.get(batch["urls"]["self"]).status_code == 404
    work_off(work)
    assert audit(redis_client).records == {}
    assert list(objects.list(f"batches/{batch['id']}/")) == []
