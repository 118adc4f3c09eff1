"""What is written of a record once, and what is filled in anew."""

from collections.abc import Callable

import pytest
from flask import Flask

from api.jobs import shown, wire
from api.recent import Recent
from shared.errors import ErrorInfo
from shared.jobs.eta import Outlook
from shared.jobs.record import Job, Output, PaintProgress, Stage, Status
from tests.unit.api.records import job

PAINTING = PaintProgress(step=100, steps=430, level=2, levels=3, loss={"content": 0.25})
OUTPUT = Output("outputs/uid_1/1-a.png", "f00", 10, 3, 2, "image/png")
CASES = [
    (job(), Outlook(3, 41.4567)),
    (job(), Outlook(1, None)),
    (job(), None),
    (job(status=Status.PROCESSING, stage=Stage.PAINTING, progress=PAINTING), Outlook(None, 8.44)),
    (job(status=Status.PROCESSING, stage=Stage.PAINTING, progress=PAINTING), None),
    (
        job(status=Status.SUCCEEDED, stage=None, progress=PAINTING, output=OUTPUT, seconds={"paint": 8.5}),
        None,
    ),
    (job(status=Status.FAILED, stage=None, error=ErrorInfo("fetch_failed", "No", "404", "/content")), None),
    (job(metadata={"queue": '"progress":null,"queue":null', "id": "ü {0} %s"}), Outlook(2, 1.0)),
]


@pytest.mark.parametrize(("record", "outlook"), CASES)
def test_what_was_kept_reads_as_what_is_written_anew(
    record: Job, outlook: Outlook | None, make_app: Callable[..., Flask]
) -> None:
    app, texts = make_app(), Recent(2**20)
    with app.test_request_context(base_url="http://paint.example.org"):
        anew = wire.job_view(record, outlook).model_dump_json()
        assert shown.text(record, Outlook(77, 77.7), texts) != anew
        assert shown.text(record, outlook, texts) == anew


def test_another_version_and_another_address_are_written_anew(make_app: Callable[..., Flask]) -> None:
    app, texts = make_app(), Recent(2**20)
    found = set()
    for host in ("one.example.org", "two.example.org"):
        for version in (4, 5):
            record = job(version=version, priority=version)
            with app.test_request_context(base_url=f"http://{host}"):
                found.add(shown.text(record, None, texts))
                assert shown.text(record, None, texts) == wire.job_view(record, None).model_dump_json()
    assert len(found) == 4


def test_what_was_asked_for_longest_ago_is_forgotten_first() -> None:
    recent: Recent[str, int] = Recent(20)
    recent.keep("a", 1, 10)
    recent.keep("b", 2, 10)
    assert recent.get("a") == 1
    recent.keep("c", 3, 10)
    assert [recent.get(name) for name in "abc"] == [1, None, 3]
    recent.keep("a", 4, 5)
    recent.keep("d", 5, 5)
    assert [recent.get(name) for name in "acd"] == [4, 3, 5]


def test_what_is_larger_than_all_the_room_is_not_remembered() -> None:
    recent: Recent[str, int] = Recent(20)
    recent.keep("a", 1, 10)
    recent.keep("b", 2, 21)
    assert [recent.get(name) for name in "ab"] == [None, None]
    recent.keep("c", 3, 20)
    assert recent.get("c") == 3
