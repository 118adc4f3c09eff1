"""The audit of archives: silent where all is well, and each planted fault found and put right."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from shared.audit import Code, audit
from shared.jobs.archives import PREFIX, ArchiveStore
from shared.jobs.batch_record import Batch
from shared.jobs.batches import BatchStore
from shared.jobs.keys import Key
from shared.objects import ObjectStore, open_objects
from shared.settings import Settings
from tests.support.batches import chores, new_batch, work_off
from worker.chores.archives import ArchiveWork

LONG_AGO = int(time.time()) - 86_400
Found = set[tuple[str, str]]


@dataclass
class House:
    """A store with an archive that is wanted, one that is being built and one that is ready."""

    client: redis.Redis
    config: Settings
    objects: ObjectStore
    wanted: Batch
    building: Batch
    ready: Batch
    key: str

    def found(self, *, repair: bool = False) -> Found:
        findings = audit(self.client, self.objects, self.config, repair=repair, pause=lambda _: None)
        return {(finding.code, finding.subject) for finding in findings if finding.fault}

    @property
    def archives(self) -> ArchiveStore:
        return ArchiveStore(self.client, self.config)

    def build_all(self) -> None:
        work = ArchiveWork(self.archives, BatchStore(self.client, self.config), self.objects)
        while work.step():
            pass

    def old(self, key: str) -> None:
        """Let an object be a day old."""
        os.utime(self.config.objects_dir / key, (LONG_AGO, LONG_AGO))


@pytest.fixture
def house(redis_client: redis.Redis, valkey: str, tmp_path: Path) -> House:
    config = Settings(redis_url=valkey, redis_timeout=20, data_dir=tmp_path, reap_seconds=0.1)
    objects, batches = open_objects(config), BatchStore(redis_client, config)
    ended = []
    for _ in range(3):
        batch = new_batch(batches, objects, 3)
        batches.cancel("ann", batch.id)
        work_off(chores(redis_client, config, objects))
        ended.append(batches.get("ann", batch.id))
    wanted, building, ready = ended
    house = House(redis_client, config, objects, wanted, building, ready, "")
    house.archives.want(ready)
    house.build_all()
    house.key = house.archives.want(ready).key or ""
    house.archives.want(building)
    assert house.archives.claim()
    house.archives.want(wanted)
    return house


def test_archives_in_every_state_are_healthy(house: House) -> None:
    house.old(house.key)
    claim = house.client.hget(Key.ARCHIVE + house.building.uid, "fence")
    stored = f"{PREFIX}{house.building.uid}/{claim}.zip"
    house.objects.put(stored, b"about to be published", "")
    house.old(stored)
    assert house.found() == set()


def wanted_and_forgotten(house: House) -> Found:
    house.client.zrem(Key.ARCHIVE_WORK, house.wanted.uid)
    return {(Code.ARCHIVE_STRANDED, house.wanted.uid)}


def begun_and_forgotten(house: House) -> Found:
    house.client.zrem(Key.ARCHIVE_WORK, house.building.uid)
    return {(Code.ARCHIVE_STRANDED, house.building.uid)}


def ready_for_good(house: House) -> Found:
    house.client.zrem(Key.ARCHIVE_ENDS, house.ready.uid)
    return {(Code.ARCHIVE_STRANDED, house.ready.uid)}


def unreadable(house: House) -> Found:
    house.client.hset(Key.ARCHIVE + house.wanted.uid, "done", "many")
    return {(Code.ARCHIVE_STRANDED, house.wanted.uid)}


def unreadable_when_ready(house: House) -> Found:
    house.client.hdel(Key.ARCHIVE + house.ready.uid, "size")
    return {(Code.ARCHIVE_STRANDED, house.ready.uid)}


def its_batch_is_gone(house: House) -> Found:
    house.client.hset(f"{Key.ARCHIVE}batch_gone", mapping={"state": "building", "done": 0, "total": 3})
    return {(Code.ARCHIVE_STRANDED, "batch_gone")}


def work_of_nobody(house: House) -> Found:
    house.client.zadd(Key.ARCHIVE_WORK, {"batch_nobody": time.time() * 1000})
    return {(Code.ENTRY_WITHOUT_JOB, Key.ARCHIVE_WORK)}


def an_end_of_nobody(house: House) -> Found:
    house.client.zadd(Key.ARCHIVE_ENDS, {"batch_nobody": time.time() * 1000})
    return {(Code.ENTRY_WITHOUT_JOB, Key.ARCHIVE_ENDS)}


def its_object_is_missing(house: House) -> Found:
    house.objects.delete(house.key)
    return {(Code.ARCHIVE_MISSING, house.ready.uid)}


def its_object_is_cut_short(house: House) -> Found:
    house.objects.put(house.key, house.objects.get(house.key)[:-1], "")
    return {(Code.ARCHIVE_DAMAGED, house.ready.uid)}


PLANTED = [
    wanted_and_forgotten,
    begun_and_forgotten,
    ready_for_good,
    unreadable,
    unreadable_when_ready,
    its_batch_is_gone,
    work_of_nobody,
    an_end_of_nobody,
    its_object_is_missing,
    its_object_is_cut_short,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_of_archives_is_found_alone_and_put_right(
    house: House, plant: Callable[[House], Found]
) -> None:
    assert plant(house) == house.found()
    for _ in range(2):
        house.found(repair=True)
    assert house.found() == set()
    house.client.zadd(Key.ARCHIVE_WORK, {house.building.uid: 0}, xx=True)  # its builder is lost
    house.archives.want(house.wanted)
    house.archives.want(house.ready)
    house.build_all()
    for batch in (house.wanted, house.building, house.ready):
        archive = house.archives.want(batch)
        assert archive.key
        stat = house.objects.stat(archive.key)
        assert stat
        assert stat.size == archive.size
    assert house.client.exists(f"{Key.ARCHIVE}batch_gone") == 0
    assert house.found() == set()


def test_archives_that_nobody_can_ask_for_are_found_once_chores_should_have_swept_them(house: House) -> None:
    gone, another = f"{PREFIX}batch_gone/0123.zip", f"{PREFIX}{house.ready.uid}/0123.zip"
    for key in (gone, another):
        house.objects.put(key, b"x", "application/zip")
    assert house.found() == set(), "whoever stored them may be about to say so"
    for key in (gone, another):
        house.old(key)
    assert house.found() == {(Code.OBJECT_WITHOUT_JOB, key) for key in (gone, another)}
    house.build_all()
    assert house.found() == set(), "chores have swept them"


def test_what_chores_should_have_done_an_hour_ago_is_overdue(house: House) -> None:
    house.client.zadd(Key.ARCHIVE_WORK, {house.wanted.uid: LONG_AGO * 1000})
    house.client.zadd(Key.ARCHIVE_ENDS, {house.ready.uid: LONG_AGO * 1000})
    expected = {(Code.ARCHIVE_OVERDUE, batch.uid) for batch in (house.wanted, house.ready)}
    assert house.found() == expected
