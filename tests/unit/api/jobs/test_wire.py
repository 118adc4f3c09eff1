from collections.abc import Callable
from typing import Any

import pytest
from flask import Flask

from api.jobs import wire
from shared.errors import ErrorInfo
from shared.jobs.eta import Outlook
from shared.jobs.pictures import Picture
from shared.jobs.record import Job, Output, PaintProgress, Stage, Status
from tests.unit.api.records import job


def shown(app: Flask, record: Job, outlook: Outlook | None = None) -> dict[str, Any]:
    with app.test_request_context(base_url="http://paint.example.org"):
        return wire.job_view(record, outlook).model_dump(mode="json")


def test_a_waiting_job_shows_its_place_and_nothing_that_is_not_yet(make_app: Callable[..., Flask]) -> None:
    view = shown(make_app(), job(), Outlook(3, 41.4567))
    assert view["queue"] == {"position": 3, "eta_seconds": 41.5}
    assert [view[name] for name in ("progress", "output", "error", "started_at", "metrics")] == [None] * 5
    assert view["created_at"] == "2023-11-14T22:13:20.123Z"
    assert view["styles"] == [
        {
            "image": "upload:up_1",
            "weight": 0.5,
            "width": 640,
            "height": 480,
            "sha256": "abc",
            "mask": None,
            "region": None,
        }
    ]
    assert view["init"] is None
    assert view["urls"]["cancel"] == "http://paint.example.org/v1/jobs/A-17/cancel"


def test_masks_and_the_picture_to_start_from_are_shown_where_they_belong(
    make_app: Callable[..., Flask],
) -> None:
    mask = Picture("upload:up_2", key="inputs/def", sha256="def", width=8, height=6)
    style = Picture("upload:up_1", mask=mask, region=Picture("https://example.org/sky.png"))
    view = shown(make_app(), job(styles=(style,), init=mask))
    plain = {"image": "upload:up_2", "weight": 1.0, "width": 8, "height": 6, "sha256": "def"}
    assert view["styles"][0]["mask"] == view["init"] == plain
    assert view["styles"][0]["region"]["image"] == "https://example.org/sky.png"
    assert view["styles"][0]["region"]["sha256"] is None


def test_object_keys_and_worker_names_stay_inside(make_app: Callable[..., Flask]) -> None:
    output = Output("outputs/uid_1/1-a.png", "f00", 10, 3, 2, "image/png")
    record = job(
        status=Status.SUCCEEDED, stage=None, output=output, worker="painter-7", preview_key="previews/u"
    )
    text = str(shown(make_app(), record))
    for secret in ("outputs/", "inputs/", "previews/", "painter-7", "uid_1", "alice", "body_hash"):
        assert secret not in text


def test_an_ended_job_shows_its_picture_and_what_it_cost(make_app: Callable[..., Flask]) -> None:
    output = Output("outputs/uid_1/1-a.png", "f00", 10, 3, 2, "image/png")
    record = job(
        status=Status.SUCCEEDED,
        stage=None,
        output=output,
        completed_at=1_700_000_009.0,
        seconds={"paint": 8.5},
        evaluations=430,
        batch=4,
        loss={"style": 0.5},
    )
    view = shown(make_app(), record)
    assert view["output"] == {
        "url": "http://paint.example.org/v1/jobs/A-17/output",
        "width": 3,
        "height": 2,
        "bytes": 10,
        "sha256": "f00",
        "content_type": "image/png",
    }
    assert view["metrics"] == {
        "seconds": {"paint": 8.5},
        "evaluations": 430,
        "batch": 4,
        "loss": {"style": 0.5},
    }
    assert view["completed_at"] == "2023-11-14T22:13:29.000Z"


def test_a_failed_job_says_why(make_app: Callable[..., Flask]) -> None:
    error = ErrorInfo("fetch_failed", "The picture could not be fetched", "404 from example.org", "/content")
    view = shown(make_app(), job(status=Status.FAILED, stage=None, error=error))
    assert view["error"] == {
        "code": "fetch_failed",
        "title": "The picture could not be fetched",
        "detail": "404 from example.org",
        "pointer": "/content",
    }


def test_progress_is_a_share_of_the_steps(make_app: Callable[..., Flask]) -> None:
    progress = PaintProgress(step=100, steps=430, level=2, levels=3, loss={"content": 0.25})
    record = job(status=Status.PROCESSING, stage=Stage.PAINTING, progress=progress)
    view = shown(make_app(), record, Outlook(None, 8.44))
    assert view["progress"] == {
        "fraction": 0.2326,
        "step": 100,
        "steps": 430,
        "level": 2,
        "levels": 3,
        "loss": {"content": 0.25},
        "eta_seconds": 8.4,
    }


@pytest.mark.parametrize(
    ("change", "outlook", "expected"),
    [
        ({}, None, 1),
        ({}, Outlook(3, None), 2),
        ({}, Outlook(500, None), 10),
        ({}, Outlook(3, 1.0), 1),
        ({}, Outlook(3, 30.0), 15),
        ({}, Outlook(500, 4000.0), 60),
        ({"status": Status.PROCESSING, "stage": Stage.PAINTING}, None, 1),
        ({"status": Status.PROCESSING, "stage": Stage.PAINTING}, Outlook(None, 8.0), 4),
        ({"status": Status.PROCESSING, "stage": Stage.PAINTING}, Outlook(None, 500.0), 10),
        ({"status": Status.SUCCEEDED, "stage": None}, None, None),
        ({"status": Status.EXPIRED, "stage": None}, None, None),
    ],
)
def test_the_next_poll_is_suggested_for_half_of_what_is_left(
    change: dict[str, Any], outlook: Outlook | None, expected: int | None
) -> None:
    assert wire.retry_after(job(**change), outlook) == expected


def test_the_etag_changes_with_record_version_and_place() -> None:
    tags = {
        wire.etag(job(), None),
        wire.etag(job(), Outlook(1, None)),
        wire.etag(job(), Outlook(2, None)),
        wire.etag(job(version=5), Outlook(1, None)),
        wire.etag(job(uid="uid_2"), Outlook(1, None)),
    }
    assert len(tags) == 5


def test_the_etag_leaves_out_what_is_never_the_same_twice() -> None:
    assert wire.etag(job(), Outlook(1, 5.0)) == wire.etag(job(), Outlook(1, 4.0))
