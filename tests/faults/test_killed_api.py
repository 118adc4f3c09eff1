"""Fault 20: the API is killed: between a job's record and its answer, in mid-upload, and at random."""

import os
import random
import signal
import socket
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import httpx
import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from shared.jobs.workers import WorkerInfo, Workers
from tests.integration.service.support import picture
from tests.support.audit import snapshot
from tests.support.proxy import Connection, Fate, Way, pass_on
from tests.support.rig import SMALL, Rig
from tests.support.waiting import wait_for

pytestmark = pytest.mark.fault(20)
SEED = 20
CLIENTS, JOBS_EACH, KILLS = 4, 25, 6
BODY = {"content": "https://example.org/bridge.jpg", "styles": ["https://example.org/starry.jpg"]}


class Api:
    """The API on one port, killed and started again as a test likes."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self.process, self.url = rig.api()

    def kill(self) -> None:
        """All of it at once."""
        self.process.kill_all()

    def kill_worker(self) -> None:
        """Only what answers requests: gunicorn starts another."""
        for child in self.process.children():
            os.kill(child, signal.SIGKILL)

    def restart(self) -> None:
        """On the same address."""
        self.process, _ = self._rig.api(urlsplit(self.url).port)

    def client(self) -> httpx.Client:
        """A client of its own, without retries."""
        return httpx.Client(base_url=self.url, timeout=30)


class Held:
    """A rule of the proxy before Redis: chunks with a mark stay where they are.

    Attributes:
        seen: set once there is one.
    """

    def __init__(self, way: Way, mark: bytes) -> None:
        self.seen = threading.Event()
        self._way, self._mark = way, mark

    def __call__(self, connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG002
        if way is self._way and self._mark in chunk:
            self.seen.set()
            return Fate.HOLD
        return Fate.PASS


@pytest.fixture
def api(rig: Rig) -> Api:
    return Api(rig)


@pytest.fixture
def painter(rig: Rig) -> None:
    """A live paint worker that never paints, so that jobs are accepted."""
    Workers(rig.client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)


def in_the_background(call: Callable[[], object]) -> threading.Thread:
    """Make a call whose answer nobody will get."""

    def attempt() -> None:
        with pytest.raises(httpx.TransportError):
            call()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("by", ["Idempotency-Key", "PUT"])
def test_a_job_whose_answer_was_lost_is_found_by_the_same_request(rig: Rig, api: Api, by: str) -> None:
    rig.worker(Queue.PAINT)
    with api.client() as client:
        uploads = [client.post("/v1/uploads", content=picture(hue=hue), headers=PNG).json() for hue in (0, 9)]
    content, style = (upload["image"] for upload in uploads)
    body = {"content": content, "styles": [style], "spec": SMALL}

    def submit(timeout: float = 30) -> httpx.Response:
        with api.client() as client:
            if by == "PUT":
                return client.put("/v1/jobs/order-17", json=body, timeout=timeout)
            return client.post("/v1/jobs", json=body, headers={"Idempotency-Key": "key-17"}, timeout=timeout)

    # The record is written, the API has not heard of it.
    written = Held(Way.ANSWERED, b"$7\r\ncreated\r\n")
    rig.redis_proxy.rule = written
    lost = in_the_background(submit)
    assert written.seen.wait(60)
    (uid,) = snapshot(rig.client).records
    api.kill()
    lost.join(60)
    assert not lost.is_alive()

    rig.redis_proxy.rule = pass_on
    api.restart()
    again = submit()
    assert again.status_code == (200 if by == "PUT" else 202)
    assert again.headers.get("Idempotent-Replayed") == (None if by == "PUT" else "true")
    assert again.json()["id"] == ("order-17" if by == "PUT" else uid)
    assert list(snapshot(rig.client).records) == [uid]
    job = rig.store.by_uid(uid)
    assert job is not None
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    rig.has_its_one_result(done)
    rig.audit()


PNG = {"Content-Type": "image/png"}


def nothing_is_named(rig: Rig) -> None:
    """Assert that the store knows no upload, and no input that anything needs."""
    store = rig.audit()
    assert not [key for key in store.raw if key.startswith(Key.UPLOADS)]
    assert store.hash(Key.REFS) == {}


def test_half_an_upload_leaves_nothing(rig: Rig, api: Api) -> None:
    data = picture()
    address = urlsplit(api.url)
    head = (
        f"POST /v1/uploads HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Type: image/png\r\n"
        f"Content-Length: {len(data)}\r\n\r\n"
    )
    with socket.create_connection((str(address.hostname), address.port or 0), 30) as connection:
        connection.sendall(head.encode() + data[: len(data) // 2])
        with api.client() as client:
            assert client.get("/healthz").is_success
        api.kill()
    nothing_is_named(rig)
    assert list(rig.objects.list("inputs/")) == []


def test_an_upload_that_was_stored_but_never_named_is_named_by_sending_it_again(rig: Rig, api: Api) -> None:
    def upload() -> httpx.Response:
        with api.client() as client:
            return client.post("/v1/uploads", content=picture(), headers=PNG)

    naming = Held(Way.ASKED, b'"upload_id":')
    rig.redis_proxy.rule = naming
    lost = in_the_background(upload)
    assert naming.seen.wait(60)
    api.kill()
    lost.join(60)
    nothing_is_named(rig)
    (left,) = rig.objects.list("inputs/")
    assert list(rig.audit().zset(Key.UNUSED)) == [left.key.removeprefix("inputs/")], "chores will delete it"

    # What was held is lost with the connection, as it would be with the machine.
    rig.redis_proxy.cut_all()
    rig.redis_proxy.rule = pass_on
    api.restart()
    answer = upload()
    assert answer.status_code == 201
    (again,) = rig.objects.list("inputs/")
    assert again.key == left.key == f"inputs/{answer.json()['sha256']}"
    store = rig.audit()
    assert store.hash(Key.REFS) == {answer.json()["sha256"]: "1"}
    assert store.zset(Key.UNUSED) == {}


class Caller(threading.Thread):
    """Submits jobs one after another, each again and again under its one name until it is answered.

    Attributes:
        answered: the IDs that were answered, by the names.
        repeated: requests that were sent again. found: answers that were of a job made by an earlier request.
    """

    def __init__(self, number: int, api: Api, ended: threading.Event) -> None:
        super().__init__(daemon=True, name=f"caller {number}")
        self.answered: dict[str, str] = {}
        self.repeated = self.found = 0
        self._number, self._api, self._ended = number, api, ended

    def run(self) -> None:
        for index in range(JOBS_EACH):
            name = f"caller-{self._number}-job-{index}"
            while not self._submit(name):
                self.repeated += 1
                if self._ended.wait(0.05):
                    return

    def _submit(self, name: str) -> bool:
        body = {**BODY, "metadata": {"name": name}}
        try:
            with self._api.client() as client:
                if self._number % 2:
                    answer = client.put(f"/v1/jobs/{name}", json=body)
                else:
                    answer = client.post("/v1/jobs", json=body, headers={"Idempotency-Key": name})
        except httpx.TransportError:
            return False
        assert answer.status_code in (200, 202), answer.text
        self.found += answer.status_code == 200 or "Idempotent-Replayed" in answer.headers
        self.answered[name] = answer.json()["id"]
        return True


@pytest.mark.usefixtures("painter")
def test_every_job_that_was_answered_is_there_once_however_the_api_is_killed(rig: Rig, api: Api) -> None:
    seeded = random.Random(SEED)
    ended = threading.Event()
    callers = [Caller(number, api, ended) for number in range(CLIENTS)]

    def answers() -> int:
        return sum(len(caller.answered) for caller in callers)

    for caller in callers:
        caller.start()
    total = CLIENTS * JOBS_EACH
    moments = sorted(seeded.sample(range(1, total * 9 // 10), KILLS))
    for moment in moments:
        wait_for(lambda moment=moment: answers() >= moment, f"{moment} answers")
        # Somewhere in the requests that follow.
        threading.Event().wait(seeded.uniform(0, 0.05))
        if seeded.random() < 0.5:
            api.kill_worker()
        else:
            api.kill()
            api.restart()
    for caller in callers:
        caller.join(120)
    ended.set()
    assert answers() == total

    records = rig.audit().records
    assert len(records) == total, "no name has two jobs"
    for caller in callers:
        for name, job_id in caller.answered.items():
            job = rig.store.get("local", job_id)
            assert job.metadata == {"name": name}
            assert (job.status, job.attempt) == (Status.QUEUED, 0)
    repeated, found = (sum(getattr(caller, what) for caller in callers) for what in ("repeated", "found"))
    print(f"seed {SEED}: {KILLS} kills, {repeated} requests sent again, {found} found their job")
