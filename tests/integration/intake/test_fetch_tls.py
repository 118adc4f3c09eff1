"""TLS of the guarded fetch: verified, and by the name although the connection goes to an address."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network

import pytest

from shared.errors import FetchFailed, FetchUnreachable
from tests.support.certificates import Authority
from tests.support.web import Web, redirect
from worker.intake.fetch import FetchPolicy, fetch

PICTURE = b"picture"
NAME = "pictures.example.org"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def policy(authority: Authority) -> FetchPolicy:
    return FetchPolicy(
        bytes=1000,
        seconds=10,
        trusted=(ip_network("127.0.0.0/8"),),
        resolve=lambda *_: ["127.0.0.1"],
        tls=authority.trusting(),
    )


@pytest.fixture
def secure(authority: Authority) -> Iterator[Web]:
    with Web(tls=authority.serving(NAME)) as web:
        web.file("/a.png", PICTURE)
        yield web


def test_a_server_is_verified_by_its_name_at_the_pinned_address(secure: Web, policy: FetchPolicy) -> None:
    asked_for: list[str | None] = []
    assert secure.context is not None
    secure.context.sni_callback = lambda *given: asked_for.append(given[1])
    assert fetch(f"https://{NAME}:{secure.port}/a.png", policy) == PICTURE
    assert asked_for == [NAME]
    assert secure.seen[0].headers["Host"] == f"{NAME}:{secure.port}"


def test_a_certificate_for_another_name_is_refused(secure: Web, policy: FetchPolicy) -> None:
    with pytest.raises(FetchFailed, match="certificate") as caught:
        fetch(f"https://other.example.org:{secure.port}/a.png", policy)
    assert not caught.value.retryable
    with pytest.raises(FetchFailed, match="certificate"):
        fetch(f"https://127.0.0.1:{secure.port}/a.png", policy)
    assert secure.seen == []


def test_a_certificate_by_an_unknown_authority_is_refused(secure: Web, policy: FetchPolicy) -> None:
    usual = FetchPolicy(bytes=1000, seconds=10, trusted=policy.trusted, resolve=policy.resolve)
    with pytest.raises(FetchFailed, match="certificate"):
        fetch(f"https://{NAME}:{secure.port}/a.png", usual)
    assert secure.seen == []


def test_an_address_can_have_a_certificate_too(authority: Authority, policy: FetchPolicy) -> None:
    with Web(tls=authority.serving("127.0.0.1")) as web:
        web.file("/a.png", PICTURE)
        assert fetch(f"https://127.0.0.1:{web.port}/a.png", policy) == PICTURE


def test_a_redirect_to_tls_is_verified_as_well(secure: Web, web: Web, policy: FetchPolicy) -> None:
    good = web.route("/good", redirect(f"https://{NAME}:{secure.port}/a.png"))
    assert fetch(good, policy) == PICTURE
    with pytest.raises(FetchFailed, match="certificate"):
        fetch(web.route("/bad", redirect(f"https://other.example.org:{secure.port}/a.png")), policy)


def test_a_server_without_tls_is_unreachable_by_https(web: Web, policy: FetchPolicy) -> None:
    with pytest.raises(FetchUnreachable):
        fetch(f"https://{NAME}:{web.port}/", replace(policy, seconds=3))
