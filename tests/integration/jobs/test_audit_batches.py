"""The audit of batches: silent where all is well, and each planted fault found and put right."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from shared.audit import Code, audit
from shared.jobs.batch_record import Batch, BatchStatus
from shared.jobs.batches import BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, open_objects
from shared.settings import Settings
from tests.support.audit import audit as recount
from tests.support.batches import chores, new_batch, work_off
from tests.support.jobs import sha256

LONG_AGO = int(time.time() * 1000) - 86_400_000
Found = set[tuple[str, str]]


@dataclass
class House:
    """A store with a batch in each state; `job` is an item of the one at work."""

    client: redis.Redis
    config: Settings
    objects: ObjectStore
    at_work: Batch
    to_load: Batch
    ended: Batch
    job: str

    def found(self, *, repair: bool = False) -> Found:
        findings = audit(self.client, self.objects, self.config, repair=repair, pause=lambda _: None)
        return {(finding.code, finding.subject) for finding in findings if finding.fault}


@pytest.fixture
def house(redis_client: redis.Redis, valkey: str, tmp_path: Path) -> House:
    config = Settings(redis_url=valkey, redis_timeout=20, data_dir=tmp_path, reap_seconds=0.1)
    objects, batches = open_objects(config), BatchStore(redis_client, config)
    work, store = chores(redis_client, config, objects), JobStore(redis_client, config)
    at_work, ended = (new_batch(batches, objects, 3) for _ in range(2))
    work_off(work)
    batches.cancel("ann", ended.id)
    work_off(work)
    job = batches.stretch(at_work.uid, 0, 1)[0].job
    store.cancel("ann", job.id)
    to_load = new_batch(batches, objects, 3)
    objects.put(f"inputs/{sha256('kept')}", b"kept", "image/png")
    batches.hold(to_load.uid, [sha256("kept")])
    redis_client.rpush(Queue.INTAKE, "a bell")
    recount(redis_client)
    return House(redis_client, config, objects, at_work, to_load, ended, job.uid)


def test_batches_in_every_state_are_healthy(house: House) -> None:
    assert house.found() == set()


def miscounted(house: House) -> Found:
    house.client.hincrby(Key.BATCH + house.at_work.uid, "n:queued", 1)
    return {(Code.BATCH_DISAGREES, house.at_work.uid)}


def never_loaded(house: House) -> Found:
    house.client.zrem(Key.BATCH_WORK, house.to_load.uid)
    return {(Code.BATCH_STRANDED, house.to_load.uid)}


def never_settled(house: House) -> Found:
    house.client.hset(Key.BATCH + house.ended.uid, mapping={"status": "processing"})
    house.client.hdel(Key.BATCH + house.ended.uid, "completed_at", "expires_at", "cancel_requested")
    house.client.zrem(Key.BATCH_ENDED, house.ended.uid)
    return {(Code.BATCH_STRANDED, house.ended.uid)}


def never_purged(house: House) -> Found:
    house.client.zrem(Key.BATCH_ENDED, house.ended.uid)
    return {(Code.BATCH_STRANDED, house.ended.uid)}


def not_listed(house: House) -> Found:
    house.client.zrem(f"{Key.BATCHES}ann", house.at_work.uid)
    return {(Code.BATCH_DISAGREES, house.at_work.uid)}


def an_item_not_listed(house: House) -> Found:
    house.client.zrem(f"{Key.BATCH_ITEMS}{house.at_work.uid}:canceled", house.job)
    return {(Code.BATCH_DISAGREES, house.at_work.uid), (Code.JOB_UNLISTED, house.job)}


def an_item_listed_twice(house: House) -> Found:
    key = f"{Key.BATCH_ITEMS}{house.at_work.uid}:queued"
    house.client.zadd(key, {house.job: 0})
    return {
        (Code.BATCH_DISAGREES, house.at_work.uid),
        (Code.JOB_UNLISTED, house.job),
        (Code.ENTRY_CONTRADICTS, key),
    }


def an_item_of_nobody(house: House) -> Found:
    key = f"{Key.BATCH_ITEMS}{house.at_work.uid}:queued"
    house.client.zadd(key, {"job_nobody": 0})
    return {(Code.BATCH_DISAGREES, house.at_work.uid), (Code.ENTRY_WITHOUT_JOB, key)}


def work_of_nobody(house: House) -> Found:
    house.client.zadd(Key.BATCH_WORK, {"batch_nobody": time.time() * 1000})
    return {(Code.ENTRY_WITHOUT_JOB, Key.BATCH_WORK)}


def an_input_that_is_not_counted(house: House) -> Found:
    house.client.hincrby(Key.REFS, sha256("kept"), 1)
    return {(Code.REFS_DISAGREE, Key.REFS)}


PLANTED = [
    miscounted,
    never_loaded,
    never_settled,
    never_purged,
    not_listed,
    an_item_not_listed,
    an_item_listed_twice,
    an_item_of_nobody,
    work_of_nobody,
    an_input_that_is_not_counted,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_of_batches_is_found_alone_and_put_right(
    house: House, plant: Callable[[House], Found]
) -> None:
    assert plant(house) == house.found()
    for _ in range(3):
        house.found(repair=True)
    assert house.found() == set()
    if plant is not never_settled:
        recount(house.client)
    work_off(chores(house.client, house.config, house.objects))
    batches = BatchStore(house.client, house.config)
    assert batches.get("ann", house.to_load.id).loaded == 3
    assert batches.get("ann", house.ended.id).status.terminal
    assert batches.get("ann", house.at_work.id).status is BatchStatus.PROCESSING


def test_what_chores_should_have_done_is_overdue(house: House) -> None:
    house.client.zadd(Key.BATCH_WORK, {house.to_load.uid: LONG_AGO})
    house.client.zadd(Key.BATCH_ENDED, {house.ended.uid: LONG_AGO})
    assert house.found() == {(Code.BATCH_OVERDUE, batch.uid) for batch in (house.to_load, house.ended)}


def test_a_batch_of_a_later_version_is_left_alone(house: House) -> None:
    house.client.hset(Key.BATCH + house.to_load.uid, "schema", 99)
    house.client.zrem(Key.BATCH_WORK, house.to_load.uid)
    assert house.found(repair=True) == set()
