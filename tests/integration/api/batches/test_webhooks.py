"""Who is told of a batch and of its items."""

import httpx
import redis

from shared.jobs.keys import Key
from tests.support.audit import audit
from tests.support.batch_requests import DEFAULTS, ITEMS, Listed, Post, faults
from tests.support.batches import work_off
from worker.chores.batches import BatchWork


def test_an_item_may_have_a_webhook_as_a_job_may(http: httpx.Client, listed: Listed) -> None:
    hook = {"url": "https://example.org/hook", "events": ["job.succeeded"]}
    defaults = DEFAULTS | {"webhook": hook}
    answer = http.post("/v1/batches", json={"items": ITEMS, "defaults": defaults})
    assert {job["webhook"]["events"][0] for job in listed(answer.json())} == {"job.succeeded"}
    defaults = DEFAULTS | {"webhook": hook | {"events": ["job.done"]}}
    answer = http.post("/v1/batches", json={"items": ITEMS, "defaults": defaults})
    assert faults(answer) == [(None, "/defaults/webhook/events/0")]


def test_a_batch_tells_its_own_receiver_that_it_has_ended(
    http: httpx.Client, work: BatchWork, post: Post, redis_client: redis.Redis
) -> None:
    refused = http.post(
        "/v1/batches",
        json={"items": ITEMS, "defaults": DEFAULTS, "webhook": {"url": "http://127.0.0.1/hook"}},
    )
    assert faults(refused) == [(None, "/webhook/url")]
    batch = post(webhook={"url": "https://example.org/hook", "events": ["batch.canceled"]})
    work_off(work)
    assert not list(redis_client.scan_iter(f"{Key.DELIVERY}*"))
    http.post(batch["urls"]["cancel"])
    work_off(work)
    (delivery,) = redis_client.scan_iter(f"{Key.DELIVERY}*")
    told = redis_client.hgetall(delivery)
    assert (told["type"], told["uid"], told["url"]) == (
        "batch.canceled",
        batch["id"],
        "https://example.org/hook",
    )
    audit(redis_client)
    http.delete(batch["urls"]["self"])
    work_off(work)
    assert not list(redis_client.scan_iter(f"{Key.DELIVERY}*"))
