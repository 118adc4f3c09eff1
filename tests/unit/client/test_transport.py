"""Requests that are repeated, refusals that are read, downloads that are whole or not there."""

import hashlib
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from client import ApiError, DamagedError, Impasto, ImpastoError, UnreachableError, UnsendableError
from client.core import Call, Core
from client.errors import FieldError
from client.retries import Retries
from client.transport import Transport
from tests.support.web import Exchange, Web, content, in_turn, redirect, status
from tests.unit.client.conftest import QUICK, TOKEN, answer_json, problem, ticking

PICTURE = b"a picture" * 1000
SHA256 = hashlib.sha256(PICTURE).hexdigest()


class Caller:
    """Makes requests of one service, blocking."""

    def __init__(
        self, url: str, token: str | None = None, retries: Retries = QUICK, timeout: float = 30
    ) -> None:
        self._core, self._transport = Core(url, token, timeout, retries), Transport(timeout)

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        return self._transport.run(self._core.request(Call(method, path, **options)))

    def save(self, url: str, path: Path, *options: Any, **more: Any) -> None:
        self._transport.run(self._core.save(url, path, *options, **more))

    def remove(self, path: str) -> None:
        self._transport.run(self._core.remove(path))

    def close(self) -> None:
        self._transport.close()


@pytest.fixture
def transport(web: Web) -> Iterator[Caller]:
    with closing(Caller(web.url, TOKEN)) as caller:
        yield caller


def cut(exchange: Exchange) -> None:
    """Half of what was announced, then the end."""
    exchange.reply(200, PICTURE[:100], Content_Length=str(len(PICTURE)))
    exchange.close_connection = True


def drop(exchange: Exchange) -> None:
    """The connection ends without an answer."""
    exchange.close_connection = True


@pytest.mark.parametrize(
    "bad",
    [status(503), status(429, Retry_After="0"), status(502), drop],
    ids=["503", "429", "502", "dropped"],
)
def test_a_service_that_is_away_for_a_moment_is_asked_again(web: Web, transport: Caller, bad: object) -> None:
    web.route("/x", in_turn(bad, bad, answer_json({"ok": True})))  # type: ignore[arg-type]
    assert transport.request("GET", "x").json() == {"ok": True}
    assert len(web.seen) == 3


def test_it_gives_up_after_so_many_attempts_with_the_last_refusal(web: Web, transport: Caller) -> None:
    web.route("/x", problem(503, "store_unavailable"))
    with pytest.raises(ApiError) as caught:
        transport.request("GET", "x")
    assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
    assert len(web.seen) == QUICK.attempts


def test_a_retry_after_beyond_our_patience_ends_the_attempts(web: Web, transport: Caller) -> None:
    web.route("/x", status(503, Retry_After="3600"))
    with pytest.raises(ApiError):
        transport.request("GET", "x")
    assert len(web.seen) == 1


def test_a_refusal_is_not_repeated_and_tells_every_fault(web: Web, transport: Caller) -> None:
    errors = [{"pointer": "/spec/size", "detail": "too small"}, {"pointer": "/styles", "detail": "missing"}]
    web.route("/x", problem(422, "invalid_request", errors=errors, request_id="r1", detail="Two faults."))
    with pytest.raises(ApiError) as caught:
        transport.request("POST", "x", json={})
    assert caught.value.errors == (FieldError("/spec/size", "too small"), FieldError("/styles", "missing"))
    assert caught.value.request_id == "r1"
    assert "Two faults." in str(caught.value)
    assert len(web.seen) == 1


@pytest.mark.parametrize("body", [b"<html>Bad Gateway</html>", b"[]", b""])
def test_an_error_that_is_no_problem_document_is_told_all_the_same(
    web: Web, transport: Caller, body: bytes
) -> None:
    web.route("/x", status(500, body, Content_Type="text/html"))
    with pytest.raises(ApiError) as caught:
        transport.request("GET", "x")
    assert (caught.value.status, caught.value.code) == (500, "http_error")


def test_a_redirect_of_a_request_is_an_error_and_not_followed(web: Web, transport: Caller) -> None:
    web.route("/x", redirect(web.url + "/y"))
    with pytest.raises(ApiError) as caught:
        transport.request("GET", "x")
    assert caught.value.status == 302
    assert [seen.path for seen in web.seen] == ["/x"]


def test_nobody_listening_is_unreachable_and_names_the_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with closing(Caller(url, timeout=1)) as nobody, pytest.raises(UnreachableError, match=url):
            nobody.request("GET", "x")


@pytest.mark.parametrize("url", ["127.0.0.1:8000", "ftp://example.org", "http://"])
def test_an_address_that_is_not_http_is_refused_at_once(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        Impasto(url)


@pytest.mark.parametrize(
    ("token", "says"),
    [
        ("s3cret\u00e9", "not ASCII"),
        ("s3cret\udcff", "not ASCII"),
        ("s3cret\n", "begins or ends with a space or a line break"),
        (" s3cret", "begins or ends with a space"),
        ("s3cret\r\nX-Other: 1", "line break or another control character in it"),
        ("s3cret\x00t", "control character"),
    ],
)
def test_a_token_that_no_header_can_carry_is_refused_at_once_and_not_shown(token: str, says: str) -> None:
    with pytest.raises(UnsendableError, match=f"^the token .*{says}") as caught:
        Impasto("http://127.0.0.1:9", token)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("value", ["", "a b", "a\tb", "!~"])
def test_what_a_header_can_carry_is_sent_as_it_is(web: Web, transport: Caller, value: str) -> None:
    web.route("/x", answer_json({}))
    transport.request("GET", "x", headers={"X-Value": value})
    assert web.seen[0].headers["X-Value"] == value


def test_the_token_goes_to_the_service_and_not_where_it_redirects(
    web: Web, transport: Caller, tmp_path: Path
) -> None:
    with Web() as store:
        web.route("/v1/jobs/a/output", redirect(store.file("/bucket/a", PICTURE)))
        transport.save(web.url + "/v1/jobs/a/output", tmp_path / "a.png", SHA256)
        assert web.seen[0].headers["Authorization"] == f"Bearer {TOKEN}"
        assert "Authorization" not in store.seen[0].headers
    assert (tmp_path / "a.png").read_bytes() == PICTURE


def test_the_token_does_not_go_to_an_address_elsewhere(transport: Caller, tmp_path: Path) -> None:
    with Web() as store:
        transport.save(store.file("/a", PICTURE), tmp_path / "a.png", SHA256)
        assert "Authorization" not in store.seen[0].headers


def test_a_download_that_breaks_off_begins_again(web: Web, transport: Caller, tmp_path: Path) -> None:
    url = web.route("/a", in_turn(cut, content(PICTURE)))
    transport.save(url, tmp_path / "a.png", SHA256)
    assert (tmp_path / "a.png").read_bytes() == PICTURE
    assert len(web.seen) == 2


def test_a_damaged_download_writes_nothing_and_leaves_what_was_there(
    web: Web, transport: Caller, tmp_path: Path
) -> None:
    target = tmp_path / "a.png"
    target.write_bytes(b"from yesterday")
    url = web.file("/a", PICTURE[:-1] + b"!")
    with pytest.raises(DamagedError, match=SHA256):
        transport.save(url, target, SHA256)
    assert target.read_bytes() == b"from yesterday"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    assert len(web.seen) == QUICK.attempts


def test_a_download_into_a_folder_that_is_not_there_is_an_error_of_ours(
    web: Web, transport: Caller, tmp_path: Path
) -> None:
    url = web.file("/a", PICTURE)
    with pytest.raises(FileNotFoundError):
        transport.save(url, tmp_path / "none" / "a.png", SHA256)
    assert len(web.seen) == 1


def test_a_download_tells_how_much_has_come(web: Web, transport: Caller, tmp_path: Path) -> None:
    told: list[tuple[int, int | None]] = []
    url = web.file("/a", PICTURE)
    transport.save(url, tmp_path / "a.png", SHA256, lambda received, total: told.append((received, total)))
    assert told[-1] == (len(PICTURE), len(PICTURE))


def test_one_attempt_means_one_request(web: Web) -> None:
    web.route("/x", status(503))
    with closing(Caller(web.url, retries=Retries(attempts=1))) as once, pytest.raises(ApiError):
        once.request("GET", "x")
    assert len(web.seen) == 1


@pytest.mark.parametrize("bad", [status(502), status(504), drop], ids=["502", "504", "dropped"])
def test_a_request_that_may_have_been_done_is_not_sent_twice(web: Web, transport: Caller, bad: Any) -> None:
    web.route("/x", bad)
    with pytest.raises(ImpastoError):
        transport.request("POST", "x", json={})
    assert len(web.seen) == 1
    with pytest.raises(ImpastoError):
        transport.request("POST", "x", json={}, headers={"Idempotency-Key": "k"})
    assert len(web.seen) == 1 + QUICK.attempts


def test_a_request_that_was_not_done_is_sent_again_whatever_it_is(web: Web, transport: Caller) -> None:
    web.route("/x", in_turn(status(503), status(429, Retry_After="0"), answer_json({})))
    transport.request("POST", "x", json={})
    assert len(web.seen) == 3


def test_a_delete_that_was_done_before_its_answer_was_lost_is_done(web: Web, transport: Caller) -> None:
    web.route("/x", in_turn(drop, problem(404, "not_found")))
    transport.remove("x")
    assert [seen.method for seen in web.seen] == ["DELETE", "DELETE"]
    with pytest.raises(ApiError, match="not_found"):
        transport.remove("x")


def test_a_retry_after_may_be_a_date(web: Web) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=2), usegmt=True)  # at least one from now
    web.route("/x", in_turn(status(503, Retry_After=later), answer_json({})))
    began = time.monotonic()
    with closing(Caller(web.url, TOKEN, replace(QUICK, patience_seconds=5))) as patient:
        patient.request("GET", "x")
    assert time.monotonic() - began > 10 * QUICK.longest_seconds


def test_attempts_end_with_the_total_time(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.core.time", ticking(0.05))
    web.route("/x", status(503))
    patient = Retries(attempts=10_000, first_seconds=0.01, longest_seconds=0.01, total_seconds=0.2)
    with closing(Caller(web.url, retries=patient)) as caller, pytest.raises(ApiError):
        caller.request("GET", "x")
    assert len(web.seen) == 4
