"""What is particular to the store on an S3 server: addresses for callers, and servers that fail."""

import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from deploy.ports import free_port
from shared.errors import StorageUnavailable
from shared.objects import ObjectMissingError, open_objects
from shared.objects.s3 import Patience, S3Objects
from tests.support.s3 import S3Server
from tests.support.web import Exchange, Web, content, drip, hang, in_turn, status

BUSY = status(
    503, b"<Error><Code>SlowDown</Code><Message>later</Message></Error>", Content_Type="application/xml"
)


IMPATIENT = Patience(read_seconds=0.5, tries=1, transfer_seconds=0.3)


def at(endpoint: str, tmp_path: Path, patience: Patience | None = None, **more: object) -> S3Objects:
    """The store at an address that is no real S3 server."""
    settings = S3Server(endpoint, "key", "secret", "us-east-1").settings(tmp_path, **more)
    return S3Objects(settings, patience or Patience())


@pytest.fixture
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Retries follow at once; botocore's pauses are not what is tested."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)


def test_a_presigned_address_serves_the_object_with_the_type_and_name_given(
    s3: S3Server, tmp_path: Path
) -> None:
    store = open_objects(s3.settings(tmp_path))
    store.put("outputs/u/1-a.png", b"picture", "application/octet-stream")
    url = store.url("outputs/u/1-a.png", seconds=60, filename="job_1.png", content_type="image/png")
    assert url is not None
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"picture"
        assert answer.headers["Content-Type"] == "image/png"
        assert answer.headers["Content-Disposition"] == 'inline; filename="job_1.png"'


def test_an_object_is_not_public(s3: S3Server, tmp_path: Path) -> None:
    settings = s3.settings(tmp_path)
    store = open_objects(settings)
    store.put("outputs/u/1-a.png", b"picture", "image/png")
    if s3.process:
        pytest.skip("moto does not check signatures; .ci/run starts a server that does, where it can")
    with pytest.raises(urllib.error.HTTPError) as caught:
        urllib.request.urlopen(f"{s3.endpoint}/{settings.s3_bucket}/outputs/u/1-a.png")
    caught.value.close()
    assert caught.value.code in {400, 401, 403}


def test_addresses_are_signed_for_the_endpoint_that_callers_reach(tmp_path: Path) -> None:
    store = at("http://127.0.0.1:1", tmp_path, s3_public_endpoint="https://pictures.example.org")
    url = store.url("outputs/u/1-a.png", seconds=60, filename="x.png", content_type="image/png")
    assert url is not None
    assert url.startswith("https://pictures.example.org/impasto-")
    assert "X-Amz-Algorithm=AWS4-HMAC-SHA256" in url


def test_a_filename_cannot_write_headers(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not an object key"):
        at("http://127.0.0.1:1", tmp_path).url(
            "outputs/u/a.png", seconds=60, filename='x"\r\nA: b', content_type="image/png"
        )


def test_a_bucket_that_is_missing_reads_as_empty_and_is_made_by_the_first_put(
    s3: S3Server, tmp_path: Path
) -> None:
    store = open_objects(s3.settings(tmp_path))
    assert store.stat("inputs/a") is None
    assert list(store.list("")) == []
    store.delete("inputs/a")
    with pytest.raises(ObjectMissingError):
        store.get("inputs/a")
    store.put("inputs/a", b"a", "image/png")
    assert store.get("inputs/a") == b"a"


def test_more_than_a_page_is_listed(s3: S3Server, tmp_path: Path) -> None:
    store = open_objects(s3.settings(tmp_path))
    store._client.meta.events.register(  # type: ignore[attr-defined]
        "provide-client-params.s3.ListObjectsV2", lambda params, **_: {**params, "MaxKeys": 2}
    )
    keys = {f"inputs/{number}" for number in range(5)}
    for key in keys:
        store.put(key, b"x", "image/png")
    assert {found.key for found in store.list("inputs/")} == keys


def test_a_server_that_is_down_is_storage_unavailable_in_bounded_time(tmp_path: Path) -> None:
    store = at(f"http://127.0.0.1:{free_port()}", tmp_path)
    started = time.monotonic()
    with pytest.raises(StorageUnavailable, match="EndpointConnectionError"):
        store.put("inputs/a", b"a", "image/png")
    assert time.monotonic() - started < 10
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        store.check()
    assert time.monotonic() - started < 5


def test_a_fault_does_not_tell_the_address(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable) as caught:
        at(f"http://127.0.0.1:{free_port()}", tmp_path).check()
    assert "127.0.0.1" not in caught.value.detail


@pytest.mark.usefixtures("no_pauses")
def test_three_faults_in_a_row_pass_unnoticed(web: Web, tmp_path: Path) -> None:
    web.otherwise(in_turn(BUSY, BUSY, status(500), content(b"here")))
    assert at(web.url, tmp_path).get("inputs/a") == b"here"
    web.otherwise(in_turn(BUSY, status(500), BUSY, status(200)))
    at(web.url, tmp_path).put("inputs/a", b"a", "image/png")


@pytest.mark.usefixtures("no_pauses")
def test_faults_without_end_are_storage_unavailable(web: Web, tmp_path: Path) -> None:
    web.otherwise(BUSY)
    store = at(web.url, tmp_path)
    with pytest.raises(StorageUnavailable, match="SlowDown"):
        store.get("inputs/a")
    with pytest.raises(StorageUnavailable, match="SlowDown"):
        store.put("inputs/a", b"a", "image/png")
    with pytest.raises(StorageUnavailable):
        store.stat("inputs/a")
    with pytest.raises(StorageUnavailable):
        list(store.list(""))
    with pytest.raises(StorageUnavailable):
        store.delete("inputs/a")


def test_a_refusal_is_storage_unavailable_and_not_a_missing_object(web: Web, tmp_path: Path) -> None:
    web.otherwise(status(403, b"<Error><Code>AccessDenied</Code></Error>", Content_Type="application/xml"))
    store = at(web.url, tmp_path)
    with pytest.raises(StorageUnavailable, match="AccessDenied"):
        store.get("inputs/a")
    with pytest.raises(StorageUnavailable):
        store.stat("inputs/a")


@pytest.mark.usefixtures("no_pauses")
def test_a_body_that_breaks_off_is_asked_for_again(web: Web, tmp_path: Path) -> None:
    def broken(exchange: Exchange) -> None:
        exchange.reply(200, b"only ha", Content_Length="9")
        exchange.close_connection = True

    web.otherwise(in_turn(broken, broken, content(b"only half")))
    assert at(web.url, tmp_path).get("inputs/a") == b"only half"
    web.otherwise(broken)
    with pytest.raises(StorageUnavailable):
        at(web.url, tmp_path).get("inputs/a")


def test_a_server_that_hangs_or_drips_does_not_hold_us(web: Web, tmp_path: Path) -> None:
    store = at(web.url, tmp_path, IMPATIENT)
    started = time.monotonic()
    for answer in (hang, drip(bytes(1000), every=0.05)):
        web.otherwise(answer)
        with pytest.raises(StorageUnavailable):
            store.get("inputs/a")
    assert time.monotonic() - started < 10


def test_a_server_that_takes_a_body_slowly_does_not_hold_us(web: Web, tmp_path: Path) -> None:
    def sip(exchange: Exchange) -> None:
        while exchange.rfile.read1(4096) and not exchange.web.closing.wait(0.02):
            pass

    web.otherwise(sip)
    store = at(web.url, tmp_path, Patience(read_seconds=5.0, tries=1, transfer_seconds=0.5))
    started = time.monotonic()
    with pytest.raises(StorageUnavailable):
        store.put("inputs/a", bytes(20 * 2**20), "image/png")
    assert time.monotonic() - started < 30


def test_no_checksum_is_added_that_only_some_servers_know(web: Web, tmp_path: Path) -> None:
    web.otherwise(status(200))
    at(web.url, tmp_path).put("inputs/a", b"a", "image/png")
    (seen,) = web.seen
    assert not [name for name in seen.headers if "checksum" in name.lower() or "trailer" in name.lower()]
