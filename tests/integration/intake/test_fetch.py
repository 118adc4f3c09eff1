"""The guarded fetch against a real server that misbehaves."""

import gzip
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from ipaddress import ip_network

import pytest

from deploy.ports import free_port
from shared.errors import FetchFailed, FetchRefused, FetchUnreachable, PictureTooLarge
from shared.settings import Settings
from shared.web.targets import REFUSAL
from tests.support.web import Exchange, Web, content, drip, hang, redirect, status
from worker.intake.fetch import FetchPolicy, fetch

PICTURE = b"\x89PNG picture bytes"
LOOPBACK = (ip_network("127.0.0.0/8"),)
POLICY = FetchPolicy(bytes=100_000, seconds=10, trusted=LOOPBACK)


def names(**addresses: str | Sequence[str]) -> FetchPolicy:
    """The policy, with a name server that knows these names (`_` stands for `.`)."""

    def resolve(host: str, port: int) -> Sequence[str]:
        assert port
        found = addresses.get(host.replace(".", "_"))
        if found is None:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return [found] if isinstance(found, str) else found

    return replace(POLICY, resolve=resolve)


def test_a_picture_comes_as_it_is(web: Web) -> None:
    assert fetch(web.file("/a.png", PICTURE), POLICY) == PICTURE


def test_the_request_names_the_host_and_asks_for_plain_bytes(
    web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    web.file("/a.png", PICTURE)
    assert fetch(
        f"http://pictures.example.org:{web.port}/a.png?x=%20y", names(pictures_example_org="127.0.0.1")
    )
    (seen,) = web.seen
    assert seen.path == "/a.png?x=%20y"
    assert seen.headers["Host"] == f"pictures.example.org:{web.port}"
    assert seen.headers["Accept-Encoding"] == "identity"
    assert not {"Authorization", "Cookie", "Proxy-Authorization"} & seen.headers.keys()


def test_redirects_are_followed_up_to_the_limit(web: Web) -> None:
    web.file("/3", PICTURE)
    for number, code in enumerate((301, 302, 307)):
        web.route(f"/{number}", redirect(f"/{number + 1}", code))
    assert fetch(web.url + "/0", POLICY) == PICTURE
    with pytest.raises(FetchFailed, match="more than 2 times"):
        fetch(web.url + "/0", replace(POLICY, redirects=2))


def test_a_redirect_loop_ends(web: Web) -> None:
    web.route("/loop", redirect("/loop"))
    with pytest.raises(FetchFailed, match="more than 3 times"):
        fetch(web.url + "/loop", POLICY)
    assert len(web.seen) == 4


@pytest.mark.parametrize(
    "location",
    [
        "http://169.254.169.254/latest/meta-data/",
        "http://10.0.0.1/",
        "http://[::1]/",
        "http://[64:ff9b::169.254.169.254]/",
        "file:///etc/passwd",
        "http://u@127.0.0.1/",
        "//metadata.google.internal/",
    ],
)
def test_a_redirect_to_where_we_must_not_go_is_refused(web: Web, location: str) -> None:
    with pytest.raises(FetchRefused) as caught:
        fetch(web.route("/", redirect(location)), POLICY)
    assert caught.value.detail == REFUSAL


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "10.1.2.3", "[::ffff:127.0.0.1]", "localhost"])
def test_a_private_address_is_refused_without_a_connection(web: Web, host: str) -> None:
    with pytest.raises(FetchRefused) as caught:
        fetch(f"http://{host}:{web.port}/", replace(POLICY, trusted=(), ports=frozenset({web.port})))
    assert caught.value.detail == REFUSAL
    assert web.seen == []


def test_a_name_with_one_private_address_among_public_ones_is_refused(web: Web) -> None:
    policy = names(mixed_example_org=["127.0.0.1", "10.0.0.1"])
    with pytest.raises(FetchRefused):
        fetch(f"http://mixed.example.org:{web.port}/", policy)
    assert web.seen == []


def test_a_public_address_is_refused_on_another_port_than_the_allowed() -> None:
    """Port and address give the same words; nothing is connected to."""
    for port in (22, 6379, 8080):
        with pytest.raises(FetchRefused) as caught:
            fetch(f"http://public.example.org:{port}/", names(public_example_org="93.184.215.14"))
        assert caught.value.detail == REFUSAL


def test_the_names_of_a_private_network_are_not_looked_up() -> None:
    asked: list[str] = []

    def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(f"{host}:{port}")
        return ["127.0.0.1"]

    policy = replace(POLICY, trusted=(), resolve=resolve)
    for host in ("redis", "localhost", "db.internal", "nas.local"):
        with pytest.raises(FetchRefused):
            fetch(f"http://{host}/", policy)
    assert asked == []


def test_a_name_is_resolved_once_so_that_another_answer_changes_nothing(web: Web) -> None:
    """DNS rebinding: the second answer would lead elsewhere."""
    web.file("/a.png", PICTURE)
    answers = [["127.0.0.1"], ["169.254.169.254"]]
    policy = replace(POLICY, resolve=lambda host, port: answers.pop(0) if host and port else [])
    assert fetch(f"http://rebinding.example.org:{web.port}/a.png", policy) == PICTURE
    assert len(answers) == 1
    web.route("/again", redirect("/a.png"))
    with pytest.raises(FetchRefused):
        fetch(
            f"http://rebinding.example.org:{web.port}/again",
            replace(policy, resolve=lambda *_: [["127.0.0.1"], ["10.0.0.1"]][len(web.seen) > 1]),
        )


def test_the_second_address_is_tried_when_the_first_does_not_answer(web: Web) -> None:
    web.file("/a.png", PICTURE)
    policy = names(two_example_org=["127.0.0.2", "127.0.0.1"])
    assert fetch(f"http://two.example.org:{web.port}/a.png", policy) == PICTURE


def test_a_name_that_nobody_has_is_said_to_be_so() -> None:
    with pytest.raises(FetchFailed, match="No server has this name") as caught:
        fetch("http://nobody.example.org/", names())
    assert not caught.value.retryable


def test_a_name_server_that_is_away_or_silent_may_be_asked_again() -> None:
    def away(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_AGAIN, f"{host}:{port}")

    released = threading.Event()

    def silent(host: str, port: int) -> Sequence[str]:
        released.wait()
        return [f"{host}:{port}"]

    for resolve in (away, silent):
        with pytest.raises(FetchUnreachable):
            fetch("http://a.example.org/", replace(POLICY, resolve=resolve, seconds=0.3))
    released.set()


@pytest.mark.parametrize("code", [400, 401, 403, 404, 410, 204, 206, 304])
def test_a_refusal_by_the_server_is_final_and_carries_its_status(web: Web, code: int) -> None:
    with pytest.raises(FetchFailed, match=f"answered {code}"):
        fetch(web.route("/", status(code)), POLICY)


@pytest.mark.parametrize("code", [500, 502, 503, 504, 408, 429])
def test_trouble_at_the_server_may_pass(web: Web, code: int) -> None:
    with pytest.raises(FetchUnreachable, match=f"answered {code}") as caught:
        fetch(web.route("/", status(code)), POLICY)
    assert caught.value.retryable


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with pytest.raises(FetchUnreachable):
        fetch(f"http://127.0.0.1:{free_port()}/", POLICY)


def _slow_headers(exchange: Exchange) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"a" * 1000:
        exchange.wfile.write(bytes([byte]))
        if exchange.web.closing.wait(0.03):
            return


@pytest.mark.parametrize("answer", [hang, _slow_headers, drip(bytes(1000), every=0.03)])
def test_a_slow_server_is_left_at_the_deadline(web: Web, answer: object) -> None:
    web.otherwise(answer)  # type: ignore[arg-type]
    started = time.monotonic()
    with pytest.raises(FetchUnreachable):
        fetch(web.url + "/", replace(POLICY, seconds=0.6))
    assert time.monotonic() - started < 10


def test_redirects_share_one_deadline(web: Web) -> None:
    def late(exchange: Exchange) -> None:
        exchange.web.closing.wait(0.5)
        exchange.reply(302, Location="/")

    web.otherwise(late)
    with pytest.raises(FetchUnreachable):
        fetch(web.url + "/", replace(POLICY, seconds=0.7, redirects=10))


def test_a_body_that_is_too_large_is_not_read_to_its_end(web: Web) -> None:
    sent = 0

    def endless(exchange: Exchange) -> None:
        nonlocal sent
        exchange.send_response(200)
        exchange.end_headers()
        while not exchange.web.closing.is_set():
            exchange.wfile.write(bytes(65_536))
            sent += 65_536

    with pytest.raises(PictureTooLarge, match=r"more than 97\.66 KiB"):
        fetch(web.route("/endless", endless), POLICY)
    assert sent < 20 * 2**20
    with pytest.raises(PictureTooLarge):
        fetch(web.route("/announced", status(200, b"", Content_Length="100001")), POLICY)
    limit = bytes(100_000)
    assert fetch(web.file("/just", limit), POLICY) == limit


def test_a_length_that_lies_is_found_out(web: Web) -> None:
    def short(exchange: Exchange) -> None:
        exchange.reply(200, PICTURE, Content_Length=str(len(PICTURE) + 10))
        exchange.close_connection = True

    with pytest.raises(FetchUnreachable, match="broke off"):
        fetch(web.route("/short", short), POLICY)
    long = status(200, bytes(200_000), Content_Length="10")
    assert fetch(web.route("/long", long), POLICY) == bytes(10)
    with pytest.raises(FetchUnreachable):
        fetch(web.route("/odd", status(200, PICTURE, Content_Length="-1")), POLICY)


def test_compression_that_was_not_asked_for_is_not_undone(web: Web) -> None:
    bomb = gzip.compress(bytes(10_000_000))
    with pytest.raises(FetchFailed, match="compressed"):
        fetch(web.route("/", status(200, bomb, Content_Encoding="gzip")), POLICY)


def test_what_is_not_http_is_unreachable(web: Web) -> None:
    def noise(exchange: Exchange) -> None:
        exchange.wfile.write(b"220 mail.example.org ESMTP\r\n" * 10)
        exchange.close_connection = True

    def huge_header(exchange: Exchange) -> None:
        exchange.wfile.write(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 1_000_000)
        exchange.close_connection = True

    for answer in (noise, huge_header):
        with pytest.raises(FetchUnreachable):
            fetch(web.route("/", answer), POLICY)


def test_a_chunked_body_is_read(web: Web) -> None:
    def chunked(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Transfer-Encoding", "chunked")
        exchange.end_headers()
        for part in (PICTURE[:5], PICTURE[5:]):
            exchange.wfile.write(b"%x\r\n%s\r\n" % (len(part), part))
        exchange.wfile.write(b"0\r\n\r\n")

    assert fetch(web.route("/", chunked), POLICY) == PICTURE


def test_an_empty_body_is_for_the_decoder_to_refuse(web: Web) -> None:
    assert fetch(web.route("/", content(b"")), POLICY) == b""


def test_the_policy_comes_from_the_settings() -> None:
    policy = FetchPolicy.of(Settings(fetch_seconds=3, picture_bytes=2048, trusted_networks=LOOPBACK))
    assert (policy.seconds, policy.bytes, policy.redirects) == (3, 2048, 3)
    assert policy.ports == {80, 443}
    assert policy.trusted == LOOPBACK
