"""The audit: silent beside a service at work, and each planted fault found, and no other beside it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from shared.audit import AuditStoppedError, Code, audit
from shared.jobs import policy
from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue
from shared.jobs.store import Claim, JobStore
from shared.objects import ObjectStat, ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit as recount
from tests.support.busy import PNG, Crowd, Studio
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, new_job
from tests.support.s3 import S3Server
from worker.chores.tidy import Tidy

LONG_AGO = time.time() - 86_400


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, redis_timeout=60, data_dir=tmp_path, reap_seconds=0.1)


@pytest.fixture
def store(config: Settings) -> Iterator[JobStore]:
    """A store that goes by the server's own clock, as the audit does."""
    with connect(config) as client:
        yield JobStore(client, config)


@dataclass
class House:
    """Two stores, with a job in each state."""

    client: redis.Redis
    config: Settings
    studio: Studio
    fetching: Job
    waiting: Job
    delayed: Job
    painting: Job
    succeeded: Job
    canceled: Job
    upload: str

    @classmethod
    def furnished(cls, client: redis.Redis, config: Settings, studio: Studio) -> "House":
        store = studio.store
        studio.submit("done")
        done = claim_paint(store)
        studio.finish(done)
        canceled = store.cancel("ann", studio.submit("canceled").id)
        studio.submit("painted", id="mine")
        painted = claim_paint(store)
        studio.checkpoint(painted)
        studio.preview(painted)
        store.submit(new_job(priority=9))
        late = claim_intake(store)
        store.fail(late, UNSTORED)
        fetching = store.submit(new_job("bob")).job
        waiting = studio.submit("waits", owner="bob")
        upload = studio.upload("upload")
        for queue in (Queue.INTAKE, Queue.PAINT):
            client.rpush(queue, "a bell")
        uids = (done.job.uid, painted.job.uid, late.job.uid)
        succeeded, painting, delayed = (store.by_uid(uid) for uid in uids)
        assert succeeded
        assert painting
        assert delayed
        recount(client)
        return cls(client, config, studio, fetching, waiting, delayed, painting, succeeded, canceled, upload)

    def found(self, *, deep: bool = False) -> set[tuple[str, str]]:
        """Code and subject of each finding."""
        findings = audit(self.client, self.studio.objects, self.config, deep=deep, pause=lambda _: None)
        return {(finding.code, finding.subject) for finding in findings}

    def record(self, job: Job, **changes: object) -> None:
        """Write into a record past the scripts."""
        self.client.hset(Key.JOB + job.uid, mapping=changes)

    def old(self, key: str) -> str:
        """An object that was stored a day ago."""
        self.studio.objects.put(key, b"old", PNG)
        os.utime(self.config.objects_dir / key, (LONG_AGO, LONG_AGO))
        return key


@pytest.fixture
def house(redis_client: redis.Redis, config: Settings, store: JobStore) -> House:
    return House.furnished(redis_client, config, Studio(store, open_objects(config)))


def test_a_house_with_jobs_in_every_state_is_healthy(house: House) -> None:
    assert house.found(deep=True) == set()


def test_a_house_on_s3_is_healthy_and_a_lost_result_is_found_there(
    redis_client: redis.Redis, store: JobStore, s3: S3Server, config: Settings, tmp_path: Path
) -> None:
    settings = s3.settings(tmp_path, redis_url=config.redis_url, redis_timeout=60, reap_seconds=0.1)
    house = House.furnished(redis_client, settings, Studio(store, open_objects(settings)))
    assert house.found(deep=True) == set()
    assert house.succeeded.output
    house.studio.objects.delete(house.succeeded.output.key)
    assert house.found() == {(Code.OUTPUT_MISSING, house.succeeded.uid)}


def test_nothing_is_found_while_everything_moves(
    redis_client: redis.Redis, config: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policy, "GRACE_SECONDS", 2)  # so that unused inputs are collected meanwhile
    settings = config.model_copy(update={"retry_delay": 0.05, "retention_seconds": 5})
    with connect(settings) as client:
        studio = Studio(JobStore(client, settings), open_objects(settings))
        tidy = Tidy(studio.store, studio.objects, settings.retention_seconds)
        audits = 0
        for queue in (Queue.INTAKE, Queue.PAINT):
            redis_client.rpush(queue, "a bell")
        with Crowd(studio, threads=4) as crowd:
            until = time.monotonic() + 12
            while audits < 5 or time.monotonic() < until:
                tidy.work()
                with connect(settings) as own:
                    findings = list(audit(own, studio.objects, settings, pause=lambda _: time.sleep(0.05)))
                assert findings == []
                audits += 1
        assert crowd.errors == []
        assert crowd.steps > 100
        recount(redis_client)


class Meanwhile:
    """An object store in which something happens while it is asked.

    Nothing of `hidden` was there when it was listed, `ghosts` have gone since; while the first object is
    looked for and not there, `action` is done.
    """

    def __init__(
        self,
        objects: ObjectStore,
        action: Callable[[], object],
        hidden: str = "none",
        ghosts: tuple[str, ...] = (),
    ) -> None:
        self._objects, self._hidden, self._ghosts = objects, hidden, ghosts
        self._actions = [action]

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        yield from (stat for stat in self._objects.list(prefix) if not stat.key.startswith(self._hidden))
        yield from (ObjectStat(key, 9, LONG_AGO) for key in self._ghosts if key.startswith(prefix))

    def stat(self, key: str) -> ObjectStat | None:
        if not self._actions:
            return self._objects.stat(key)
        self._actions.pop()()
        return None


def test_a_result_that_is_purged_between_two_reads_is_not_missed(house: House) -> None:
    meanwhile = Meanwhile(
        house.studio.objects, lambda: house.studio.purge(house.succeeded), hidden="outputs/"
    )
    assert list(audit(house.client, meanwhile, house.config, pause=lambda _: None)) == []


def test_a_checkpoint_that_is_replaced_between_two_reads_is_not_missed(house: House) -> None:
    claim = Claim(house.painting, Queue.PAINT, house.client.hget(Key.JOB + house.painting.uid, "fence"))
    meanwhile = Meanwhile(
        house.studio.objects, lambda: house.studio.checkpoint(claim, 2), hidden="checkpoints/"
    )
    assert list(audit(house.client, meanwhile, house.config, pause=lambda _: None)) == []


def test_an_input_that_is_stored_and_named_between_two_reads_is_not_missed(house: House) -> None:
    meanwhile = Meanwhile(house.studio.objects, lambda: None, hidden="inputs/")
    assert list(audit(house.client, meanwhile, house.config, pause=lambda _: None)) == []


def test_objects_that_have_gone_since_they_were_listed_are_nobodys_fault(house: House) -> None:
    ghosts = (f"inputs/{'0' * 64}", "outputs/job_nobody/1-a.png", f"previews/{house.succeeded.uid}")
    meanwhile = Meanwhile(house.studio.objects, lambda: None, ghosts=ghosts)
    assert list(audit(house.client, meanwhile, house.config, pause=lambda _: None)) == []


def _lost(house: House) -> str:
    """The record of the waiting job is gone; returns its uid."""
    house.client.delete(Key.JOB + house.waiting.uid)
    return house.waiting.uid


def _without_place(house: House) -> set[tuple[str, str]]:
    house.client.zrem(f"{Key.WAIT}paint.compact:bob", house.waiting.uid)
    house.client.hincrby(Key.WAITING, "paint.compact", -1)
    house.client.zrem(f"{Key.TURNS}paint.compact", "bob")
    return {(Code.JOB_STRANDED, house.waiting.uid)}


def _without_lease(house: House) -> set[tuple[str, str]]:
    house.client.zrem(Key.LEASES, house.painting.uid)
    return {(Code.JOB_STRANDED, house.painting.uid)}


def _without_backoff(house: House) -> set[tuple[str, str]]:
    house.client.zrem(Key.DELAYED, house.delayed.uid)
    return {(Code.JOB_STRANDED, house.delayed.uid)}


def _twice(house: House) -> set[tuple[str, str]]:
    house.client.zadd(Key.LEASES, {house.waiting.uid: time.time() * 1000 + 9000})
    return {(Code.JOB_MISPLACED, house.waiting.uid)}


def _ended_with_a_lease(house: House) -> set[tuple[str, str]]:
    house.client.zadd(Key.LEASES, {house.canceled.uid: time.time() * 1000 + 9000})
    return {(Code.JOB_MISPLACED, house.canceled.uid)}


def _without_fence(house: House) -> set[tuple[str, str]]:
    house.client.hdel(Key.JOB + house.painting.uid, "fence")
    return {(Code.JOB_MISPLACED, house.painting.uid)}


def _without_record(house: House) -> set[tuple[str, str]]:
    _lost(house)
    return {
        (Code.ENTRY_WITHOUT_JOB, Key.DEADLINES),
        (Code.ENTRY_WITHOUT_JOB, f"{Key.WAIT}paint.compact:bob"),
        (Code.ENTRY_WITHOUT_JOB, f"{Key.LIST}queued:bob"),
        (Code.REFS_DISAGREE, Key.REFS),
    }


def _entry(key: str) -> Callable[[House], set[tuple[str, str]]]:
    def plant(house: House) -> set[tuple[str, str]]:
        house.client.zadd(key, {"job_nobody": time.time() * 1000 + 9e6})
        return {(Code.ENTRY_WITHOUT_JOB, key)}

    return plant


def _in_a_wrong_lane(house: House) -> set[tuple[str, str]]:
    key = f"{Key.WAIT}paint.vgg19:bob"
    house.client.zadd(key, {house.waiting.uid: 1})
    house.client.zadd(f"{Key.TURNS}paint.vgg19", {"bob": 1})
    house.client.hset(Key.WAITING, "paint.vgg19", 1)
    return {(Code.ENTRY_CONTRADICTS, key)}


def _out_of_order(house: House) -> set[tuple[str, str]]:
    key = f"{Key.WAIT}paint.compact:bob"
    house.client.zadd(key, {house.waiting.uid: 1})
    return {(Code.ENTRY_CONTRADICTS, key)}


def _in_a_wrong_list(house: House) -> set[tuple[str, str]]:
    key = f"{Key.LIST}failed:bob"
    house.client.zadd(key, {house.waiting.uid: 1})
    return {(Code.ENTRY_CONTRADICTS, key), (Code.COUNT_DISAGREES, Key.COUNTS)}


def _in_no_list(house: House) -> set[tuple[str, str]]:
    house.client.zrem(f"{Key.LIST}queued:bob", house.waiting.uid)
    return {(Code.JOB_UNLISTED, house.waiting.uid), (Code.COUNT_DISAGREES, Key.COUNTS)}


def _without_id(house: House) -> set[tuple[str, str]]:
    house.client.hdel(f"{Key.IDS}ann", "mine")
    return {(Code.ID_DISAGREES, house.painting.uid)}


def _another_id(house: House) -> set[tuple[str, str]]:
    house.client.hset(f"{Key.IDS}ann", mapping={"other": house.painting.uid, "gone": "job_nobody"})
    return {(Code.ENTRY_CONTRADICTS, f"{Key.IDS}ann"), (Code.ENTRY_WITHOUT_JOB, f"{Key.IDS}ann")}


def _without_deadline(house: House) -> set[tuple[str, str]]:
    house.client.zrem(Key.DEADLINES, house.waiting.uid)
    house.client.zadd(Key.DEADLINES, {house.canceled.uid: time.time() * 1000 + 9e6})
    return {(Code.DEADLINE_DISAGREES, job.uid) for job in (house.waiting, house.canceled)}


def _never_purged(house: House) -> set[tuple[str, str]]:
    house.client.zrem(Key.ENDED, house.canceled.uid)
    return {(Code.RETENTION_DISAGREES, house.canceled.uid)}


def _overdue(house: House) -> set[tuple[str, str]]:
    past = LONG_AGO * 1000 // 1
    for key, job in (
        (Key.LEASES, house.painting),
        (Key.DELAYED, house.delayed),
        (Key.DEADLINES, house.waiting),
        (Key.ENDED, house.canceled),
    ):
        house.client.zadd(key, {job.uid: past})
    house.record(house.waiting, deadline_at=int(past))
    house.record(house.canceled, expires_at=int(past))
    return {
        (Code.LEASE_OVERDUE, house.painting.uid),
        (Code.BACKOFF_OVERDUE, house.delayed.uid),
        (Code.DEADLINE_OVERDUE, house.waiting.uid),
        (Code.PURGE_OVERDUE, house.canceled.uid),
    }


def _turns(house: House) -> set[tuple[str, str]]:
    house.client.zrem(f"{Key.TURNS}paint.compact", "bob")
    house.client.zadd(f"{Key.TURNS}intake", {"nobody": 99})
    return {(Code.TURN_DISAGREES, f"{Key.TURNS}{lane}") for lane in ("paint.compact", "intake")}


def _counters(house: House) -> set[tuple[str, str]]:
    house.client.hincrby(Key.COUNTS, "succeeded", 1)
    house.client.hincrby(Key.WAITING, "intake", -1)
    return {(Code.COUNT_DISAGREES, Key.COUNTS), (Code.WAITING_DISAGREES, Key.WAITING)}


def _no_bell(house: House) -> set[tuple[str, str]]:
    house.client.delete(Queue.PAINT)
    return {(Code.NO_BELL, Queue.PAINT)}


def _refs_too_high(house: House) -> set[tuple[str, str]]:
    assert house.waiting.content.sha256
    house.client.hincrby(Key.REFS, house.waiting.content.sha256, 1)
    return {(Code.REFS_DISAGREE, Key.REFS)}


def _refs_too_low(house: House) -> set[tuple[str, str]]:
    assert house.waiting.styles[0].sha256
    house.client.hincrby(Key.REFS, house.waiting.styles[0].sha256, -1)
    return {(Code.REFS_DISAGREE, Key.REFS)}


def _refs_forgotten(house: House) -> set[tuple[str, str]]:
    assert house.waiting.content.sha256
    house.client.hdel(Key.REFS, house.waiting.content.sha256)
    assert house.waiting.content.key
    return {(Code.REFS_DISAGREE, Key.REFS), (Code.INPUT_FORGOTTEN, house.waiting.content.key)}


def _input_lost(house: House) -> set[tuple[str, str]]:
    assert house.waiting.content.key
    house.studio.objects.delete(house.waiting.content.key)
    return {(Code.INPUT_MISSING, house.waiting.content.key)}


def _input_of_nobody(house: House) -> set[tuple[str, str]]:
    key = f"inputs/{'0' * 64}"
    house.studio.objects.put(key, b"nobody's", PNG)
    return {(Code.INPUT_FORGOTTEN, key)}


def _input_not_collected(house: House) -> set[tuple[str, str]]:
    house.studio.picture("a picture that is held")
    house.client.zadd(Key.UNUSED, {"0" * 64: LONG_AGO * 1000})
    return {(Code.INPUT_OVERDUE, Key.UNUSED)}


def _input_about_to_go(house: House) -> set[tuple[str, str]]:
    assert house.waiting.content.sha256
    later = time.time() * 1000 + 9e6
    house.client.zadd(Key.UNUSED, {house.waiting.content.sha256: later})
    house.client.zadd(Key.SWEEPING, {house.waiting.content.sha256: later})
    return {(Code.UNUSED_DISAGREES, Key.UNUSED), (Code.UNUSED_DISAGREES, Key.SWEEPING)}


def _upload_without_end(house: House) -> set[tuple[str, str]]:
    house.client.delete(Key.UPLOAD_ENDS)
    return {(Code.UPLOAD_DISAGREES, house.upload)}


def _end_without_upload(house: House) -> set[tuple[str, str]]:
    house.client.zadd(Key.UPLOAD_ENDS, {"up_nobody:ann": time.time() * 1000 + 9e6})
    return {(Code.UPLOAD_DISAGREES, "up_nobody")}


def _upload_overdue(house: House) -> set[tuple[str, str]]:
    house.client.zadd(Key.UPLOAD_ENDS, {f"{house.upload}:ann": LONG_AGO * 1000})
    return {(Code.UPLOAD_OVERDUE, house.upload)}


def _result_lost(house: House) -> set[tuple[str, str]]:
    assert house.succeeded.output
    house.studio.objects.delete(house.succeeded.output.key)
    return {(Code.OUTPUT_MISSING, house.succeeded.uid)}


def _result_cut(house: House) -> set[tuple[str, str]]:
    assert house.succeeded.output
    house.studio.objects.put(house.succeeded.output.key, b"cut", PNG)
    return {(Code.OUTPUT_DAMAGED, house.succeeded.uid)}


def _pointers_lost(house: House) -> set[tuple[str, str]]:
    assert house.painting.checkpoint
    house.studio.objects.delete(house.painting.checkpoint.key)
    house.studio.objects.delete(f"previews/{house.painting.uid}")
    return {(Code.CHECKPOINT_MISSING, house.painting.uid), (Code.PREVIEW_MISSING, house.painting.uid)}


def _leftovers(house: House) -> set[tuple[str, str]]:
    keys = (
        "outputs/job_nobody/1-a.png",
        f"outputs/{house.succeeded.uid}/9-stale.png",
        f"checkpoints/{house.painting.uid}/1-old-7",
        f"previews/{house.succeeded.uid}",
    )
    return {(Code.OBJECT_WITHOUT_JOB, house.old(key)) for key in keys}


def _unreadable(house: House) -> set[tuple[str, str]]:
    house.record(house.waiting, spec="{}garbage")
    house.client.hdel(Key.JOB + house.painting.uid, "owner")
    return {
        (Code.RECORD_UNREADABLE, house.waiting.uid),
        (Code.RECORD_UNREADABLE, house.painting.uid),
        (Code.ENTRY_CONTRADICTS, f"{Key.LIST}processing:ann"),
        (Code.ENTRY_CONTRADICTS, f"{Key.IDS}ann"),
    }


PLANTED = [
    _without_place,
    _without_lease,
    _without_backoff,
    _twice,
    _ended_with_a_lease,
    _without_fence,
    _without_record,
    *(_entry(key) for key in (Key.LEASES, Key.DELAYED, Key.DEADLINES, Key.ENDED)),
    _in_a_wrong_lane,
    _out_of_order,
    _in_a_wrong_list,
    _in_no_list,
    _without_id,
    _another_id,
    _without_deadline,
    _never_purged,
    _overdue,
    _turns,
    _counters,
    _no_bell,
    _refs_too_high,
    _refs_too_low,
    _refs_forgotten,
    _input_lost,
    _input_of_nobody,
    _input_not_collected,
    _input_about_to_go,
    _upload_without_end,
    _end_without_upload,
    _upload_overdue,
    _result_lost,
    _result_cut,
    _pointers_lost,
    _leftovers,
    _unreadable,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.strip("_"))
def test_a_planted_fault_is_found_and_nothing_else(
    house: House, plant: Callable[[House], set[tuple[str, str]]]
) -> None:
    expected = plant(house)
    assert house.found() == expected


#: What no script can put right.
LOST = {
    Code.INPUT_MISSING,
    Code.OUTPUT_MISSING,
    Code.OUTPUT_DAMAGED,
    Code.CHECKPOINT_MISSING,
    Code.PREVIEW_MISSING,
    Code.OBJECT_WITHOUT_JOB,
    Code.RECORD_UNREADABLE,
    Code.NO_BELL,
    *(code for code in Code if code.endswith("_overdue")),
}


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__.strip("_"))
def test_what_follows_from_the_records_is_put_right(
    house: House, plant: Callable[[House], set[tuple[str, str]]]
) -> None:
    planted = plant(house)
    unreadable = any(code == Code.RECORD_UNREADABLE for code, _ in planted)
    lost = planted if unreadable else {finding for finding in planted if finding[0] in LOST}
    for _ in range(3):
        list(audit(house.client, house.studio.objects, house.config, repair=True, pause=lambda _: None))
        if not lost:
            house.studio.store.reap()  # it takes the leases that were given for it to take
    assert house.found() == lost
    if not lost:
        recount(house.client)


def test_where_a_record_cannot_be_read_no_input_is_given_up_for_deletion(house: House) -> None:
    [(_, key)] = _input_of_nobody(house)
    house.record(house.waiting, schema=99)
    found = list(audit(house.client, house.studio.objects, house.config, repair=True, pause=lambda _: None))
    assert [(finding.subject, finding.repaired) for finding in found if finding.fault] == [(key, False)]


def test_a_result_or_input_of_other_bytes_is_found_by_a_deep_look(house: House) -> None:
    objects: ObjectStore = house.studio.objects
    assert house.succeeded.output
    assert house.waiting.content.key
    for key in (house.succeeded.output.key, house.waiting.content.key):
        objects.put(key, bytes(reversed(objects.get(key))), PNG)
    assert house.found() == set()
    assert house.found(deep=True) == {
        (Code.OUTPUT_DAMAGED, house.succeeded.uid),
        (Code.INPUT_DAMAGED, house.waiting.content.key),
    }


def test_a_record_of_a_later_schema_is_noted_and_no_fault(house: House) -> None:
    house.record(house.waiting, schema=99, status="dreaming")
    house.client.zrem(f"{Key.WAIT}paint.compact:bob", house.waiting.uid)
    house.client.hincrby(Key.WAITING, "paint.compact", -1)
    house.client.zrem(f"{Key.TURNS}paint.compact", "bob")
    [finding] = audit(house.client, house.studio.objects, house.config, pause=lambda _: None)
    assert (finding.code, finding.subject, finding.fault) == (Code.RECORD_LATER, house.waiting.uid, False)


def test_an_audit_changes_nothing(house: House) -> None:
    _overdue(house)
    _pointers_lost(house)
    before = dumped(house.client)
    house.found(deep=True)
    assert dumped(house.client) == before


def dumped(client: redis.Redis) -> dict[str, bytes]:
    """Everything in the store, as the server would write it to disk."""
    with redis.Redis.from_url(
        f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0", socket_timeout=60
    ) as raw:
        return {key.decode(): raw.dump(key) for key in raw.keys("*")}


def test_an_audit_that_is_told_to_stop_stops_before_its_next_read(house: House) -> None:
    reads = iter([False] * 5)
    with pytest.raises(AuditStoppedError):
        list(
            audit(
                house.client,
                house.studio.objects,
                house.config,
                should_stop=lambda: next(reads, True),
                pause=lambda _: None,
            )
        )
