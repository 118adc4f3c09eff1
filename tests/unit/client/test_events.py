"""Events are read as the standard says, and gone on with where a connection broke off."""

import json
from itertools import pairwise
from typing import Any

import pytest

from client import ApiError, Impasto, Retries, UnreachableError
from client.errors import ImpastoError
from client.events import EventReader
from tests.support.web import Exchange, Web, in_turn, status
from tests.unit.client.conftest import answer_json, batch, job, problem, stream, ticking

PATH = "/v1/jobs/job_1/events"


def told(data: dict[str, Any], id: str = "", type: str = "job") -> bytes:  # noqa: A002
    lines = [f"event: {type}", *([f"id: {id}"] if id else []), f"data: {json.dumps(data)}", "", ""]
    return "\n".join(lines).encode()


def test_lines_may_end_in_any_of_three_ways_and_arrive_in_any_pieces() -> None:
    text = 'event: a\rid: 1\rdata: {"x":\rdata: 1}\r\r\n: ping\n\n'
    text += 'event: b\r\ndata:{"é": 2}\r\n\r\nretry: 250\n\n'
    data = b"\xef\xbb\xbf" + text.encode()
    for size in (1, 2, 3, 7, len(data)):
        reader = EventReader()
        found = [
            event for start in range(0, len(data), size) for event in reader.feed(data[start : start + size])
        ]
        assert [(event.type, dict(event.data), event.id) for event in found] == [
            ("a", {"x": 1}, "1"),
            ("b", {"é": 2}, "1"),
        ], size
        assert (reader.last_id, reader.retry) == ("1", 0.25)


def test_a_pause_beyond_all_bounds_is_passed_over() -> None:
    reader = EventReader()
    assert list(reader.feed(b"retry: 250\nretry: " + b"9" * 5000 + b"\n\n")) == []
    assert reader.retry == 0.25


def test_a_line_separator_inside_the_data_ends_no_line() -> None:
    [event] = EventReader().feed('data: {"x": "a\u2028b\x85c"}\n\n'.encode())
    assert event.data == {"x": "a\u2028b\x85c"}


def test_what_is_unfinished_or_without_data_is_no_event() -> None:
    assert list(EventReader().feed(b"event: x\n\nid: 4\n\ndata: {}\n")) == []


def test_an_event_that_is_not_json_is_an_error() -> None:
    with pytest.raises(ImpastoError, match="not JSON"):
        list(EventReader().feed(b"data: hello\n\n"))


def test_a_line_without_an_end_is_an_error_and_not_kept_forever() -> None:
    reader = EventReader()
    pieces = (event for _ in range(40) for event in reader.feed(b"x" * 2**16))
    with pytest.raises(ImpastoError, match="does not end"):
        list(pieces)


def test_events_are_told_until_the_job_has_ended(web: Web, impasto: Impasto) -> None:
    first, last = job(status="processing"), job(status="succeeded", stage=None)
    web.route(PATH, stream(told(first, "1") + b": ping\n\n", told(last, "2"), told(first, "3")))
    assert [(event.id, event.data["status"]) for event in impasto.events("job_1")] == [
        ("1", "processing"),
        ("2", "succeeded"),
    ]
    assert web.seen[0].headers["Accept"] == "text/event-stream"


def test_a_connection_that_breaks_off_is_made_again_after_the_last_event(web: Web, impasto: Impasto) -> None:
    first, last = told(job(), "7"), told(job(status="failed"), "8")
    web.route(PATH, in_turn(stream(b"retry: 1\n\n" + first + last[:20]), status(503), stream(last)))
    assert [event.id for event in impasto.events("job_1")] == ["7", "8"]
    assert [seen.headers.get("Last-Event-ID") for seen in web.seen] == [None, "7", "7"]


def test_one_can_begin_after_an_event_of_an_earlier_time(web: Web, impasto: Impasto) -> None:
    web.route(PATH, stream(told(job(status="failed"), "8")))
    assert len(list(impasto.events("job_1", last_event_id="7"))) == 1
    assert web.seen[0].headers["Last-Event-ID"] == "7"


@pytest.mark.parametrize("without", [status(404), status(406), answer_json({})], ids=["404", "406", "json"])
def test_without_events_changes_are_polled_for(web: Web, impasto: Impasto, without: Any) -> None:
    web.route(PATH, without)
    web.route(
        "/v1/jobs/job_1",
        in_turn(
            answer_json(job(), ETag='"1"', Retry_After="0"),
            status(304, ETag='"1"', Retry_After="0"),
            answer_json(job(status="succeeded"), ETag='"2"'),
        ),
    )
    events = list(impasto.events("job_1"))
    assert [(event.type, event.data["status"]) for event in events] == [
        ("job", "queued"),
        ("job", "succeeded"),
    ]


def test_a_refusal_ends_the_events(web: Web, impasto: Impasto) -> None:
    web.route(PATH, problem(401, "unauthorized"))
    with pytest.raises(ApiError, match="unauthorized"):
        list(impasto.events("job_1"))
    assert len(web.seen) == 1


def test_a_service_that_stays_away_ends_the_events(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.events.time", ticking(0.1))

    def drop(exchange: Exchange) -> None:
        exchange.close_connection = True

    web.route(PATH, drop)
    hasty = Retries(first_seconds=0.01, absence_seconds=1)
    with Impasto(web.url, retries=hasty) as impasto, pytest.raises(UnreachableError):
        list(impasto.events("job_1"))
    assert len(web.seen) > 1


def test_204_says_that_nothing_follows(web: Web, impasto: Impasto) -> None:
    web.route(PATH, in_turn(stream(told(job(), "1")), status(204)))
    assert len(list(impasto.events("job_1"))) == 1


def test_whoever_stops_listening_closes_the_connection(web: Web, impasto: Impasto) -> None:
    web.route(PATH, stream(*(told(job(), str(n)) for n in range(50))))
    events = impasto.events("job_1")
    assert next(events).id == "0"
    events.close()  # type: ignore[attr-defined]
    assert len(web.seen) == 1


def test_a_batch_has_events_too(web: Web, impasto: Impasto) -> None:
    ends = told(batch(status="completed"), "3", "batch")
    item = told({"id": "job_1", "status": "failed"}, "2", "item")
    web.route("/v1/batches/batch_1/events", stream(told(batch(), "1", "batch"), item, ends))
    assert [(event.type, event.data["status"]) for event in impasto.batches.events("batch_1")] == [
        ("batch", "processing"),
        ("item", "failed"),
        ("batch", "completed"),
    ]


def test_the_pauses_between_connections_are_bounded(web: Web, impasto: Impasto) -> None:
    web.route(
        PATH, in_turn(*[stream(told(job(), str(n))) for n in range(5)], stream(told(job(status="failed"))))
    )
    ids = [event.id for event in impasto.events("job_1")]
    assert all(one != other for one, other in pairwise(ids[:-1]))
    assert len(web.seen) == 6
