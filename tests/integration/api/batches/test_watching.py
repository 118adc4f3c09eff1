"""What is shown of a batch: its counts, its items, its results, and the end of it."""

import json
from typing import Any

import httpx

from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from tests.support.api import finish, start_painting
from tests.support.batch_requests import Post, faults
from tests.support.batches import work_off
from worker.chores.batches import BatchWork


def test_a_batch_is_watched_to_its_end(
    http: httpx.Client, post: Post, work: BatchWork, store: JobStore, objects: ObjectStore
) -> None:
    batch = post()
    work_off(work)
    painted = start_painting(store)
    polled = http.get(batch["urls"]["self"])
    assert (polled.json()["counts"]["queued"], polled.json()["counts"]["processing"]) == (2, 1)
    same = http.get(batch["urls"]["self"], headers={"If-None-Match": polled.headers["ETag"]})
    assert same.status_code == 304
    finish(store, objects, painted, b"picture", "0" * 64)
    changed = http.get(batch["urls"]["self"], headers={"If-None-Match": polled.headers["ETag"]})
    assert changed.json()["counts"]["succeeded"] == 1
    for job in http.get(batch["urls"]["items"], params={"status": "queued"}).json()["items"]:
        http.post(job["urls"]["cancel"])
    done = http.get(batch["urls"]["self"])
    assert (done.json()["status"], done.json()["counts"]["canceled"]) == ("completed", 2)
    assert done.json()["completed_at"]
    assert done.json()["expires_at"]
    assert "Retry-After" not in done.headers


def test_results_have_one_line_an_item_in_their_order_at_any_time(
    http: httpx.Client, post: Post, work: BatchWork, store: JobStore, objects: ObjectStore
) -> None:
    batch = post()

    def results() -> list[dict[str, Any]]:
        answer = http.get(batch["urls"]["results"])
        assert answer.status_code == 200
        return [json.loads(line) for line in answer.text.splitlines()]

    early = results()
    assert [(line["index"], line["custom_id"], line["id"], line["status"]) for line in early] == [
        (index, f"picture {index}", None, "queued") for index in range(3)
    ]
    work_off(work)
    painted = start_painting(store)
    finish(store, objects, painted, b"picture", "0" * 64)
    gone = http.get(batch["urls"]["items"]).json()["items"][1]
    http.post(gone["urls"]["cancel"])
    http.delete(gone["urls"]["self"])
    first, second, third = results()
    assert (first["custom_id"], first["id"], first["status"]) == ("picture 0", painted.job.id, "succeeded")
    assert first["output"]["sha256"] == "0" * 64
    assert http.get(first["output"]["url"]).content == b"picture"
    assert (second["custom_id"], second["id"], second["status"]) == ("picture 1", None, None)
    assert (third["status"], third["output"], third["error"]) == ("queued", None, None)


def test_canceling_answers_at_once_and_ends_soon(http: httpx.Client, post: Post, work: BatchWork) -> None:
    batch = post()
    asked = http.post(batch["urls"]["cancel"])
    # Nothing was loaded yet, so nothing has to be stopped.
    assert (asked.status_code, asked.json()["status"], asked.json()["counts"]["canceled"]) == (
        200,
        "canceled",
        3,
    )
    assert [json.loads(line)["status"] for line in http.get(batch["urls"]["results"]).text.splitlines()] == [
        "canceled"
    ] * 3

    batch = post()
    work_off(work)
    asked = http.post(batch["urls"]["cancel"])
    assert (asked.status_code, asked.json()["cancel_requested"], asked.json()["status"]) == (
        202,
        True,
        "processing",
    )
    work_off(work)
    assert http.post(batch["urls"]["cancel"]).json()["counts"]["canceled"] == 3


def test_lists_page_by_page(http: httpx.Client, post: Post, work: BatchWork) -> None:
    made = [post()["id"] for _ in range(3)]
    page = http.get("/v1/batches", params={"limit": 2}).json()
    rest = http.get(page["next_url"]).json()
    assert [batch["id"] for batch in (*page["batches"], *rest["batches"])] == made[::-1]
    work_off(work)
    first = http.get(f"/v1/batches/{made[0]}/items", params={"limit": 2}).json()
    second = http.get(first["next_url"]).json()
    assert [job["custom_id"] for job in (*first["items"], *second["items"])] == [
        f"picture {i}" for i in range(3)
    ]
    assert second["next_url"] is None
    newest = http.get("/v1/jobs", params={"batch": made[1], "limit": 2}).json()
    older = http.get(newest["next_url"]).json()
    assert [job["custom_id"] for job in (*newest["jobs"], *older["jobs"])] == [
        "picture 2",
        "picture 1",
        "picture 0",
    ]
    for path in ("/v1/batches?page_token=x", f"/v1/batches/{made[0]}/items?page_token=x"):
        assert faults(http.get(path)) == [(None, "/query/page_token")]
    assert faults(http.get("/v1/batches?status=queued&limit=0")) == [
        (None, "/query/status"),
        (None, "/query/limit"),
    ]


def test_a_batch_that_is_not_there_or_anothers_is_a_404(http: httpx.Client) -> None:
    for path in ("", "/items", "/results.ndjson", "/errors.ndjson"):
        assert http.get(f"/v1/batches/batch_none{path}").status_code == 404
    for path in ("/cancel", "/retry"):
        assert http.post(f"/v1/batches/batch_none{path}").status_code == 404
    assert http.delete("/v1/batches/batch_none").status_code == 404
