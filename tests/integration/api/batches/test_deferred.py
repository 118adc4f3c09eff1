"""Batches whose lines are checked after the answer."""

import json
from collections import Counter
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.batches import BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Status
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import CONTENT, STYLE
from tests.support.audit import audit
from tests.support.batch_requests import DEFAULTS, ITEMS, LATER, faults, ndjson
from tests.support.batches import chores, work_off
from worker.chores.batches import BatchWork


def test_a_batch_may_be_checked_after_its_answer(
    http: httpx.Client, work: BatchWork, redis_client: redis.Redis
) -> None:
    items = [{"custom_id": f"picture {i}", "content": f"{CONTENT}?{i}"} for i in range(2_100)]
    answer = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, "", *items), headers=LATER)
    assert (answer.status_code, answer.headers["Preference-Applied"]) == (202, "respond-async")
    batch = answer.json()
    assert (batch["status"], batch["counts"]["total"], batch["counts"]["queued"]) == (
        "validating",
        2100,
        2100,
    )
    work_off(work)
    now = http.get(batch["urls"]["self"]).json()
    assert (now["status"], now["counts"]["queued"], now["errors"]) == ("processing", 2100, [])
    lines = [json.loads(line) for line in http.get(batch["urls"]["results"]).text.splitlines()]
    assert [line["custom_id"] for line in lines] == [item["custom_id"] for item in items]
    assert all(line["id"] for line in lines)
    assert http.get(batch["urls"]["errors"]).text == ""
    audit(redis_client)


def test_a_batch_with_a_faulty_line_fails_its_check_and_makes_no_job(
    http: httpx.Client,
    work: BatchWork,
    redis_client: redis.Redis,
    settings: Settings,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items: list[Any] = [{"custom_id": f"{i}", "content": f"{CONTENT}?{i}"} for i in range(1_200)]
    items[3] = "{broken"
    items[1_100] = {"custom_id": "7", "content": CONTENT, "spec": {"sizee": 1}}
    items[1_150]["content"] = "ftp://example.org"
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *items), headers=LATER).json()
    monkeypatch.setattr("worker.chores.batches.TURN_SECONDS", 0)
    assert work.step()
    # Another worker goes on, which knows nothing of the names in the part before.
    work_off(chores(redis_client, settings, objects))
    now = http.get(batch["urls"]["self"]).json()
    assert now["status"] == "failed"
    assert now["counts"] == {"total": 1200, **dict.fromkeys(Status, 0)}, "in the total only"
    found = [(error["line"], error["pointer"]) for error in now["errors"]]
    assert found == [(5, ""), (1102, "/spec/sizee"), (1102, "/custom_id"), (1152, "/content")]
    assert "line 9" in now["errors"][2]["detail"], "where the first of that name is"
    assert [json.loads(line) for line in http.get(batch["urls"]["errors"]).text.splitlines()] == now["errors"]
    results = [json.loads(line) for line in http.get(batch["urls"]["results"]).text.splitlines()]
    assert {(line["id"], line["status"]) for line in results} == {(None, None)}
    assert audit(redis_client).records == {}
    assert http.post(batch["urls"]["cancel"]).status_code == 409
    assert http.post(batch["urls"]["retry"]).status_code == 409
    assert http.delete(batch["urls"]["self"]).status_code == 204
    work_off(work)
    assert list(objects.list(f"batches/{batch['id']}/")) == []


def test_workers_that_take_turns_at_a_check_read_no_line_more_than_once_each(
    http: httpx.Client,
    redis_client: redis.Redis,
    settings: Settings,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [{"custom_id": f"{i}", "content": f"{CONTENT}?{i}"} for i in range(6_000)]
    items[5_500]["custom_id"] = "1500"
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *items), headers=LATER).json()
    monkeypatch.setattr("worker.chores.batches.TURN_SECONDS", 0)
    reads: Counter[str] = Counter()
    get = objects.get

    def counted(key: str) -> bytes:
        reads[key] += "/lines/" in key
        return get(key)

    monkeypatch.setattr(objects, "get", counted)
    workers = [chores(redis_client, settings, objects) for _ in range(2)]
    for turn in range(6):
        assert workers[turn % 2].step()
    now = http.get(batch["urls"]["self"]).json()
    assert [error["line"] for error in now["errors"]] == [5_502]
    assert "line 1502" in now["errors"][0]["detail"]
    assert sum(reads.values()) <= 6 + 5, "each part by who checks it, and by the other one"


def test_a_worker_that_loses_its_claim_while_it_catches_up_goes_on_from_there(
    http: httpx.Client,
    work: BatchWork,
    redis_client: redis.Redis,
    settings: Settings,
    objects: ObjectStore,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    items = [{"custom_id": f"{i}", "content": f"{CONTENT}?{i}"} for i in range(3_000)]
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *items), headers=LATER).json()
    monkeypatch.setattr("worker.chores.batches.TURN_SECONDS", 0)
    for _ in range(2):
        work.step()
    monkeypatch.setattr("worker.chores.batch_check._RENEW_SECONDS", 0)
    kept, renewed = [True, False, True, True], []
    monkeypatch.setattr(BatchStore, "renew", lambda *_: renewed.append(1) or kept.pop(0))
    late = chores(redis_client, settings, objects)
    late.step()
    assert redis_client.hget(f"{Key.BATCH}{batch['id']}", "checked") == "2000"
    late.step()
    assert http.get(batch["urls"]["self"]).json()["status"] == "processing"
    assert len(renewed) == 3, "before each part that it reads, and none is read again"
    work_off(work)


def test_what_is_wrong_with_a_deferred_batch_as_a_whole_is_told_at_once(
    http: httpx.Client, objects: ObjectStore
) -> None:
    before = len(list(objects.list("batches/")))
    item = {"content": CONTENT, "styles": [STYLE]}
    assert faults(http.post("/v1/batches", content=b"", headers=LATER)) == [(None, "")]
    assert faults(http.post("/v1/batches", content=ndjson({"defauts": {}}, item), headers=LATER)) == [
        (1, "/defauts")
    ]
    long = item | {"metadata": {"a": "x" * 2**16}}
    assert faults(http.post("/v1/batches", content=ndjson(item, long), headers=LATER)) == [(2, "")]
    assert (
        http.post("/v1/batches", json={"items": [item]}, headers={"Prefer": "respond-async"}).status_code
        == 415
    )
    assert len(list(objects.list("batches/"))) == before


def test_a_batch_that_is_being_checked_can_be_canceled(http: httpx.Client, work: BatchWork) -> None:
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *ITEMS), headers=LATER).json()
    assert http.post(batch["urls"]["cancel"]).json()["status"] == "canceled"
    work_off(work)
    assert http.get(batch["urls"]["self"]).json()["counts"]["canceled"] == 3


def test_a_batch_that_was_canceled_while_it_was_checked_is_sent_again_rather_than_retried(
    http: httpx.Client, work: BatchWork
) -> None:
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *ITEMS), headers=LATER).json()
    http.post(batch["urls"]["cancel"])
    answer = http.post(batch["urls"]["retry"])
    assert answer.status_code == 409
    assert "send it again" in answer.json()["detail"]
    work_off(work)
