"""A batch that is sent twice under one key is made once."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from shared.objects import ObjectStore
from tests.support.api import CONTENT, STYLE, checked_client
from tests.support.audit import audit
from tests.support.batch_requests import DEFAULTS, ITEMS


def test_the_same_key_and_body_give_the_same_batch_and_another_body_none(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "tonight"}
    body = {"items": ITEMS, "defaults": DEFAULTS}
    first = http.post("/v1/batches", json=body, headers=key)
    again = http.post("/v1/batches", json=body, headers=key)
    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert (first.headers.get("Idempotent-Replayed"), again.headers["Idempotent-Replayed"]) == (None, "true")
    other = http.post("/v1/batches", json=body | {"metadata": {"a": "b"}}, headers=key)
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_mismatch")


@pytest.mark.usefixtures("http")
@pytest.mark.parametrize("path", ["/v1/batches", "/v1/jobs"])
def test_requests_that_race_with_one_key_make_one_thing(
    server: Any, redis_client: redis.Redis, objects: ObjectStore, path: str
) -> None:
    item = {"content": CONTENT, "styles": [STYLE]}
    body = {"items": [item] * 20} if path == "/v1/batches" else item

    def send(_: int) -> httpx.Response:
        with checked_client(server.url) as client:
            return client.post(path, json=body, headers={"Idempotency-Key": "one"})

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(send, range(32)))
    assert {answer.status_code for answer in answers} == {202}
    (made,) = {answer.json()["id"] for answer in answers}
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    store = audit(redis_client)
    assert [*store.batches, *store.records] == [made]
    if path == "/v1/batches":
        assert {stat.key.split("/")[1] for stat in objects.list(f"batches/{made}/")} == {made}


def test_a_key_of_a_batch_is_none_of_a_jobs(http: httpx.Client) -> None:
    key = {"Idempotency-Key": "one"}
    item = {"content": CONTENT, "styles": [STYLE]}
    assert http.post("/v1/batches", json={"items": [item]}, headers=key).status_code == 202
    assert "Idempotent-Replayed" not in http.post("/v1/jobs", json=item, headers=key).headers
