"""The service as a whole: owners, readiness, outages, how it starts."""

import json
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.backbones import BACKBONES
from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers
from shared.spec import PRESETS, resolve
from tests.support.api import BODY, ROOT, ApiServer, checked_client, environment, gunicorn, picture_bytes
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.waiting import wait_for

TOKENS = '{"alice": "alice-secret", "bob": "bob-secret"}'


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("guarded"), valkey_server.url, api_tokens=TOKENS) as running:
        yield running


@pytest.fixture
def alice(guarded: ApiServer) -> Iterator[httpx.Client]:
    with checked_client(guarded.url, headers={"Authorization": "Bearer alice-secret"}) as client:
        yield client


@pytest.fixture
def bob(guarded: ApiServer) -> Iterator[httpx.Client]:
    with checked_client(guarded.url, headers={"Authorization": "Bearer bob-secret"}) as client:
        yield client


def test_an_owner_sees_nothing_of_another(alice: httpx.Client, bob: httpx.Client) -> None:
    job = alice.post("/v1/jobs", json=BODY).json()
    path = f"/v1/jobs/{job['id']}"
    assert alice.get(path).status_code == 200
    for answer in (
        bob.get(path),
        bob.get(f"{path}/output"),
        bob.get(f"{path}/preview"),
        bob.post(f"{path}/cancel"),
        bob.post(f"{path}/retry"),
        bob.delete(path),
    ):
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert bob.get("/v1/jobs").json()["jobs"] == []
    assert alice.get(path).json()["status"] == "queued"


def test_two_owners_may_use_the_same_id_and_key(alice: httpx.Client, bob: httpx.Client) -> None:
    assert [client.put("/v1/jobs/mine", json=BODY).status_code for client in (alice, bob)] == [202, 202]
    headers = {"Idempotency-Key": "once"}
    ids = {client.post("/v1/jobs", json=BODY, headers=headers).json()["id"] for client in (alice, bob)}
    assert len(ids) == 2


def test_an_upload_belongs_to_its_owner(alice: httpx.Client, bob: httpx.Client) -> None:
    image = alice.post("/v1/uploads", files={"file": picture_bytes()}).json()["image"]
    answer = bob.post("/v1/jobs", json=BODY | {"content": image})
    assert (answer.status_code, answer.json()["code"]) == (422, "upload_not_found")
    assert alice.post("/v1/jobs", json=BODY | {"content": image}).status_code == 202


def test_without_a_token_there_is_no_way_in(guarded: ApiServer) -> None:
    with checked_client(guarded.url) as stranger:
        assert stranger.get("/v1/jobs").status_code == 401
        assert stranger.get("/healthz").status_code == 200


def test_backbones_say_who_is_live(http: httpx.Client, painter: Workers) -> None:
    catalogue = http.get("/v1/backbones").json()
    assert catalogue["auto"] == "compact"
    assert [one["name"] for one in catalogue["backbones"]] == list(BACKBONES)
    assert {one["name"] for one in catalogue["backbones"] if one["available"]} == {"compact", "vgg19"}
    painter.advertise(WorkerInfo("gpu", Queue.PAINT, ("compact", "vgg19"), "cuda:0"), 60)
    catalogue = http.get("/v1/backbones").json()
    assert catalogue["auto"] == "vgg19"
    assert catalogue["backbones"][1]["devices"] == ["cpu", "cuda:0"]


def test_what_workers_offer_beyond_the_catalogue_is_listed_without_layers(
    http: httpx.Client, painter: Workers
) -> None:
    painter.advertise(WorkerInfo("other", Queue.PAINT, ("regnet_y_400mf",), "cpu"), 60)
    last = http.get("/v1/backbones").json()["backbones"][-1]
    assert (last["name"], last["available"], last["shipped"]) == ("regnet_y_400mf", True, False)
    assert (last["layers"], last["content_layers"], last["style_layers"]) == ([], {}, {})


def test_presets_show_every_value(http: httpx.Client) -> None:
    presets = http.get("/v1/presets").json()
    assert presets["default"] == "painting"
    shown = {one["name"]: one["spec"] for one in presets["presets"]}
    assert shown.keys() == PRESETS.keys()
    open_ = {"backbone": "auto", "content_layers": None, "style_layers": None}
    for name, spec in shown.items():
        meant = resolve({"preset": name}, BACKBONES["compact"]).model_dump(mode="json")
        assert spec == meant | open_, name


def test_the_service_is_ready_when_both_stores_answer(http: httpx.Client) -> None:
    assert http.get("/readyz").json() == {"status": "ready", "painters": 1}


def test_a_store_that_dies_or_hangs_is_a_503_in_time_and_comes_back(tmp_path: Path) -> None:
    valkey = start_valkey(tmp_path / "valkey", options=("--appendfsync", "always"))
    # It is the budget of a request that keeps it short: a connection alone would wait for a minute.
    given = {"redis_timeout": "60", "lease_seconds": "61", "api_redis_seconds": "1.2"}
    try:
        with ApiServer(tmp_path, valkey.url, **given) as server, checked_client(server.url) as http:
            _advertise(valkey.url)

            def put(name: str) -> httpx.Response | None:
                # A server that is held up for a moment is a 503, too: asked again.
                answer = http.put(f"/v1/jobs/{name}", json=BODY)
                return answer if answer.status_code == 202 else None

            wait_for(lambda: put("before"), "a job to be accepted")

            valkey.kill()
            _all_are_503_within(http, 15.0)
            assert "request find-me: store_unavailable" in server.log.read_text()
            assert http.get("/healthz").status_code == 200
            valkey.restart()
            wait_for(lambda: _ok(http.get("/readyz")), "the API to be ready again")
            wait_for(lambda: _ok(http.get("/v1/jobs/before")), "the job to be there")
            wait_for(lambda: put("between"), "another job to be accepted")

            valkey.freeze()
            _all_are_503_within(http, 15.0)
            valkey.thaw()
            wait_for(lambda: _ok(http.get("/readyz")), "the API to be ready again")

            started = time.monotonic()
            server.stop()
            assert time.monotonic() - started < 20, "an idle connection held up the end"
    finally:
        valkey.kill()


def test_an_object_store_that_refuses_is_a_503(tmp_path: Path, valkey: str) -> None:
    (tmp_path / "objects").write_text("a file where the folder should be")
    with ApiServer(tmp_path, valkey) as server, checked_client(server.url) as http:
        for answer in (http.get("/readyz"), http.post("/v1/uploads", files={"file": picture_bytes()})):
            assert (answer.status_code, answer.json()["code"]) == (503, "storage_unavailable")


def test_it_does_not_start_beyond_loopback_without_tokens(tmp_path: Path) -> None:
    given = {"data_dir": str(tmp_path), "api_host": "0.0.0.0", "api_port": "0"}
    done = subprocess.run(
        gunicorn(), cwd=ROOT, env=environment(given), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode != 0
    assert "IMPASTO_API_TOKENS" in done.stderr
    assert "Traceback" not in done.stderr


def test_it_logs_one_line_for_a_request_and_none_where_that_is_switched_off(
    server: ApiServer, http: httpx.Client, tmp_path: Path, valkey: str
) -> None:
    before = server.log.read_text()
    http.get("/v1/presets?token=hidden")
    http.get("/healthz")
    http.post("/v1/jobs", json=BODY)
    lines = server.log.read_text().removeprefix(before).splitlines()
    said = [line.partition("impasto.access: ")[2].partition(" in ")[0] for line in lines]
    assert said == ["GET /v1/presets 200", "POST /v1/jobs 202"]
    with ApiServer(tmp_path, valkey, access_log="false") as silent, checked_client(silent.url) as quiet:
        before = silent.log.read_text()
        quiet.get("/v1/presets")
        quiet.post("/v1/jobs", json=BODY)
        assert silent.log.read_text() == before


def _advertise(url: str) -> None:
    with redis.Redis.from_url(url, decode_responses=True) as client:
        Workers(client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)


def _all_are_503_within(http: httpx.Client, seconds: float) -> None:
    requests: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "/v1/jobs", {"json": BODY}),
        ("PUT", "/v1/jobs/mine", {"json": BODY}),
        ("GET", "/v1/jobs/mine", {}),
        ("GET", "/v1/jobs", {}),
        ("GET", "/v1/backbones", {}),
        ("GET", "/readyz", {}),
    ]
    for method, path, options in requests:
        started = time.monotonic()
        answer = http.request(method, path, headers={"X-Request-Id": "find-me"}, **options)
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable"), path
        assert int(answer.headers["Retry-After"]) > 0
        assert time.monotonic() - started < seconds, path


def _ok(answer: httpx.Response) -> bool:
    return answer.status_code == 200


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET /v1/jobs?" + b"x" * 5000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 9000 + b"\r\n\r\n", 431),
        (b"nonsense <script>\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost:\r\nConnection: close\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n", 400),
        (b"GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400),
        (b"GET http://localhost/healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_or_for_another_host_is_answered_with_a_problem_too(
    server: ApiServer, request_bytes: bytes, status: int
) -> None:
    with socket.create_connection(("127.0.0.1", httpx.URL(server.url).port or 0), timeout=10) as connection:
        connection.sendall(request_bytes)
        head, _, body = connection.makefile("rb").read().partition(b"\r\n\r\n")
    assert head.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"application/problem+json" in head
    assert json.loads(body)["status"] == status
