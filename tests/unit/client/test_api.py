"""What the client sends and how it reads the answers."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from client import (
    ApiError,
    Impasto,
    ImpastoError,
    JobFailed,
    Retries,
    Style,
    UnfinishedError,
    UnsendableError,
    WaitTimeoutError,
)
from client.models import AttemptError, Job, Progress
from shared.spec import Spec, SpecRequest
from tests.support.web import Exchange, Web, content, in_turn, status
from tests.unit.client.conftest import QUICK, Inbox, answer_json, job, problem, ticking

URL = "https://example.org/a.jpg"
DONE = job(
    status="succeeded",
    stage=None,
    queue=None,
    output={
        "url": "/v1/jobs/job_1/output",
        "width": 64,
        "height": 48,
        "bytes": 9,
        "sha256": "0" * 64,
        "content_type": "image/png",
    },
    metrics={"seconds": {"paint": 1.5}, "evaluations": 30, "loss": {"total": 2.0}},
)
FAILED = job(
    status="failed", stage=None, error={"code": "fetch_failed", "title": "Not fetched", "detail": "404"}
)


def test_addresses_and_references_are_passed_on_as_they_stand(web: Web, impasto: Impasto) -> None:
    inbox = Inbox(job(), 202)
    web.route("/v1/jobs", inbox)
    impasto.submit(URL, ["upload:up_1", "data:image/png;base64,AA==", (URL, 0.5), Style(URL, 2)])
    assert inbox.json == {
        "content": URL,
        "styles": [
            "upload:up_1",
            "data:image/png;base64,AA==",
            {"image": URL, "weight": 0.5},
            {"image": URL, "weight": 2},
        ],
    }


def test_files_and_bytes_are_uploaded_first(web: Web, impasto: Impasto, tmp_path: Path) -> None:
    uploads, jobs = Inbox({"id": "up_1", "image": "upload:up_1", "width": 4, "height": 3}, 201), Inbox(job())
    web.route("/v1/uploads", uploads)
    web.route("/v1/jobs", jobs)
    file = tmp_path / "bridge.jpg"
    file.write_bytes(b"JPEG of a bridge")
    impasto.submit(file, [str(file), b"bytes of a style"])
    assert jobs.json == {"content": "upload:up_1", "styles": ["upload:up_1", "upload:up_1"]}
    bridge, style = sorted(uploads.bodies, key=lambda body: b"JPEG of a bridge" not in body)
    assert b'name="file"; filename="bridge.jpg"' in bridge
    assert b"bytes of a style" in style


def test_masks_regions_and_the_start_are_references_or_uploaded_like_any_picture(
    web: Web, impasto: Impasto
) -> None:
    uploads, jobs = Inbox({"id": "up_1", "image": "upload:up_1"}, 201), Inbox(job(), 202)
    web.route("/v1/uploads", uploads)
    web.route("/v1/jobs", jobs)
    styles = [Style(URL, 0.5, mask=b"a mask", region=URL), Style(URL, region=b"a region")]
    impasto.submit(URL, styles, init=b"a sketch", spec={"init": "picture"})
    assert jobs.json == {
        "content": URL,
        "styles": [
            {"image": URL, "weight": 0.5, "mask": "upload:up_1", "region": URL},
            {"image": URL, "weight": 1.0, "region": "upload:up_1"},
        ],
        "init": "upload:up_1",
        "spec": {"init": "picture"},
    }
    sent = (b"a mask", b"a region", b"a sketch")
    assert sorted(next(one for one in sent if one in body) for body in uploads.bodies) == sorted(sent)


def test_a_file_that_is_not_there_is_found_before_anything_is_sent(web: Web, impasto: Impasto) -> None:
    with pytest.raises(FileNotFoundError):
        impasto.submit("no-such-file.jpg", [URL])
    assert web.seen == []


def test_the_scheme_of_an_address_may_be_written_in_capitals(web: Web, impasto: Impasto) -> None:
    inbox = Inbox(job())
    web.route("/v1/jobs", inbox)
    impasto.submit("HTTPS://Example.org/A.jpg", ["Upload:up_A", "Data:image/png;base64,AAAA"])
    assert inbox.json == {
        "content": "https://Example.org/A.jpg",
        "styles": ["upload:up_A", "data:image/png;base64,AAAA"],
    }


@pytest.mark.parametrize("address", ["ftp://example.org/a.jpg", "FILE:///a.jpg", "s3://bucket/a.jpg"])
def test_an_address_that_nobody_fetches_is_not_taken_for_a_file(
    web: Web, impasto: Impasto, address: str
) -> None:
    with pytest.raises(UnsendableError, match="an http or https address, a file, or upload:ID"):
        impasto.submit(URL, [address])
    assert web.seen == []


def test_a_single_picture_in_place_of_the_list_is_refused(impasto: Impasto) -> None:
    with pytest.raises(TypeError, match="in a list"):
        impasto.submit(URL, URL)


@pytest.mark.parametrize(
    ("spec", "sent"),
    [
        ({"size": 256}, {"size": 256}),
        (SpecRequest(size=256), {"size": 256, "preset": "painting"}),
        (Spec(size=256), Spec(size=256).model_dump(exclude_none=True)),
    ],
    ids=["mapping", "request", "spec"],
)
def test_a_spec_is_a_mapping_or_a_model(web: Web, impasto: Impasto, spec: Any, sent: dict[str, Any]) -> None:
    inbox = Inbox(job())
    web.route("/v1/jobs", inbox)
    impasto.submit(URL, [URL], spec=spec, metadata={"a": "b"}, priority=3, deadline_seconds=60)
    assert inbox.json["spec"] == sent
    assert (inbox.json["metadata"], inbox.json["priority"], inbox.json["deadline_seconds"]) == (
        {"a": "b"},
        3,
        60,
    )


def test_a_submit_that_is_repeated_carries_the_same_key(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs", in_turn(status(503), answer_json(job(), 202)))
    impasto.submit(URL, [URL])
    impasto.submit(URL, [URL])
    keys = [seen.headers["Idempotency-Key"] for seen in web.seen]
    assert keys[0] == keys[1]
    assert keys[2] != keys[1]


def test_a_key_of_the_callers_own_is_sent(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs", answer_json(job(), 202))
    impasto.submit(URL, [URL], idempotency_key="order-17")
    assert web.seen[0].headers["Idempotency-Key"] == "order-17"


@pytest.mark.parametrize("key", ["\u00e9", "order\n17", "order-17 "])
def test_a_key_that_no_header_can_carry_is_named(web: Web, impasto: Impasto, key: str) -> None:
    with pytest.raises(UnsendableError, match=r"^the Idempotency-Key "):
        impasto.submit(URL, [URL], idempotency_key=key)
    assert web.seen == []


def test_an_id_of_the_callers_own_is_put(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs/order%2017", answer_json(job(), 202))
    impasto.submit(URL, [URL], id="order 17")
    assert (web.seen[0].method, web.seen[0].path) == ("PUT", "/v1/jobs/order%2017")


@pytest.mark.parametrize("name", ["", ".", "..", "job_1/output", "caf\udce9"])
def test_an_id_that_no_path_can_name_is_not_sent(web: Web, impasto: Impasto, name: str) -> None:
    for call in (impasto.get, impasto.cancel, impasto.delete, impasto.batches.get, impasto.batches.delete):
        with pytest.raises(UnsendableError, match="is no ID"):
            call(name)
    with pytest.raises(UnsendableError, match="is no ID"):
        impasto.submit(b"a picture to be uploaded", [URL], id=name)
    assert web.seen == []


def test_the_token_is_sent_as_a_bearer(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs/job_1", answer_json(job()))
    impasto.get("job_1")
    assert web.seen[0].headers["Authorization"] == "Bearer a-long-random-string"


def test_address_and_token_come_from_the_environment(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IMPASTO_URL", web.url + "/behind/a/proxy/")
    monkeypatch.setenv("IMPASTO_TOKEN", "t")
    web.route("/behind/a/proxy/v1/jobs/job_1", answer_json(job()))
    with Impasto() as impasto:
        impasto.get("job_1")
    assert web.seen[0].headers["Authorization"] == "Bearer t"


def test_a_job_is_read_with_its_types_and_unknown_fields_are_left_aside() -> None:
    progress = {"step": 3, "steps": 9, "level": 0, "levels": 2, "loss": {"total": 1.5}, "fraction": 0.3}
    read = Job.from_json(job(progress=progress, brand_new="field"))
    assert read.created_at == datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert read.queue_position == 3
    assert read.progress == Progress(3, 9, 0, 2, {"total": 1.5})
    assert read.urls == {"self": "http://127.0.0.1/v1/jobs/job_1"}
    assert read.raw["brand_new"] == "field"
    assert not read.ended


def test_what_went_wrong_in_each_attempt_is_read_too() -> None:
    at, error = (
        "2026-01-31T12:00:00Z",
        {"code": "worker_lost", "title": "The worker was lost", "detail": "gone"},
    )
    shown = {**error, "pointer": None, "stage": "painting", "attempt": 1, "at": at}
    early = {**error, "pointer": None, "stage": None, "attempt": None, "at": None}
    read = Job.from_json(job(attempt_errors=[early, shown]))
    assert read.attempt_errors == (
        AttemptError(**error),
        AttemptError(**error, stage="painting", attempt=1, at=datetime(2026, 1, 31, 12, tzinfo=UTC)),
    )
    assert Job.from_json(job()).attempt_errors == ()


def test_pages_are_asked_for_as_they_are_needed(web: Web, impasto: Impasto) -> None:
    first = {"jobs": [job(id="a"), job(id="b")], "next_page_token": "t+/="}
    web.route("/v1/jobs", in_turn(answer_json(first), answer_json({"jobs": [job(id="c")]})))
    jobs = impasto.jobs(status="queued")
    assert [next(jobs).id, next(jobs).id] == ["a", "b"]
    assert len(web.seen) == 1
    assert [job.id for job in jobs] == ["c"]
    assert "page_token=t%2B%2F%3D" in web.seen[1].path
    assert "status=queued" in web.seen[1].path


def test_wait_polls_with_the_etag_and_tells_what_changed(web: Web, impasto: Impasto) -> None:
    web.route(
        "/v1/jobs/job_1",
        in_turn(
            answer_json(job(), ETag='W/"1"', Retry_After="0"),
            status(304, ETag='W/"1"', Retry_After="0"),
            answer_json(job(status="processing", stage="painting"), ETag='W/"2"', Retry_After="0"),
            answer_json(DONE, ETag='W/"3"'),
        ),
    )
    told: list[str] = []
    done = impasto.wait("job_1", on_progress=lambda job: told.append(job.status))
    assert told == ["queued", "processing", "succeeded"]
    assert done.metrics["evaluations"] == 30
    sent = [seen.headers.get("If-None-Match") for seen in web.seen]
    assert sent == [None, 'W/"1"', 'W/"1"', 'W/"2"']


def test_who_wants_every_change_is_told_the_first_state_at_once(web: Web, impasto: Impasto) -> None:
    """An answer is held until the end where the request does not say what is known."""
    first = answer_json(job(), ETag='W/"1"', Retry_After="0")
    last = answer_json(DONE, Preference_Applied="wait=20", ETag='W/"2"')
    web.route("/v1/jobs/job_1", in_turn(first, last))
    told: list[Job] = []
    impasto.wait("job_1", on_progress=told.append)
    assert len(told) == 2
    assert [seen.headers.get("Prefer") for seen in web.seen] == [None, "wait=20"]


def test_who_wants_only_the_end_has_the_first_answer_held(web: Web, impasto: Impasto) -> None:
    held = {"Preference_Applied": "wait=20", "ETag": 'W/"1"'}
    web.route("/v1/jobs/job_1", in_turn(answer_json(job(), **held), answer_json(DONE, **held)))
    impasto.wait("job_1")
    assert [seen.headers.get("Prefer") for seen in web.seen] == ["wait=20", "wait=20"]
    assert [seen.headers.get("If-None-Match") for seen in web.seen] == [None, None]


@pytest.mark.parametrize("end", ["failed", "canceled", "expired"])
def test_waiting_for_a_job_that_ends_without_a_picture_raises_with_the_job(
    web: Web, impasto: Impasto, end: str
) -> None:
    web.route("/v1/jobs/job_1", answer_json({**FAILED, "status": end}))
    with pytest.raises(JobFailed, match=f"job_1 {end}: 404") as caught:
        impasto.wait("job_1")
    assert caught.value.job.error is not None
    assert caught.value.job.error.code == "fetch_failed"


@pytest.mark.parametrize("seconds", ["999999999", "9" * 400])
def test_a_wait_looks_again_soon_whatever_the_service_asks_for(
    web: Web, impasto: Impasto, seconds: str
) -> None:
    web.route("/v1/jobs/job_1", in_turn(answer_json(job(), Retry_After=seconds), answer_json(DONE)))
    assert impasto.wait("job_1").succeeded


def test_waiting_ends_at_its_timeout_with_the_job_as_it_was(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs/job_1", answer_json(job(), Retry_After="600"))
    with pytest.raises(WaitTimeoutError) as caught:
        impasto.wait("job_1", timeout=0.05)
    assert caught.value.job.status == "queued"
    assert isinstance(caught.value, TimeoutError)


def test_waiting_goes_on_while_the_service_is_away(web: Web, impasto: Impasto) -> None:
    away = [status(503)] * (2 * QUICK.attempts)
    web.route("/v1/jobs/job_1", in_turn(answer_json(job(), Retry_After="0"), *away, answer_json(DONE)))
    assert impasto.wait("job_1").succeeded


def test_waiting_ends_when_the_service_stays_away(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.looking.time", ticking(0.1))
    web.route("/v1/jobs/job_1", status(503))
    hasty = Retries(attempts=1, first_seconds=0.001, absence_seconds=1)
    with Impasto(web.url, retries=hasty) as impasto, pytest.raises(ApiError):
        impasto.wait("job_1")
    assert len(web.seen) > 1


def test_waiting_for_a_job_that_is_not_there_ends_at_once(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs/job_1", problem(404, "not_found"))
    with pytest.raises(ApiError, match="not_found"):
        impasto.wait("job_1")
    assert len(web.seen) == 1


def test_there_is_nothing_to_download_of_a_job_without_a_picture(impasto: Impasto, tmp_path: Path) -> None:
    with pytest.raises(UnfinishedError):
        impasto.download(Job.from_json(job()), tmp_path / "a.png")
    with pytest.raises(JobFailed):
        impasto.download(Job.from_json(FAILED), tmp_path / "a.png")


def test_cancel_retry_and_delete_go_to_their_addresses(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs/job_1/cancel", answer_json(job(status="canceled")))
    web.route("/v1/jobs/job_1/retry", answer_json(job(id="job_2", retry_of="job_1"), 202))
    web.route("/v1/jobs/job_1", lambda exchange: exchange.reply(204))
    assert impasto.cancel("job_1").status == "canceled"
    assert impasto.retry("job_1").retry_of == "job_1"
    impasto.delete("job_1")
    assert [seen.method for seen in web.seen] == ["POST", "POST", "DELETE"]
    assert web.seen[1].headers["Idempotency-Key"]


def test_backbones_and_presets_are_read(web: Web, impasto: Impasto) -> None:
    web.route("/v1/backbones", answer_json({"backbones": [{"name": "compact", "available": True, "x": 1}]}))
    presets = [{"name": "fast", "description": "Quick.", "spec": {"size": 256}}]
    web.route("/v1/presets", answer_json({"default": "fast", "presets": presets}))
    assert [(one.name, one.available) for one in impasto.backbones()] == [("compact", True)]
    assert impasto.presets()[0].spec == {"size": 256}


@pytest.mark.parametrize("answer", [content(b"<html>", "text/html"), content(b"", "text/plain")])
def test_a_server_that_is_something_else_is_told_as_such(web: Web, impasto: Impasto, answer: Any) -> None:
    web.route("/v1/jobs/job_1", answer)
    with pytest.raises(ImpastoError, match="not as Impasto does"):
        impasto.get("job_1")


def test_a_problem_reaches_the_caller_with_its_code(web: Web, impasto: Impasto) -> None:
    def refuse(exchange: Exchange) -> None:
        problem(422, "backbone_unavailable", detail="No worker offers vgg19.")(exchange)

    web.route("/v1/jobs", refuse)
    with pytest.raises(ImpastoError, match=r"backbone_unavailable.*No worker offers vgg19"):
        impasto.submit(URL, [URL])
