"""The audit as a chore: rare, one worker's, bounded, and it logs what it finds."""

import logging
import threading
from pathlib import Path
from typing import NoReturn

import pytest
import redis

from shared.errors import StorageUnavailable, StoreUnavailable
from shared.jobs.keys import Key
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.objects import open_objects
from shared.objects.local import LocalObjects
from shared.redis import connect
from shared.settings import Settings
from tests.support.busy import Studio
from tests.support.jobs import claim_paint
from tests.support.rig import Rig
from tests.support.valkey import start_valkey
from tests.support.waiting import wait_for
from worker.chores import checkup
from worker.chores.checkup import Checkup


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, redis_timeout=20, data_dir=tmp_path, reap_seconds=0.1)


@pytest.fixture
def studio(redis_client: redis.Redis, config: Settings) -> Studio:
    return Studio(JobStore(redis_client, config), open_objects(config))


def chore(config: Settings, draining: threading.Event | None = None) -> Checkup:
    return Checkup(connect(config), open_objects(config), config, draining or threading.Event())


def lose_a_result(studio: Studio) -> str:
    """The uid of a job whose result is gone."""
    job = studio.submit()
    studio.objects.delete(studio.finish(claim_paint(studio.store)))
    return job.uid


def test_what_is_found_is_logged_once_an_interval_by_whichever_worker(
    studio: Studio, config: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    uid = lose_a_result(studio)
    caplog.set_level(logging.INFO)
    workers = [chore(config) for _ in range(3)]
    for worker in workers:
        worker.work()
    found = [record for record in caplog.records if "output_missing" in record.getMessage()]
    assert [record.levelname for record in found] == ["WARNING"]
    assert uid in found[0].getMessage()
    assert [record.getMessage() for record in caplog.records if record not in found] == ["audit: 1 found"]


def test_a_drain_and_the_end_of_its_time_stop_it(
    studio: Studio, config: Settings, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    lose_a_result(studio)
    caplog.set_level(logging.INFO)
    draining = threading.Event()
    draining.set()
    chore(config, draining).work()
    assert begins_anew_within(config, checkup.TURN_SECONDS)
    monkeypatch.setattr(checkup, "MAX_SECONDS", -1)
    connect(config).delete(checkup.LOCK)
    chore(config).work()
    assert not begins_anew_within(config, checkup.TURN_SECONDS)
    assert [record.getMessage().partition(":")[0] for record in caplog.records] == [
        "audit stopped before its end"
    ] * 2


def test_one_that_an_outage_breaks_off_is_begun_anew_soon(
    studio: Studio, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> NoReturn:
        raise StorageUnavailable("away")

    lose_a_result(studio)
    monkeypatch.setattr(LocalObjects, "list", away)
    monkeypatch.setattr(LocalObjects, "stat", away)
    with pytest.raises(StorageUnavailable):
        chore(config).work()
    assert begins_anew_within(config, checkup.TURN_SECONDS)


def test_one_that_redis_breaks_off_is_begun_anew_soon(tmp_path: Path) -> None:
    server = start_valkey(tmp_path / "valkey")
    config = Settings(redis_url=server.url, redis_timeout=20, data_dir=tmp_path)
    try:
        with connect(config) as client:
            client.hincrby(Key.COUNTS, "succeeded", 1)

        class Draining(threading.Event):
            def wait(self, timeout: float | None = None) -> bool:  # noqa: ARG002 - between two looks
                server.kill()
                return False

        with pytest.raises(StoreUnavailable):
            chore(config, Draining()).work()
        server.restart()
        assert begins_anew_within(config, checkup.TURN_SECONDS)
    finally:
        server.kill()


def begins_anew_within(config: Settings, seconds: float) -> bool:
    with connect(config) as client:
        return -1 != client.pttl(checkup.LOCK) <= seconds * 1000  # -1: it never ends


def test_a_chores_worker_audits_by_itself(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        rig.client.hincrby(Key.COUNTS, "succeeded", 1)
        worker = rig.worker(Queue.CHORES)
        wait_for(lambda: worker.said("count_disagrees"), "the audit of the chores worker")
