"""Batches whose lines the object store has lost, as their callers see it."""

import json
from typing import Any

import httpx
import redis

from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import CONTENT
from tests.support.batch_requests import DEFAULTS, NDJSON, ndjson
from tests.support.batches import chores
from tests.support.waiting import wait_for


def test_a_batch_whose_lines_the_store_has_lost_says_so_and_what_to_do(
    http: httpx.Client, redis_client: redis.Redis, settings: Settings, objects: ObjectStore
) -> None:
    items = [{"custom_id": f"{i}", "content": f"{CONTENT}?{i}"} for i in range(3)]
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *items), headers=NDJSON).json()
    assert batch["error"] is None
    objects.delete(f"batches/{batch['id']}/items/000000.ndjson")
    work = chores(
        redis_client, settings.model_copy(update={"retry_delay": 0.01, "batch_lines_seconds": 0.1}), objects
    )

    def failed() -> dict[str, Any] | None:
        work.step()
        now: dict[str, Any] = http.get(batch["urls"]["self"]).json()
        return now if now["status"] == "failed" else None

    now = wait_for(failed, "the batch to fail")
    assert (now["error"]["code"], now["error"]["title"]) == (
        "batch_lines_lost",
        "Lines of the batch are lost",
    )
    assert (now["counts"]["total"], now["counts"]["queued"], now["errors"]) == (3, 0, [])
    lines = [json.loads(line) for line in http.get(batch["urls"]["results"]).text.splitlines()]
    assert [(line["index"], line["id"], line["status"]) for line in lines] == [
        (index, None, None) for index in range(3)
    ]
    again = http.post(batch["urls"]["retry"])
    assert (again.status_code, again.json()["code"]) == (409, "conflict")
    assert "send the items" in again.json()["detail"]
    assert http.get(batch["urls"]["archive"]).status_code == 202
    assert http.delete(batch["urls"]["self"]).status_code == 204
