"""Fault 13: a worker is frozen past its lease, another does its job, and then it goes on."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue, Stage, Status
from tests.integration.service.support import HeldPicture, picture
from tests.support.proxy import Connection, Fate, FaultProxy, Way, pass_on
from tests.support.rig import SHORT_LEASE, SMALL, SUCCESSOR, Process, Rig
from tests.support.waiting import wait_for
from tests.support.web import Web

pytestmark = pytest.mark.fault(13)
LONG = {**SMALL, "steps": 800}
#: How a worker says that its fence was refused, or that it knew by itself.
LOST = {Queue.PAINT: "the lease was lost; nothing was published", Queue.INTAKE: "the intake lease was lost"}
#: Of who is not frozen: while its last write is on its way, it does not beat.
LONG_LEASE_SECONDS = 60


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    with Rig(tmp_path, **SHORT_LEASE) as rig:
        yield rig


class InFlight:
    """Keeps a worker's last write on its way to the store.

    Attributes:
        sent: set once the worker has sent it.
    """

    def __init__(self, rig: Rig, mark: bytes) -> None:
        self.sent = threading.Event()
        self._mark = mark
        self._proxy = FaultProxy(rig.valkey.port)
        self._proxy.rule = self._rule

    def _rule(self, connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG002
        if way is Way.ASKED and self._mark in chunk:
            self.sent.set()
            return Fate.HOLD
        return Fate.PASS

    @contextmanager
    def worker(self, rig: Rig, queue: Queue, **settings: object) -> Iterator[Process]:
        """A worker that reaches the store through here, and waits for its answers as long as it takes."""
        url = self._proxy.url("redis", "/0")
        with self._proxy:
            yield rig.worker(queue, altered=["patience=120"], redis_url=url, **settings)

    def arrive(self) -> None:
        """Let it through."""
        self._proxy.rule = pass_on


def raw(rig: Rig, job: Job) -> dict[str, str]:
    """The record to the letter."""
    found: dict[str, str] = rig.client.hgetall(f"{Key.JOB}{job.uid}")
    return found


def settled(record: dict[str, str]) -> dict[str, str]:
    """A record but for what its holder writes meanwhile."""
    its_own = ("version", "progress", "stage", "checkpoint")
    return {name: value for name, value in record.items() if name not in its_own}


def lost_by(job: Job, worker: Process) -> None:
    """Assert that this worker's attempt is the one that counts as lost."""
    (error,) = job.attempt_errors
    assert error.code == "worker_lost"
    assert error.worker is not None
    assert error.worker.endswith(f":{worker.pid}")


def test_a_painter_frozen_in_mid_painting_gives_way_and_goes_on_with_other_jobs(rig: Rig) -> None:
    frozen = rig.worker(Queue.PAINT)
    job = rig.submit(spec=LONG)
    rig.painting(job, step=20)
    frozen.freeze()
    other = rig.worker(Queue.PAINT, **SUCCESSOR)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
    lost_by(done, frozen)
    before = raw(rig, job)

    frozen.thaw()
    wait_for(lambda: frozen.said(LOST[Queue.PAINT]), "the thawed worker to see that it lost its lease")
    assert raw(rig, job) == before
    rig.has_its_one_result(done)

    other.kill()
    later = rig.ended(rig.submit(hue=1))
    assert later.status is Status.SUCCEEDED
    assert (later.worker or "").endswith(f":{frozen.pid}")
    rig.audit()


def test_a_result_of_a_frozen_painter_that_arrives_late_is_refused(rig: Rig) -> None:
    late, good = InFlight(rig, b'"output":'), InFlight(rig, b'"output":')
    with late.worker(rig, Queue.PAINT) as frozen:
        job = rig.submit()
        assert late.sent.wait(60)
        frozen.freeze()
        (stale,) = rig.outputs(job)
        with good.worker(rig, Queue.PAINT, lease_seconds=LONG_LEASE_SECONDS) as other:
            # Both have painted and stored it, and only one of them still holds it.
            assert good.sent.wait(60)
            before = raw(rig, job)
            late.arrive()
            frozen.thaw()
            wait_for(lambda: frozen.said(LOST[Queue.PAINT]), "the late write to be refused")
            assert settled(raw(rig, job)) == settled(before)
            assert stale not in rig.outputs(job), "what the stale attempt stored is taken away"

            good.arrive()
            done = rig.ended(job)
            assert (done.status, done.attempt) == (Status.SUCCEEDED, 2)
            lost_by(done, frozen)
            rig.has_its_one_result(done)
            other.kill()
        assert rig.ended(rig.submit(hue=1)).status is Status.SUCCEEDED
        rig.audit()


def test_a_fetcher_frozen_in_mid_fetch_gives_way_and_goes_on_with_other_jobs(rig: Rig, web: Web) -> None:
    held, good = HeldPicture(), web.file("/good.png", picture(hue=3))
    frozen = rig.worker(Queue.INTAKE, intake_slots=1)
    job = rig.submit_urls(web.route("/held.png", held), good)
    assert held.asked.wait(60)
    frozen.freeze()
    held.go_on.set()
    other = rig.worker(Queue.INTAKE, **SUCCESSOR)
    fetched = rig.fetched(job)
    assert fetched.stage is Stage.WAITING
    lost_by(fetched, frozen)
    before = raw(rig, job)

    frozen.thaw()
    wait_for(lambda: frozen.said(LOST[Queue.INTAKE]), "the thawed worker to see that it lost its lease")
    assert raw(rig, job) == before

    other.kill()
    assert rig.fetched(rig.submit_urls(good, good)).stage is Stage.WAITING
    rig.audit()


def test_the_pictures_of_a_frozen_fetcher_that_arrive_late_are_refused(rig: Rig, web: Web) -> None:
    url = web.file("/good.png", picture(hue=3))
    late, good = InFlight(rig, b'"bucket":'), InFlight(rig, b'"bucket":')
    with late.worker(rig, Queue.INTAKE, intake_slots=1) as frozen:
        job = rig.submit_urls(url, url)
        assert late.sent.wait(60)
        frozen.freeze()
        with good.worker(rig, Queue.INTAKE, lease_seconds=LONG_LEASE_SECONDS) as other:
            assert good.sent.wait(60)
            before = raw(rig, job)
            late.arrive()
            frozen.thaw()
            wait_for(lambda: frozen.said(LOST[Queue.INTAKE]), "the late write to be refused")
            assert settled(raw(rig, job)) == settled(before)

            good.arrive()
            fetched = rig.fetched(job)
            assert fetched.stage is Stage.WAITING
            lost_by(fetched, frozen)
            other.kill()
        assert rig.fetched(rig.submit_urls(url, url)).stage is Stage.WAITING
        rig.audit()
