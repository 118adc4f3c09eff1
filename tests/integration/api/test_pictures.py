"""Uploads, results and previews."""

import hashlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import BODY, ApiServer, checked_client, finish, picture_bytes, start_painting
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for

Submit = Callable[..., dict[str, Any]]


def test_an_upload_is_kept_clean_and_may_be_named_by_a_job(http: httpx.Client, objects: ObjectStore) -> None:
    answer = http.post("/v1/uploads", files={"file": ("bridge.jpg", picture_bytes(64, 48, "JPEG"))})
    assert answer.status_code == 201
    upload = answer.json()
    assert upload["image"] == f"upload:{upload['id']}"
    assert upload["id"].startswith("up_")
    assert (upload["width"], upload["height"]) == (64, 48)
    kept = objects.get(f"inputs/{upload['sha256']}")
    assert (hashlib.sha256(kept).hexdigest(), len(kept)) == (upload["sha256"], upload["bytes"])
    assert kept.startswith(b"\x89PNG")


def test_a_picture_may_be_the_body_itself(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/uploads", content=picture_bytes(64, 48, "WEBP"), headers={"Content-Type": "image/webp"}
    )
    assert (answer.status_code, answer.json()["width"]) == (201, 64)


def test_several_pictures_are_answered_in_order(http: httpx.Client) -> None:
    files = [("file", (f"{width}.png", picture_bytes(width, 20))) for width in (20, 30)]
    answer = http.post("/v1/uploads", files=files)
    assert [upload["width"] for upload in answer.json()["uploads"]] == [20, 30]


def test_bad_pictures_are_all_named_and_none_is_kept(http: httpx.Client, objects: ObjectStore) -> None:
    before = {stat.key for stat in objects.list("inputs/")}
    files = [("file", ("a", picture_bytes())), ("file", ("b", b"text")), ("file", ("c", b""))]
    answer = http.post("/v1/uploads", files=files)
    assert (answer.status_code, answer.json()["code"]) == (422, "picture_unreadable")
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/file/1", "/file/2"]
    assert {stat.key for stat in objects.list("inputs/")} == before


def test_a_form_without_the_field_says_its_name(http: httpx.Client) -> None:
    answer = http.post("/v1/uploads", files={"image": picture_bytes()})
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/image", "/file"}
    assert answer.status_code == 422


@pytest.mark.parametrize("content_type", ["text/html", "application/json", ""])
def test_other_bodies_are_refused_by_their_type(http: httpx.Client, content_type: str) -> None:
    answer = http.post("/v1/uploads", content=b"x", headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("boundary", ["", "; boundary=", "; boundary=x"])
def test_a_broken_form_is_a_problem(http: httpx.Client, boundary: str) -> None:
    headers = {"Content-Type": f"multipart/form-data{boundary}"}
    answer = http.post("/v1/uploads", content=b"--x\r\nnonsense", headers=headers)
    assert answer.status_code in (400, 422)


def test_an_upload_over_the_limit_is_too_large(http: httpx.Client) -> None:
    body = b"x" * (33 * 2**20)
    answer = http.post("/v1/uploads", content=body, headers={"Content-Type": "image/png"})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_result_is_streamed_with_its_type_name_and_hash(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    data = picture_bytes()
    sha256 = hashlib.sha256(data).hexdigest()
    job = submit()
    finish(store, objects, start_painting(store), data, sha256)
    answer = http.get(http.get(job["urls"]["self"]).json()["output"]["url"])
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Content-Type"] == "image/png"
    assert answer.headers["Content-Disposition"] == f'inline; filename="{job["id"]}.png"'
    assert answer.headers["ETag"] == f'"{sha256}"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    again = http.get(job["urls"]["output"], headers={"If-None-Match": f'"{sha256}"'})
    assert (again.status_code, again.content) == (304, b"")


def test_a_range_of_a_result_is_served(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    data = picture_bytes()
    job = submit()
    finish(store, objects, start_painting(store), data, hashlib.sha256(data).hexdigest())
    answer = http.get(job["urls"]["output"], headers={"Range": "bytes=4-9"})
    assert (answer.status_code, answer.content) == (206, data[4:10])
    assert answer.headers["Content-Range"] == f"bytes 4-9/{len(data)}"
    beyond = http.get(job["urls"]["output"], headers={"Range": "bytes=999999-"})
    assert (beyond.status_code, beyond.json()["code"]) == (416, "range_not_satisfiable")
    assert beyond.headers["Content-Range"] == f"bytes */{len(data)}"


@pytest.mark.parametrize(
    "header",
    ["bytes=9-4", "bytes=x", "bytes=4", "bytes=", "bytes=0-1,4-5", "bytes=--5", "bytes=-99999", "lines=1-2"],
)
def test_a_range_that_is_not_one_valid_one_is_ignored(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore, header: str
) -> None:
    data = picture_bytes()
    job = submit()
    finish(store, objects, start_painting(store), data, hashlib.sha256(data).hexdigest())
    answer = http.get(job["urls"]["output"], headers={"Range": header})
    assert (answer.status_code, answer.content) == (200, data)
    assert answer.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize("header", ["bytes=999999-", "bytes=999999-9999999", "bytes=-0"])
def test_a_valid_range_that_the_picture_has_not_is_a_416(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore, header: str
) -> None:
    job = submit()
    finish(store, objects, start_painting(store), picture_bytes(), "0" * 64)
    answer = http.get(job["urls"]["output"], headers={"Range": header})
    assert (answer.status_code, answer.json()["code"]) == (416, "range_not_satisfiable")


@pytest.mark.parametrize("accept", ["application/json", "application/json, */*;q=0.5"])
def test_who_prefers_json_is_told_the_pictures_address(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore, accept: str
) -> None:
    job = submit()
    finish(store, objects, start_painting(store), picture_bytes(), "0" * 64)
    answer = http.get(job["urls"]["output"], headers={"Accept": accept})
    assert (answer.status_code, answer.json()) == (200, {"url": job["urls"]["output"]})
    assert (answer.headers["Vary"], answer.headers["Cache-Control"]) == ("Accept", "no-store")


@pytest.mark.parametrize("accept", ["*/*", "image/*", "application/json, text/plain, */*", ""])
def test_without_a_preference_for_json_the_picture_is_answered(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore, accept: str
) -> None:
    job = submit()
    finish(store, objects, start_painting(store), picture_bytes(), "0" * 64)
    answer = http.get(job["urls"]["output"], headers={"Accept": accept})
    assert (answer.headers["Content-Type"], answer.headers["Vary"]) == ("image/png", "Accept")


def test_with_s3_the_address_is_a_signed_one(
    tmp_path: Path, valkey_server: ValkeyServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    path = f"/v1/jobs/{submit()['id']}/output"
    key = finish(store, objects, start_painting(store), picture_bytes(), "0" * 64)
    bucket = "http://127.0.0.1:1/paintings"  # signing asks no server
    s3 = {"storage": "s3", "s3_endpoint": "http://127.0.0.1:1", "s3_bucket": "paintings"}
    keys = {"s3_access_key": "key", "s3_secret_key": "secret"}
    with ApiServer(tmp_path, valkey_server.url, **s3, **keys) as server, checked_client(server.url) as http:
        told = http.get(path, headers={"Accept": "application/json"})
        sent = http.get(path)
    assert told.status_code == 200
    assert told.json()["url"].startswith(f"{bucket}/{key}?")
    assert "X-Amz-Signature=" in told.json()["url"]
    assert (sent.status_code, sent.headers["Vary"]) == (302, "Accept")
    assert sent.headers["Location"].startswith(f"{bucket}/{key}?")


def test_there_is_no_result_before_the_end(http: httpx.Client, submit: Submit) -> None:
    answer = http.get(submit()["urls"]["output"])
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert "queued" in answer.json()["detail"]


def test_a_result_whose_object_is_gone_is_not_found(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    objects.delete(finish(store, objects, start_painting(store), b"x", "0" * 64))
    assert http.get(job["urls"]["output"]).status_code == 404


def test_a_preview_is_there_once_the_worker_has_stored_one(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    assert http.get(job["urls"]["preview"]).json()["code"] == "not_found"
    claim = start_painting(store)
    key, data = f"previews/{claim.job.uid}", picture_bytes(kind="JPEG")
    objects.put(key, data, "image/jpeg")
    store.renew(claim, preview_key=key)
    answer = http.get(job["urls"]["preview"])
    assert (answer.status_code, answer.content, answer.headers["Content-Type"]) == (200, data, "image/jpeg")
    headers = {"If-None-Match": answer.headers["ETag"]}
    assert http.get(job["urls"]["preview"], headers=headers).status_code == 304
    newer = picture_bytes(kind="JPEG")
    objects.put(key, newer, "image/jpeg")
    assert http.get(job["urls"]["preview"], headers=headers).content == newer


def test_a_file_name_has_nothing_that_a_shell_or_a_header_could_mistake(
    http: httpx.Client, store: JobStore, objects: ObjectStore
) -> None:
    body = {"content": "https://example.org/1.jpg", "styles": ["https://example.org/2.jpg"]}
    http.put("/v1/jobs/..~a", json=body)
    finish(store, objects, start_painting(store), b"x", "0" * 64)
    answer = http.get("/v1/jobs/..~a/output")
    assert answer.headers["Content-Disposition"] == 'inline; filename="a.png"'


def test_a_picture_that_went_before_its_job_is_gone_and_the_job_says_when(
    http: httpx.Client, submit: Submit, redis_client: redis.Redis, settings: Settings, objects: ObjectStore
) -> None:
    store = JobStore(redis_client, settings.model_copy(update={"output_seconds": 0.001}))
    job = submit(retention_seconds=3600)
    data = picture_bytes()
    finish(store, objects, start_painting(store), data, hashlib.sha256(data).hexdigest())
    wait_for(lambda: store.expire_outputs(1)[0], "the output's time to be over")
    answer = http.get(f"/v1/jobs/{job['id']}/output")
    assert (answer.status_code, answer.json()["code"]) == (410, "output_expired")
    shown = http.get(f"/v1/jobs/{job['id']}").json()
    assert (shown["status"], shown["output"]) == ("succeeded", None)
    assert shown["completed_at"] <= shown["output_expires_at"] < shown["expires_at"]
    kept = datetime.fromisoformat(shown["expires_at"]) - datetime.fromisoformat(shown["completed_at"])
    assert kept.total_seconds() == 3600


@pytest.mark.parametrize("seconds", [0, -1, 0.5, "7"])
def test_a_retention_that_is_no_time_is_refused(http: httpx.Client, seconds: object) -> None:
    answer = http.post("/v1/jobs", json=BODY | {"retention_seconds": seconds})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/retention_seconds")
