"""Requests that wait, and streams of events, over real sockets."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.keys import Key
from shared.jobs.record import PaintProgress, Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.objects import ObjectStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.api import BODY, ApiServer, checked_client, finish, start_painting
from tests.support.streams import Stream
from tests.support.valkey import start_valkey
from tests.support.waiting import wait_for

Submit = Callable[..., dict[str, Any]]


def in_background(call: Callable[[], httpx.Response]) -> "tuple[threading.Thread, list[httpx.Response]]":
    answers: list[httpx.Response] = []
    thread = threading.Thread(target=lambda: answers.append(call()), daemon=True)
    thread.start()
    return thread, answers


def complete(store: JobStore, objects: ObjectStore) -> None:
    finish(store, objects, start_painting(store), b"picture", "0" * 64)


# Requests that wait.


def test_a_poll_that_waits_is_answered_when_the_job_has_ended(
    http: httpx.Client, server: ApiServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    thread, answers = in_background(lambda: http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"}))
    wait_for(server.held, "the poll to be held")
    claim = start_painting(store)
    assert thread.is_alive()  # what only moves on is not waited for
    finish(store, objects, claim, b"picture", "0" * 64)
    thread.join(30)
    [answer] = answers
    assert answer.json()["status"] == "succeeded"
    assert answer.headers["Preference-Applied"] == "wait=60"
    assert answer.headers["Vary"] == "Prefer"
    assert answer.headers["Connection"] == "close"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["X-Request-Id"]
    again = http.get(f"/v1/jobs/{job['id']}", headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_poll_that_waited_in_vain_says_how_the_job_is(http: httpx.Client, submit: Submit) -> None:
    job = submit()
    answer = http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=1"})
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert answer.json()["queue"]["position"] == 1
    assert answer.headers["Preference-Applied"] == "wait=1"
    assert answer.headers["Retry-After"]


def test_a_submit_that_waits_is_answered_with_the_ended_job(
    http: httpx.Client, store: JobStore, objects: ObjectStore, redis_client: redis.Redis
) -> None:
    headers = {"Prefer": "wait=60", "Idempotency-Key": "once"}
    thread, answers = in_background(lambda: http.post("/v1/jobs", json=BODY, headers=headers))
    wait_for(lambda: redis_client.keys(f"{Key.JOB}*"), "the job")
    complete(store, objects)
    thread.join(30)
    [answer] = answers
    assert (answer.status_code, answer.json()["status"]) == (202, "succeeded")
    assert answer.headers["Location"] == answer.json()["urls"]["self"]
    again = http.post("/v1/jobs", json=BODY, headers=headers)
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.json()["id"] == answer.json()["id"]


def test_a_put_waits_too_the_first_and_the_second_time(
    http: httpx.Client, store: JobStore, objects: ObjectStore, redis_client: redis.Redis
) -> None:
    def put() -> httpx.Response:
        return http.put("/v1/jobs/mine", json=BODY, headers={"Prefer": "wait=60"})

    thread, answers = in_background(put)
    wait_for(lambda: redis_client.keys(f"{Key.JOB}*"), "the job")
    second, more = in_background(put)
    complete(store, objects)
    for one in (thread, second):
        one.join(30)
    assert [(a.status_code, a.json()["status"]) for a in answers + more] == [
        (202, "succeeded"),
        (200, "succeeded"),
    ]


def test_a_long_poll_is_answered_by_a_change_and_else_304_in_the_end(
    http: httpx.Client, server: ApiServer, submit: Submit, store: JobStore
) -> None:
    job = submit()
    path = f"/v1/jobs/{job['id']}"
    etag = http.get(path).headers["ETag"]
    in_vain = http.get(path, headers={"If-None-Match": etag, "Prefer": "wait=1"})
    assert (in_vain.status_code, in_vain.content) == (304, b"")
    assert in_vain.headers["ETag"] == etag
    assert "Content-Type" not in in_vain.headers  # RFC 9110, section 15.4.5
    assert in_vain.headers["Preference-Applied"] == "wait=1"
    waits = {"If-None-Match": etag, "Prefer": "wait=60"}
    thread, answers = in_background(lambda: http.get(path, headers=waits))
    wait_for(server.held, "the poll to be held")
    assert store.claim(Queue.INTAKE, "intake")
    thread.join(30)
    [answer] = answers
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert answer.headers["ETag"] != etag
    at_once = http.get(path, headers=waits)
    assert at_once.status_code == 200
    assert "Preference-Applied" not in at_once.headers


def test_a_long_poll_is_answered_when_only_the_place_changes(
    http: httpx.Client, server: ApiServer, submit: Submit, store: JobStore
) -> None:
    submit()
    path = f"/v1/jobs/{submit()['id']}"
    waits = {"If-None-Match": http.get(path).headers["ETag"], "Prefer": "wait=60"}
    thread, answers = in_background(lambda: http.get(path, headers=waits))
    wait_for(server.held, "the poll to be held")
    assert store.claim(Queue.INTAKE, "intake")
    thread.join(30)
    assert answers[0].json()["queue"]["position"] == 1


def test_a_job_that_has_ended_is_not_waited_for(
    http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    complete(store, objects)
    answer = http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=60"})
    assert answer.json()["status"] == "succeeded"
    assert "Preference-Applied" not in answer.headers


def test_a_job_that_is_deleted_while_a_poll_waits_is_not_found(
    http: httpx.Client, server: ApiServer, submit: Submit, redis_client: redis.Redis
) -> None:
    job = submit()
    thread, answers = in_background(lambda: http.get(f"/v1/jobs/{job['id']}", headers={"Prefer": "wait=6"}))
    wait_for(server.held, "the poll to be held")
    redis_client.delete(f"{Key.JOB}{job['id']}")
    thread.join(30)
    assert (answers[0].status_code, answers[0].json()["code"]) == (404, "not_found")


def test_more_callers_wait_than_there_are_threads(
    http: httpx.Client, server: ApiServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()

    def wait() -> str:
        path = f"{server.url}/v1/jobs/{job['id']}"
        return str(httpx.get(path, headers={"Prefer": "wait=60"}, timeout=60).json()["status"])

    with ThreadPoolExecutor(60) as pool:
        waiting = [pool.submit(wait) for _ in range(60)]
        assert http.get("/healthz").is_success
        complete(store, objects)
        assert {each.result() for each in waiting} == {"succeeded"}


# Streams.


def test_a_stream_tells_of_every_change_and_ends_with_the_job(
    server: ApiServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    with Stream(server.url, f"/v1/jobs/{job['id']}/events") as stream:
        first = stream.wait_for("job", stage="fetching")
        assert first.data["queue"] == {"position": 1, "eta_seconds": None}
        assert first.data["spec"]["backbone"] == "compact"
        claim = start_painting(store)
        stream.wait_for("job", stage="waiting")
        painting = stream.wait_for("job", stage="painting", version=5)
        assert painting.data["progress"]["step"] == 10
        assert "spec" not in painting.data
        store.renew(claim, PaintProgress(20, 100, 1, 3), preview_key="previews/x", preview_step=20)
        shown = stream.wait_for("job", version=6).data["preview"]
        assert shown == {"url": f"{server.url}/v1/jobs/{job['id']}/preview?v=20", "version": 20}
        finish(store, objects, claim, b"picture", "0" * 64)
        last = stream.wait_for("job", status="succeeded")
        assert last.data["output"]["sha256"] == "0" * 64
        assert stream.wait_for("end").data == {"id": job["id"]}
        assert stream.ended.wait(30)
        versions = [event.data["version"] for event in stream.events if event.name == "job"]
        assert versions == sorted(set(versions)) == [1, 2, 3, 4, 5, 6, 7]
        for header in ("content-type: text/event-stream", "x-accel-buffering: no", "cache-control: no-store"):
            assert header in stream.head
        assert "x-request-id: " in stream.head
        assert "x-content-type-options: nosniff" in stream.head


def test_a_stream_that_comes_back_is_told_what_it_missed(
    server: ApiServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    path = f"/v1/jobs/{job['id']}/events"
    with Stream(server.url, path) as onlooker:
        with Stream(server.url, path) as stream:
            stream.wait_for("job")
            intake = store.claim(Queue.INTAKE, "intake")
            assert intake
            read = stream.wait_for("job", version=2)
        store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.1})
        claim = store.claim(Queue.PAINT, "painter", ["compact"])
        assert claim
        assert read.id
        # Whoever comes back before the API has heard of all this is told how the job is, not each change.
        onlooker.wait_for("job", version=4)
    with Stream(server.url, path, {"Last-Event-ID": read.id}) as stream:
        stream.wait_for("job", version=4)
        assert [event.data["version"] for event in stream.events] == [3, 4]
        finish(store, objects, claim, b"picture", "0" * 64)
        end = stream.wait_for("end")
    assert end.id
    with Stream(server.url, path, {"Last-Event-ID": read.id}) as stream:
        assert stream.wait_for("job").data["status"] == "succeeded"
        stream.wait_for("end")
    with Stream(server.url, path, {"Last-Event-ID": end.id}) as stream:
        assert stream.status == 204


def test_a_stream_whose_history_is_gone_says_so_and_how_the_job_is(
    settings: Settings, submit: Submit, redis_client: redis.Redis
) -> None:
    path = f"/v1/jobs/{submit()['id']}/events"
    for _ in range(3):  # the first two are no longer there
        entry: Any = {"uid": "another", "version": 1, "status": "queued", "stage": ""}
        redis_client.xadd(Key.CHANGES, entry, maxlen=1, approximate=False)
    with ApiServer(settings.data_dir, settings.redis_url) as fresh:
        for last_id in ("1-0", "99999999999999-0", "nonsense", "x" * 200):
            with Stream(fresh.url, path, {"Last-Event-ID": last_id}) as stream:
                stream.wait_for("job")
                assert [event.name for event in stream.events] == ["gap", "job"]
                assert stream.events[1].data["spec"]


def test_a_stream_tells_of_another_place_in_the_line(
    server: ApiServer, submit: Submit, store: JobStore
) -> None:
    submit()
    job = submit()
    with Stream(server.url, f"/v1/jobs/{job['id']}/events") as stream:
        assert stream.wait_for("job").data["queue"]["position"] == 2
        assert store.claim(Queue.INTAKE, "intake")
        moved = stream.wait_for("job", queue={"position": 1, "eta_seconds": None})
        assert moved.id is None
        assert moved.data["version"] == 1


def test_three_hundred_streams_hear_of_their_job(
    server: ApiServer, http: httpx.Client, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    streams = [Stream(server.url, f"/v1/jobs/{job['id']}/events") for _ in range(300)]
    try:
        for stream in streams:
            stream.wait_for("job")
        assert http.get("/healthz").is_success
        complete(store, objects)
        for stream in streams:
            assert stream.wait_for("job", status="succeeded").data["metrics"]
            assert stream.ended.wait(30)
    finally:
        for stream in streams:
            stream.close()


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_older_callers_are_answered_in_their_version(server: ApiServer, submit: Submit, version: str) -> None:
    with Stream(server.url, f"/v1/jobs/{submit()['id']}/events", version=version) as stream:
        stream.wait_for("job")
        assert stream.head.startswith(f"http/{version} 200 ok\r\n")
        assert "connection: close" in stream.head
        assert "transfer-encoding" not in stream.head


def test_head_tells_what_a_stream_would_be(http: httpx.Client, submit: Submit) -> None:
    answer = httpx.head(f"{http.base_url}/v1/jobs/{submit()['id']}/events", timeout=20)
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.content == b""


def test_a_request_behind_one_that_waits_is_not_heard_and_breaks_nothing(
    server: ApiServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    with Stream(server.url, f"/v1/jobs/{job['id']}/events") as stream:
        stream.wait_for("job")
        stream.send(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        complete(store, objects)
        stream.wait_for("end")
        assert stream.ended.wait(30)
        assert stream.raw.count(b"HTTP/1.1") == 1


def test_there_is_no_stream_of_a_job_that_is_not_there(http: httpx.Client) -> None:
    answer = http.get("/v1/jobs/nobody/events")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


# Limits, and what goes wrong.


@pytest.fixture
def small(settings: Settings, valkey: str) -> Iterator[ApiServer]:
    """An API that lets three callers wait."""
    with ApiServer(settings.data_dir, valkey, api_waiters="3") as running:
        yield running


def test_beyond_the_limit_streams_are_refused_and_polls_do_not_wait(small: ApiServer) -> None:
    with checked_client(small.url) as http:
        job = http.post("/v1/jobs", json=BODY).json()
        path = f"/v1/jobs/{job['id']}"
        streams = [Stream(small.url, f"{path}/events") for _ in range(3)]
        for stream in streams:
            stream.wait_for("job")
        refused = http.get(f"{path}/events")
        assert (refused.status_code, refused.json()["code"]) == (503, "too_many_waiting")
        assert refused.headers["Retry-After"]
        poll = http.get(path, headers={"Prefer": "wait=60"})
        assert poll.status_code == 200
        assert "Preference-Applied" not in poll.headers
        # Who goes away makes room.
        streams[0].close()

        def admitted() -> bool:
            with Stream(small.url, f"{path}/events") as stream:
                return stream.status == 200

        wait_for(admitted, "room for another")
        for stream in streams[1:]:
            stream.close()


def test_a_slow_reader_is_dropped_and_delays_nobody(
    server: ApiServer, submit: Submit, store: JobStore, objects: ObjectStore
) -> None:
    job = submit()
    path = f"/v1/jobs/{job['id']}/events"
    host, port = server.url.removeprefix("http://").split(":")
    slow = socket.socket()
    slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    slow.settimeout(60)
    slow.connect((host, int(port)))
    slow.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\n\r\n".encode())
    with Stream(server.url, path) as stream:
        stream.wait_for("job")
        claim = start_painting(store)
        # More than sockets and the server keep for one caller, in events of 30 kB.
        progress = PaintProgress(1, 400, 1, 1, {"x" * 30_000: 1.0})
        for step in range(1, 400):
            store.renew(claim, PaintProgress(step, 400, 1, 1, progress.loss))
            if step % 20 == 0:
                stream.wait_for("job", version=5 + step)
        finish(store, objects, claim, b"picture", "0" * 64)
        stream.wait_for("end")
    received = b""
    try:
        while data := slow.recv(65_536):
            received += data
    except ConnectionResetError:
        pass
    assert b"event: end" not in received
    slow.close()


def test_streams_live_through_a_kill_and_restart_of_redis(tmp_path: Path) -> None:
    valkey = start_valkey(tmp_path / "valkey", options=("--appendfsync", "always"))
    try:
        config = Settings(data_dir=tmp_path, redis_url=valkey.url, redis_timeout=20)
        with connect(config) as client, ApiServer(tmp_path, valkey.url) as api:
            Workers(client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)
            store = JobStore(client, config)
            job = httpx.post(f"{api.url}/v1/jobs", json=BODY, timeout=30).json()
            poll = f"{api.url}/v1/jobs/{job['id']}"
            with Stream(api.url, f"/v1/jobs/{job['id']}/events") as stream:
                stream.wait_for("job")

                def patient() -> httpx.Response:
                    while True:
                        answer = httpx.get(poll, headers={"Prefer": "wait=60"}, timeout=90)
                        if answer.status_code != 503:  # it came when Redis was away already
                            return answer

                thread, answers = in_background(patient)
                valkey.kill()
                time.sleep(1)
                valkey.restart()
                intake = store.claim(Queue.INTAKE, "intake")
                assert intake
                stream.wait_for("job", version=2)
                store.cancel("local", job["id"])
                assert stream.wait_for("job", status="canceled").data["completed_at"]
                stream.wait_for("end")
                assert [event.name for event in stream.events].count("gap") == 0
                thread.join(60)
                assert answers[0].json()["status"] == "canceled"
    finally:
        valkey.kill()


def test_a_redis_that_forgot_is_told_of_as_a_gap(tmp_path: Path) -> None:
    valkey = start_valkey(tmp_path / "valkey", aof=False)
    try:
        config = Settings(data_dir=tmp_path, redis_url=valkey.url, redis_timeout=20)
        with connect(config) as client, ApiServer(tmp_path, valkey.url) as api:
            Workers(client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)
            job = httpx.post(f"{api.url}/v1/jobs", json=BODY, timeout=30).json()
            with Stream(api.url, f"/v1/jobs/{job['id']}/events") as stream:
                stream.wait_for("job")
                assert JobStore(client, config).claim(Queue.INTAKE, "intake")
                stream.wait_for("job", version=2)
                valkey.kill()
                valkey.restart()
                stream.wait_for("gap")
                assert stream.ended.wait(30)
    finally:
        valkey.kill()


def test_an_api_that_is_told_to_go_lets_its_callers_come_back_to_another(
    settings: Settings, valkey: str, store: JobStore
) -> None:
    with ApiServer(settings.data_dir, valkey) as api:
        job = httpx.post(f"{api.url}/v1/jobs", json=BODY, timeout=30).json()
        path = f"/v1/jobs/{job['id']}"
        with Stream(api.url, f"{path}/events") as stream:
            stream.wait_for("job")
            thread, answers = in_background(
                lambda: httpx.get(f"{api.url}{path}", headers={"Prefer": "wait=60"}, timeout=60)
            )
            wait_for(lambda: api.held() == 2, "the poll to be held as well")
            began = time.monotonic()
            api.stop()
            assert time.monotonic() - began < 20
            assert stream.ended.wait(10)
            assert [event.name for event in stream.events] == ["job"]
            thread.join(10)
            assert (answers[0].status_code, answers[0].json()["status"]) == (200, "queued")
    last_id = stream.events[-1].id
    assert last_id
    assert store.claim(Queue.INTAKE, "intake")
    with (
        ApiServer(settings.data_dir, valkey) as other,
        Stream(other.url, f"{path}/events", {"Last-Event-ID": last_id}) as stream,
    ):
        assert stream.wait_for("job").data["version"] == 2
        assert "gap" not in {event.name for event in stream.events}


def test_nothing_is_left_of_callers_who_went_away(server: ApiServer, submit: Submit) -> None:
    job = submit()
    before = _descriptors(server)
    streams = [Stream(server.url, f"/v1/jobs/{job['id']}/events") for _ in range(100)]
    for stream in streams:
        stream.wait_for("job")
    # Meanwhile connections to Valkey open, which stay, and close.
    assert _descriptors(server) >= before + 80
    for stream in streams:
        stream.close()
    wait_for(lambda: _descriptors(server) <= before + 40, "their descriptors to be closed")


def _descriptors(server: ApiServer) -> int:
    """Open descriptors of the process that serves."""
    return len(list(Path(f"/proc/{server.workers()[0]}/fd").iterdir()))
