"""Batches are taken over HTTP in any shape that is right; what is wrong with one is told with its place."""

from codecs import BOM_UTF8
from typing import Any

import httpx
import pytest
import redis

from tests.support.api import CONTENT, STYLE
from tests.support.audit import audit
from tests.support.batch_requests import DEFAULTS, ITEMS, LATER, NDJSON, Listed, faults, ndjson


def test_a_batch_is_accepted_with_its_address_and_all_its_items_queued(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/batches", json={"items": ITEMS, "defaults": DEFAULTS, "metadata": {"run": "tonight"}}
    )
    assert answer.status_code == 202
    batch = answer.json()
    assert answer.headers["Location"] == batch["urls"]["self"]
    assert int(answer.headers["Retry-After"]) >= 1
    assert (batch["status"], batch["metadata"]) == ("processing", {"run": "tonight"})
    assert batch["counts"] == {**dict.fromkeys(batch["counts"], 0), "total": 3, "queued": 3}
    assert (batch["eta_seconds"], batch["throughput_per_minute"]) == (None, None)
    assert http.get(batch["urls"]["self"]).json() == batch


@pytest.mark.parametrize("kind", ["json", "ndjson"])
def test_items_have_the_defaults_unless_they_say_otherwise(
    http: httpx.Client, listed: Listed, kind: str
) -> None:
    own = {
        "custom_id": "own",
        "content": CONTENT,
        "styles": [f"{STYLE}?other"],
        "spec": {"seed": 7},
        "metadata": {"page": "3"},
        "priority": 2,
    }
    items = [{"content": CONTENT, "spec": None}, own]
    if kind == "json":
        answer = http.post("/v1/batches", json={"items": items, "defaults": DEFAULTS})
    else:
        lines = ndjson({"defaults": DEFAULTS}, "", *items, "")
        answer = http.post("/v1/batches", content=lines, headers=NDJSON)
    assert answer.status_code == 202, answer.text
    plain, changed = listed(answer.json())
    assert (plain["custom_id"], plain["styles"][0]["image"], plain["spec"]["size"]) == (None, STYLE, 256)
    assert plain["metadata"] == {"order": "A-17"}
    assert (changed["custom_id"], changed["styles"][0]["image"]) == ("own", f"{STYLE}?other")
    assert (changed["spec"]["size"], changed["spec"]["seed"], changed["priority"]) == (256, 7, 2)
    assert changed["metadata"] == {"order": "A-17", "page": "3"}
    assert plain["batch"] == changed["batch"] == answer.json()["id"]


@pytest.mark.parametrize("later", [False, True])
def test_a_byte_order_mark_in_front_of_ndjson_is_ignored(
    http: httpx.Client, listed: Listed, later: bool
) -> None:
    lines = BOM_UTF8 + ndjson({"defaults": DEFAULTS}, *ITEMS)
    answer = http.post("/v1/batches", content=lines, headers=LATER if later else NDJSON)
    assert answer.status_code == 202, answer.text
    assert [job["styles"][0]["image"] for job in listed(answer.json())] == [STYLE] * len(ITEMS)


def test_ndjson_needs_no_first_line_of_its_own_and_no_last_newline(
    http: httpx.Client, listed: Listed
) -> None:
    lines = ndjson(*[{"content": f"{CONTENT}?{i}", "styles": [STYLE]} for i in range(2)])
    answer = http.post("/v1/batches", content=lines, headers=NDJSON)
    assert [job["content"]["image"][-1] for job in listed(answer.json())] == ["0", "1"]


def test_every_fault_of_every_item_is_answered_with_its_place(
    http: httpx.Client, redis_client: redis.Redis
) -> None:
    items: list[Any] = [
        {"custom_id": "a", "content": "ftp://example.org"},
        {"custom_id": "b", "content": CONTENT, "spec": {"sizee": 1}},
        {"custom_id": "a", "content": CONTENT, "styles": ["upload:up_none"]},
        {"content": CONTENT, "spec": {"backbone": "resnet9000"}, "metadata": {"order": 7}},
        "a picture",
        {"styles": [STYLE]},
    ]
    places = [
        (0, "/content"),
        (1, "/spec/sizee"),
        (2, "/custom_id"),
        (2, "/styles/0"),
        (3, "/metadata/order"),
        (3, "/spec/backbone"),
        (4, ""),
        (5, "/content"),
    ]
    answer = http.post("/v1/batches", json={"items": items, "defaults": DEFAULTS})
    assert faults(answer) == [(None, f"/items/{index}{pointer}") for index, pointer in places]
    assert "picture" not in answer.json()["errors"][2]["detail"]
    assert "/items/0" in answer.json()["errors"][2]["detail"], (
        "the fault names the item that had the custom_id"
    )
    lines = ndjson({"defaults": DEFAULTS}, *items[:4], "{broken", *items[4:])
    answer = http.post("/v1/batches", content=lines, headers=NDJSON)
    moved = [(index + (2 if index < 4 else 3), pointer) for index, pointer in places]
    assert sorted(faults(answer)) == sorted([*moved, (6, "")])
    assert not audit(redis_client).batches


def test_a_fault_of_the_defaults_is_told_once(http: httpx.Client) -> None:
    items = [{"content": f"{CONTENT}?{index}"} for index in range(5)]
    defaults: dict[str, Any] = {
        "styles": [STYLE],
        "spec": {"size": 0, "content_layers": {"conv9_9": 1}},
        "colour": 1,
    }
    answer = http.post("/v1/batches", json={"items": items, "defaults": defaults})
    assert faults(answer) == [(None, "/defaults/spec/size"), (None, "/defaults/colour")]
    del defaults["spec"]["size"], defaults["colour"]
    answer = http.post("/v1/batches", json={"items": items, "defaults": defaults})
    assert faults(answer) == [(None, "/defaults/spec/content_layers")]
    answer = http.post("/v1/batches", content=ndjson({"defaults": defaults}, *items), headers=NDJSON)
    assert faults(answer) == [(1, "/defaults/spec/content_layers")]


def test_faults_of_the_whole_are_told_too(http: httpx.Client) -> None:
    assert faults(http.post("/v1/batches", json={"items": []})) == [(None, "/items")]
    assert faults(http.post("/v1/batches", json={"itmes": ITEMS})) == [(None, "/items"), (None, "/itmes")]
    assert faults(http.post("/v1/batches", json=ITEMS)) == [(None, "")]
    bad_head = {"items": ITEMS, "defaults": [], "metadata": {"a": 1}}
    assert {pointer for _, pointer in faults(http.post("/v1/batches", json=bad_head))} >= {
        "/defaults",
        "/metadata/a",
    }
    assert faults(http.post("/v1/batches", content=b"\n", headers=NDJSON)) == [(None, "")]
    assert (
        http.post("/v1/batches", content=b"{", headers={"Content-Type": "application/json"}).status_code
        == 400
    )
    assert http.post("/v1/batches", content=b"a,b", headers={"Content-Type": "text/csv"}).status_code == 415


def test_of_very_many_faults_a_thousand_are_listed_and_all_counted(http: httpx.Client) -> None:
    answer = http.post("/v1/batches", json={"items": [{"content": "x"}] * 1500, "defaults": DEFAULTS})
    assert len(faults(answer)) == 1000
    assert answer.json()["detail"].startswith("1500 faults")


def test_behind_very_many_faults_no_more_are_looked_for(http: httpx.Client) -> None:
    answer = http.post("/v1/batches", content=b"x\n" * 60_000, headers=NDJSON)
    assert len(faults(answer)) == 1000
    assert answer.json()["detail"].startswith("50000 faults or more")
    wild = {f"unknown {index}": 1 for index in range(20_000)}
    answer = http.post("/v1/batches", content=ndjson(*[wild | ITEMS[0]] * 5), headers=NDJSON)
    assert answer.json()["detail"].startswith("50000 faults or more")
    assert {line for line, _ in faults(answer)} == {1}
