"""Webhooks over HTTP: who may be told, the secret, and the log of what was sent. Tests play the worker."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.deliveries import DeliveryStore
from shared.jobs.delivery import Attempt, Load, Outcome
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.api import BODY, ApiServer, checked_client

URL = "https://hooks.example.org/impasto"
HOOK = {"url": URL}
ROOM = Load(room=100, host_slots=100, owner_slots=100)
Submit = Callable[..., dict[str, Any]]


@pytest.fixture
def deliveries(redis_client: redis.Redis, settings: Settings) -> DeliveryStore:
    return DeliveryStore(redis_client, settings)


def canceled(http: httpx.Client, submit: Submit, **changes: Any) -> dict[str, Any]:
    """A job with one event to be told."""
    job = submit(**{"webhook": HOOK, **changes})
    ended: dict[str, Any] = http.post(f"/v1/jobs/{job['id']}/cancel").json()
    return ended


def refused(http: httpx.Client, webhook: Any) -> dict[str, Any]:
    answer = http.post("/v1/jobs", json=BODY | {"webhook": webhook})
    assert answer.status_code == 422
    problem: dict[str, Any] = answer.json()
    return problem


def test_a_job_shows_who_is_told(submit: Submit) -> None:
    job = submit(webhook=HOOK | {"events": ["job.failed", "job.succeeded"]})
    assert job["webhook"] == {"url": URL, "events": ["job.failed", "job.succeeded"], "disabled": False}
    assert submit()["webhook"] is None


def test_an_empty_list_of_events_as_an_answer_has_it_is_all_of_them(
    http: httpx.Client, submit: Submit
) -> None:
    shown = submit(webhook=HOOK)["webhook"]
    again = {"url": shown["url"], "events": shown["events"]}
    assert submit(webhook=again)["webhook"] == shown
    key = {"Idempotency-Key": "one"}
    first, second = (
        http.post("/v1/jobs", json=BODY | {"webhook": hook}, headers=key) for hook in (HOOK, again)
    )
    assert first.json()["id"] == second.json()["id"]


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.1/hook",
        "http://127.0.0.1:9000/",
        "http://[::1]/",
        "http://localhost/",
        "https://example.org:8443/",
        "https://user:secret@example.org/",
    ],
)
def test_a_receiver_that_nothing_may_be_sent_to_is_refused_by_its_field(http: httpx.Client, url: str) -> None:
    problem = refused(http, {"url": url})
    assert problem["code"] == "webhook_refused"
    assert [error["pointer"] for error in problem["errors"]] == ["/webhook/url"]


@pytest.mark.parametrize(
    ("webhook", "pointer", "says"),
    [
        ({"url": "ftp://example.org/"}, "/webhook/url", "http or https"),
        ({"url": f"{URL}?{'x' * 9000}"}, "/webhook/url", "may have 4096 characters"),
        ({}, "/webhook/url", "needed"),
        ({"url": URL, "event": []}, "/webhook/event", "did you mean events"),
        ({"url": URL, "events": ["job.done"]}, "/webhook/events/0", "job.succeeded"),
        ({"url": URL, "events": ["batch.completed"]}, "/webhook/events/0", "job.succeeded"),
        (URL, "/webhook", "object"),
    ],
)
def test_what_is_wrong_with_a_webhook_is_pointed_at(
    http: httpx.Client, webhook: Any, pointer: str, says: str
) -> None:
    problem = refused(http, webhook)
    assert problem["code"] == "invalid_request"
    [error] = problem["errors"]
    assert error["pointer"] == pointer
    assert says in error["detail"]


def test_the_scheme_of_a_receiver_may_be_in_capitals(submit: Submit) -> None:
    assert submit(webhook={"url": "HTTPS://example.org/hook"})["webhook"]["url"] == "HTTPS://example.org/hook"


def test_every_fault_of_a_request_is_found_beside_the_receivers(http: httpx.Client) -> None:
    answer = http.post("/v1/jobs", json=BODY | {"webhook": {"url": "http://10.0.0.1/"}, "priority": 99})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/webhook/url", "/priority"}


def test_a_webhook_is_part_of_what_is_asked_for(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "one"}
    assert http.post("/v1/jobs", json=BODY | {"webhook": HOOK}, headers=key).status_code == 202
    assert http.post("/v1/jobs", json=BODY, headers=key).json()["code"] == "idempotency_mismatch"


def test_a_retry_is_told_of_too(http: httpx.Client, submit: Submit) -> None:
    job = canceled(http, submit)
    assert http.post(f"/v1/jobs/{job['id']}/retry").json()["webhook"]["url"] == URL


def test_a_secret_is_the_owners_own_and_kept_from_caches(http: httpx.Client) -> None:
    first = http.get("/v1/webhooks/secret")
    assert first.headers["Cache-Control"] == "no-store"
    assert first.json()["secret"].startswith("whsec_")
    assert first.json()["previous"] == []
    assert http.get("/v1/webhooks/secret").json() == first.json()
    rotated = http.post("/v1/webhooks/secret/rotate").json()
    assert rotated["secret"] != first.json()["secret"]
    [previous] = rotated["previous"]
    assert previous["secret"] == first.json()["secret"]
    assert previous["expires_at"]


def test_the_log_has_each_attempt(http: httpx.Client, submit: Submit, deliveries: DeliveryStore) -> None:
    job = canceled(http, submit)
    [told] = http.get("/v1/webhooks/deliveries", params={"job": job["id"]}).json()["deliveries"]
    assert (told["type"], told["state"], told["job"], told["url"]) == (
        "job.canceled",
        "waiting",
        job["id"],
        URL,
    )
    assert told["next_attempt_at"]
    [claim] = deliveries.claim(ROOM)
    assert http.get(told["urls"]["self"]).json()["under_way"] is True
    deliveries.settle(claim, Attempt(at=1_800_000_000_000, ms=12, status=500, excerpt="no"), Outcome.AGAIN)
    [claim] = deliveries.claim(ROOM)
    no_answer = Attempt(at=1_800_000_000_000, ms=9, error="fetch_unreachable", detail="It did not answer.")
    deliveries.settle(claim, no_answer, Outcome.FAILED)
    found = http.get(told["urls"]["self"]).json()
    assert (found["state"], found["next_attempt_at"], found["under_way"]) == ("failed", None, False)
    assert [(one["status"], one["error"], one["excerpt"]) for one in found["attempts"]] == [
        (500, None, "no"),
        (None, "fetch_unreachable", None),
    ]
    assert found["attempts"][0]["at"] == "2027-01-15T08:00:00.000Z"


def test_a_delivery_is_sent_again(http: httpx.Client, submit: Submit, deliveries: DeliveryStore) -> None:
    job = canceled(http, submit)
    [claim] = deliveries.claim(ROOM)
    url = f"/v1/webhooks/deliveries/{claim.delivery.id}/redeliver"
    assert http.post(url).json()["code"] == "conflict"
    deliveries.settle(claim, Attempt(at=1, ms=1, status=200), Outcome.DELIVERED)
    again = http.post(url)
    assert (again.status_code, again.json()["state"], again.json()["job"]) == (202, "waiting", job["id"])
    assert [one.delivery.id for one in deliveries.claim(ROOM)] == [claim.delivery.id]


def test_a_receiver_that_is_gone_is_shown_with_the_job(
    http: httpx.Client, submit: Submit, deliveries: DeliveryStore
) -> None:
    job = canceled(http, submit)
    polled = http.get(f"/v1/jobs/{job['id']}")
    [claim] = deliveries.claim(ROOM)
    deliveries.settle(claim, Attempt(at=1, ms=1, status=410), Outcome.GONE)
    again = http.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": polled.headers["ETag"]})
    assert (again.status_code, again.json()["webhook"]["disabled"]) == (200, True)


def test_pages_are_followed_by_their_addresses(http: httpx.Client, submit: Submit) -> None:
    jobs = [canceled(http, submit)["id"] for _ in range(3)]
    url: str | None = "/v1/webhooks/deliveries?limit=2&state=waiting"
    found = []
    while url:
        page = http.get(url).json()
        found += [one["job"] for one in page["deliveries"]]
        url = page["next_url"]
    assert found == jobs[::-1]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("state=lost", "/query/state"),
        ("limit=0", "/query/limit"),
        ("status=failed", "/query/status"),
        ("job=a&batch=b", "/query/batch"),
        ("page_token=none", "/query/page_token"),
    ],
)
def test_a_query_that_is_none_is_pointed_at(http: httpx.Client, query: str, pointer: str) -> None:
    problem = http.get(f"/v1/webhooks/deliveries?{query}").json()
    assert [error["pointer"] for error in problem["errors"]] == [pointer]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/webhooks/deliveries/msg_nobody"),
        ("POST", "/v1/webhooks/deliveries/msg_nobody/redeliver"),
        ("GET", "/v1/webhooks/deliveries?job=nobody"),
        ("GET", "/v1/webhooks/deliveries?batch=nobody"),
    ],
)
def test_what_is_not_there_is_not_found(http: httpx.Client, method: str, path: str) -> None:
    assert http.request(method, path).json()["code"] == "not_found"


def test_a_test_can_be_asked_for(http: httpx.Client, deliveries: DeliveryStore) -> None:
    answer = http.post("/v1/webhooks/test", json={"url": URL})
    assert answer.status_code == 202
    made = answer.json()
    assert (made["type"], made["job"], made["state"]) == ("webhook.test", None, "waiting")
    assert http.get(answer.headers["Location"]).json()["id"] == made["id"]
    [claim] = deliveries.claim(ROOM)
    assert claim.delivery.id == made["id"]
    problem = http.post("/v1/webhooks/test", json={"url": "http://10.0.0.1/"}).json()
    assert (problem["code"], problem["errors"][0]["pointer"]) == ("webhook_refused", "/url")
    [error] = http.post("/v1/webhooks/test", json={"url": URL, "uri": 1}).json()["errors"]
    assert error["detail"] == "There is no field uri; did you mean url?"


def test_another_owners_deliveries_and_secret_are_not_shown(
    tmp_path: Path, valkey: str, store: JobStore
) -> None:
    tokens = '{"ann": "a-long-random-string", "bob": "another-long-string"}'
    with ApiServer(tmp_path, valkey, api_tokens=tokens) as server:
        ann = checked_client(server.url, headers={"Authorization": "Bearer a-long-random-string"})
        bob = checked_client(server.url, headers={"Authorization": "Bearer another-long-string"})
        with ann, bob, checked_client(server.url) as nobody:
            job = ann.post("/v1/jobs", json=BODY | {"webhook": HOOK}).json()
            store.cancel("ann", job["id"])
            [told] = ann.get("/v1/webhooks/deliveries").json()["deliveries"]
            assert bob.get("/v1/webhooks/deliveries").json()["deliveries"] == []
            assert bob.get(told["urls"]["self"]).status_code == 404
            assert bob.post(told["urls"]["redeliver"]).status_code == 404
            assert ann.get("/v1/webhooks/secret").json() != bob.get("/v1/webhooks/secret").json()
            assert nobody.get("/v1/webhooks/secret").status_code == 401
