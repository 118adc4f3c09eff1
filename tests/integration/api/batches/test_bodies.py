"""The bodies of batches: how large they may be, in what pieces they come, and what their items share."""

import base64
import json
from collections.abc import Iterator

import httpx
import pytest
import redis

from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import CONTENT, STYLE, checked_client, picture_bytes
from tests.support.audit import audit
from tests.support.batch_requests import DEFAULTS, ITEMS, LATER, NDJSON, Listed, faults, ndjson


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


def test_one_item_more_than_may_be_is_refused(http: httpx.Client) -> None:
    item = json.dumps({"content": CONTENT, "styles": [STYLE]})
    answer = http.post("/v1/batches", content="\n".join([item] * 10_001), headers=NDJSON)
    assert faults(answer) == [(None, "")]
    assert "10001 items" in answer.text
    answer = http.post(
        "/v1/batches",
        content=f'{{"items": [{",".join([item] * 10_001)}]}}',
        headers={"Content-Type": "application/json"},
    )
    assert faults(answer) == [(None, "/items")]


def test_a_line_that_is_too_long_is_a_fault_of_its_own(http: httpx.Client) -> None:
    item = {"content": CONTENT, "styles": [STYLE]}
    lines = ndjson(item, item | {"metadata": {"a": "x" * 2**20}}, item | {"content": 1})
    assert faults(http.post("/v1/batches", content=lines, headers=NDJSON)) == [(2, ""), (3, "/content")]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_beyond_its_bound_is_refused(
    valkey: str, settings: Settings, objects: ObjectStore, chunked: bool
) -> None:
    from tests.support.api import ApiServer

    before = len(list(objects.list("batches/")))
    with (
        ApiServer(settings.data_dir, valkey, batch_bytes=str(2**20), batch_upload_bytes=str(2**20)) as api,
        checked_client(api.url) as client,
    ):
        line = ndjson({"content": CONTENT, "styles": [STYLE]}, "")
        body = line * (2**20 // len(line) + 2)
        for headers in (NDJSON, {"Content-Type": "application/json"}):
            answer = client.post("/v1/batches", content=pieces(body) if chunked else body, headers=headers)
            assert answer.status_code == 413
            assert str(2**20) in answer.json()["detail"]
            assert "IMPASTO_BATCH_BYTES" in answer.json()["detail"]
        answer = client.post("/v1/batches", content=pieces(body) if chunked else body, headers=LATER)
        assert answer.status_code == 413
        assert "IMPASTO_BATCH_UPLOAD_BYTES" in answer.json()["detail"]
        assert len(list(objects.list("batches/"))) == before, "what had come in is deleted"


def test_lines_may_come_in_any_pieces(http: httpx.Client, listed: Listed) -> None:
    body = ndjson({"defaults": DEFAULTS}, *ITEMS)
    answer = http.post(
        "/v1/batches", content=(body[i : i + 7] for i in range(0, len(body), 7)), headers=NDJSON
    )
    assert len(listed(answer.json())) == 3


def test_uploads_and_pictures_inside_the_request_are_shared_by_its_items(
    http: httpx.Client, listed: Listed, redis_client: redis.Redis
) -> None:

    upload = http.post("/v1/uploads", content=picture_bytes(), headers={"Content-Type": "image/png"}).json()
    inside = f"data:image/png;base64,{base64.b64encode(picture_bytes()).decode()}"
    items = [{"content": upload["image"]} for _ in range(3)]
    answer = http.post("/v1/batches", json={"items": items, "defaults": {"styles": [inside]}})
    assert answer.status_code == 202, answer.text
    audit(redis_client)
    jobs = listed(answer.json())
    assert {job["stage"] for job in jobs} == {"waiting"}, "nothing is left to fetch"
    assert {job["content"]["sha256"] for job in jobs} == {upload["sha256"]}
    assert {job["styles"][0]["image"] for job in jobs} == {"data:"}
    audit(redis_client)
