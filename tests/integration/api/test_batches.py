"""Batches over HTTP: what is taken, what is refused and where, and what is shown of them."""

import base64
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.keys import Key
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import CONTENT, STYLE, checked_client, finish, picture_bytes, start_painting
from tests.support.audit import audit
from tests.support.batches import chores, work_off
from tests.support.waiting import wait_for
from worker.chores.batches import BatchWork

NDJSON = {"Content-Type": "application/x-ndjson"}
DEFAULTS = {"styles": [STYLE], "spec": {"size": 256}, "metadata": {"order": "A-17"}}
ITEMS = [{"custom_id": f"picture {index}", "content": f"{CONTENT}?{index}"} for index in range(3)]
Post = Callable[..., dict[str, Any]]


def ndjson(*lines: Any) -> bytes:
    return "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines).encode()


def faults(answer: httpx.Response) -> list[tuple[int | None, str]]:
    assert answer.status_code == 422, answer.text
    return [(error.get("line"), error["pointer"]) for error in answer.json()["errors"]]


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
def listed(http: httpx.Client, work: BatchWork) -> Callable[[dict[str, Any]], list[dict[str, Any]]]:
    """The jobs of a batch, once all are made."""

    def items(batch: dict[str, Any]) -> list[dict[str, Any]]:
        work_off(work)
        found: list[dict[str, Any]] = http.get(batch["urls"]["items"]).json()["items"]
        return found

    return items


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
    http: httpx.Client, listed: Callable[..., list[dict[str, Any]]], kind: str
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


def test_ndjson_needs_no_first_line_of_its_own_and_no_last_newline(
    http: httpx.Client, listed: Callable[..., list[dict[str, Any]]]
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
        answer = client.post("/v1/batches", content=pieces(body) if chunked else body, headers=LATER)
        assert answer.status_code == 413
        assert len(list(objects.list("batches/"))) == before, "what had come in is deleted"


def pieces(body: bytes) -> Iterator[bytes]:
    for start in range(0, len(body), 50_000):
        yield body[start : start + 50_000]


def test_lines_may_come_in_any_pieces(
    http: httpx.Client, listed: Callable[..., list[dict[str, Any]]]
) -> None:
    body = ndjson({"defaults": DEFAULTS}, *ITEMS)
    answer = http.post(
        "/v1/batches", content=(body[i : i + 7] for i in range(0, len(body), 7)), headers=NDJSON
    )
    assert len(listed(answer.json())) == 3


def test_uploads_and_pictures_inside_the_request_are_shared_by_its_items(
    http: httpx.Client, listed: Callable[..., list[dict[str, Any]]], redis_client: redis.Redis
) -> None:
    import base64

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


LATER = NDJSON | {"Prefer": "respond-async"}


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


def test_a_batch_whose_lines_the_store_has_lost_says_so_and_what_to_do(
    http: httpx.Client, redis_client: redis.Redis, settings: Settings, objects: ObjectStore
) -> None:
    items = [{"custom_id": f"{i}", "content": f"{CONTENT}?{i}"} for i in range(3)]
    batch = http.post("/v1/batches", content=ndjson({"defaults": DEFAULTS}, *items), headers=NDJSON).json()
    assert batch["error"] is None
    objects.delete(f"batches/{batch['id']}/items/000000.ndjson")
    work = chores(redis_client, settings.model_copy(update={"retry_delay": 0.01}), objects)

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
    assert (now["status"], now["counts"]["total"], now["counts"]["queued"]) == ("failed", 1200, 0)
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


def test_pictures_of_items_that_never_became_jobs_are_kept_to_be_tried_again_until_their_batch_goes(
    http: httpx.Client, work: BatchWork, redis_client: redis.Redis, post: Post
) -> None:
    inside = "data:image/png;base64," + base64.b64encode(picture_bytes()).decode()
    deleted = post({"content": inside, "styles": [inside]})
    http.post(deleted["urls"]["cancel"])
    work_off(work)
    [sha256] = redis_client.hkeys(Key.REFS)
    again = http.post(deleted["urls"]["retry"]).json()
    http.delete(deleted["urls"]["self"])
    work_off(work)
    assert redis_client.hget(Key.REFS, sha256) is None, "both batches are over"
    assert http.get(again["urls"]["self"]).json()["status"] == "failed"
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


def test_the_retry_of_a_batch_that_is_deleted_meanwhile_fails(
    http: httpx.Client, work: BatchWork, post: Post
) -> None:
    batch = post()
    http.post(batch["urls"]["cancel"])
    again = http.post(batch["urls"]["retry"]).json()
    http.delete(batch["urls"]["self"])
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


def test_an_item_may_have_a_webhook_as_a_job_may(
    http: httpx.Client, listed: Callable[..., list[dict[str, Any]]]
) -> None:
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
