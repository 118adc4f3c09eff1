"""Conditions and ranges of files, as RFC 9110 has them."""

from collections.abc import Mapping

import pytest
from flask import Flask, Response

from api import conditions
from shared.errors import PreconditionFailed

DATA = b"0123456789"
DATE = "Sat, 29 Oct 2044 19:43:31 GMT"


@pytest.fixture
def app() -> Flask:
    app = Flask(__name__)

    @app.get("/file")
    def file() -> Response:
        response = Response(DATA)
        response.set_etag("tag")
        try:
            return conditions.apply(response, len(DATA))
        except PreconditionFailed:
            return Response(status=412)

    return app


def ask(app: Flask, headers: Mapping[str, str], method: str = "GET") -> tuple[int, bytes]:
    answer = app.test_client().open("/file", method=method, headers=dict(headers))
    assert answer.status_code in (412, 416) or (
        answer.headers["ETag"] == '"tag"' and answer.headers["Accept-Ranges"] == "bytes"
    )
    if answer.status_code == 416:
        assert answer.headers["Content-Range"] == "bytes */10"
        return 416, b""
    if answer.status_code == 206:
        start, stop = answer.headers["Content-Range"].removeprefix("bytes ").removesuffix("/10").split("-")
        assert answer.data == DATA[int(start) : int(stop) + 1]
        assert answer.headers["Content-Length"] == str(len(answer.data))
    return answer.status_code, answer.data


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes=2-4", (206, b"234")),
        ("BYTES=2-4", (206, b"234")),
        ("bytes=0-0", (206, b"0")),
        ("bytes=7-", (206, b"789")),
        ("bytes=0-", (206, DATA)),
        ("bytes=7-999", (206, b"789")),
        ("bytes=-3", (206, b"789")),
        ("bytes=-10", (200, DATA)),
        ("bytes=-11", (200, DATA)),
        ("bytes=-0", (416, b"")),
        ("bytes=10-", (416, b"")),
        ("bytes=10-20", (416, b"")),
        ("bytes=4-2", (200, DATA)),
        ("bytes=0-1,4-5", (200, DATA)),
        ("bytes=0-1, -1", (200, DATA)),
        ("bytes=20-30,40-", (200, DATA)),
        ("lines=1-2", (200, DATA)),
        ("bytes", (200, DATA)),
        ("bytes=", (200, DATA)),
        ("bytes=-", (200, DATA)),
        ("bytes=a-b", (200, DATA)),
        ("bytes=\u0661-2", (200, DATA)),
    ],
)
def test_one_valid_range_is_served_and_others_are_ignored(
    app: Flask, header: str, expected: tuple[int, bytes]
) -> None:
    assert ask(app, {"Range": header}) == expected


@pytest.mark.parametrize("header", ["bytes=2-4", "bytes=99-", "nonsense"])
def test_head_is_answered_without_a_range(app: Flask, header: str) -> None:
    assert ask(app, {"Range": header}, "HEAD") == (200, b"")


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        ('"tag"', True),
        (' "tag" ', True),
        ('W/"tag"', False),
        ('"other"', False),
        ("tag", False),
        ('"tag", "other"', False),
        ("*", False),
        (DATE, False),
        ("", False),
    ],
)
def test_the_rest_is_sent_for_the_very_same_strong_tag_only(
    app: Flask, condition: str, *, holds: bool
) -> None:
    expected = (206, b"234") if holds else (200, DATA)
    assert ask(app, {"Range": "bytes=2-4", "If-Range": condition}) == expected
    beyond = {"Range": "bytes=99-", "If-Range": condition}
    assert ask(app, beyond)[0] == (416 if holds else 200), "a range that does not count cannot be wrong"
    assert ask(app, {"If-Range": condition}) == (200, DATA), "without a range it means nothing"


@pytest.mark.parametrize(
    ("condition", "known"),
    [('"tag"', True), ('W/"tag"', True), ('"a", W/"tag"', True), ("*", True), ('"other"', False)],
)
def test_who_has_it_is_told_so_before_ranges_are_looked_at(
    app: Flask, condition: str, *, known: bool
) -> None:
    headers = {"If-None-Match": condition}
    for method in ("GET", "HEAD"):
        assert ask(app, headers, method)[0] == (304 if known else 200)
    assert ask(app, {**headers, "Range": "bytes=2-4"})[0] == (304 if known else 206)
    assert ask(app, {**headers, "Range": "bytes=99-"})[0] == (304 if known else 416)
    assert ask(app, {**headers, "Range": "bytes=2-4", "If-Range": '"tag"'})[0] == (304 if known else 206)
    assert ask(app, {**headers, "Range": "bytes=2-4", "If-Range": DATE})[0] == (304 if known else 200)


@pytest.mark.parametrize(
    ("condition", "holds"),
    [('"tag"', True), ('"a", "tag"', True), ("*", True), ('W/"tag"', False), ('"other"', False)],
)
def test_who_expects_another_file_gets_none(app: Flask, condition: str, *, holds: bool) -> None:
    headers = {"If-Match": condition}
    assert ask(app, headers)[0] == (200 if holds else 412)
    assert ask(app, {**headers, "Range": "bytes=2-4"})[0] == (206 if holds else 412)
    assert ask(app, {**headers, "If-None-Match": '"tag"'})[0] == (304 if holds else 412)


def test_conditions_on_dates_are_none_where_there_is_no_date(app: Flask) -> None:
    assert ask(app, {"If-Modified-Since": DATE}) == (200, DATA)
    past = "Sat, 29 Oct 1994 19:43:31 GMT"
    assert ask(app, {"If-Unmodified-Since": past, "Range": "bytes=2-4"}) == (206, b"234")
