"""A caller of batches, and the chores' work on them."""

from typing import Any

import httpx
import pytest
import redis

from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.batch_requests import DEFAULTS, ITEMS, Listed, Post
from tests.support.batches import chores, work_off
from worker.chores.batches import BatchWork


@pytest.fixture
def work(redis_client: redis.Redis, settings: Settings, objects: ObjectStore) -> BatchWork:
    return chores(redis_client, settings, objects)


@pytest.fixture
def post(http: httpx.Client) -> Post:
    def post(*items: dict[str, Any], **head: Any) -> dict[str, Any]:
        answer = http.post("/v1/batches", json={"items": items or ITEMS, "defaults": DEFAULTS, **head})
        assert answer.status_code == 202, answer.text
        batch: dict[str, Any] = answer.json()
        return batch

    return post


@pytest.fixture
def listed(http: httpx.Client, work: BatchWork) -> Listed:
    """The jobs of a batch, once all are made."""

    def items(batch: dict[str, Any]) -> list[dict[str, Any]]:
        work_off(work)
        found: list[dict[str, Any]] = http.get(batch["urls"]["items"]).json()["items"]
        return found

    return items
