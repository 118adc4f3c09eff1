"""The audit: silent beside a service at work, and each planted fault found, and no other beside it."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from shared.audit import AuditStoppedError, Code, audit, references
from shared.audit.named import Named
from shared.audit.reader import Reader
from shared.jobs import policy
from shared.jobs.hashes import to_json
from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from shared.jobs.results import Claim
from shared.jobs.scripts import Scripts
from shared.jobs.store import JobStore
from shared.objects import ObjectStat, ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings
from tests.integration.jobs.plants import (
    LONG_AGO,
    LOST,
    PLANTED,
    Found,
    House,
    input_of_nobody,
    overdue,
    pointers_lost,
    refs_too_high,
)
from tests.support.audit import audit as recount
from tests.support.busy import PNG, Crowd, Studio
from tests.support.s3 import S3Server
from worker.chores.tidy import Tidy


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, redis_timeout=20, data_dir=tmp_path, reap_seconds=0.1)


@pytest.fixture
def store(config: Settings) -> Iterator[JobStore]:
    """A store that goes by the server's own clock, as the audit does."""
    with connect(config) as client:
        yield JobStore(client, config)


@pytest.fixture
def house(redis_client: redis.Redis, config: Settings, store: JobStore) -> House:
    return House.furnished(redis_client, config, Studio(store, open_objects(config)))


def test_a_house_with_jobs_in_every_state_is_healthy(house: House) -> None:
    assert house.found(deep=True) == set()


def test_a_house_on_s3_is_healthy_and_a_lost_result_is_found_there(
    redis_client: redis.Redis, store: JobStore, s3: S3Server, config: Settings, tmp_path: Path
) -> None:
    settings = s3.settings(tmp_path, redis_url=config.redis_url, redis_timeout=20, reap_seconds=0.1)
    house = House.furnished(redis_client, settings, Studio(store, open_objects(settings)))
    assert house.found(deep=True) == set()
    assert house.succeeded.output
    house.studio.objects.delete(house.succeeded.output.key)
    assert house.found() == {(Code.OUTPUT_MISSING, house.succeeded.uid)}


def test_nothing_is_found_while_everything_moves(redis_client: redis.Redis, config: Settings) -> None:
    # Unused inputs are collected meanwhile.
    short = {"retry_delay": 0.05, "retention_seconds": 5, "input_grace_seconds": 6}
    settings = config.model_copy(update=short)
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
        house.studio.objects,
        lambda: house.studio.purge(house.succeeded),
        hidden=f"outputs/{house.succeeded.uid}/",
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


def test_an_input_that_is_let_go_and_named_again_in_each_look_is_not_miscounted(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    studio, passed = house.studio, references._names
    named = [studio.submit("in and out")]

    def meanwhile(reader: Reader) -> Iterator[tuple[references.Namer, Named]]:
        studio.store.cancel("ann", named[-1].id)
        studio.purge(named[-1])
        yield from passed(reader)
        named.append(studio.submit("in and out"))

    monkeypatch.setattr(references, "_names", meanwhile)
    assert house.found() == set()
    assert len(named) > 3
    # One that stands still beside it is found all the same.
    refs_too_high(house)
    assert house.found() == {(Code.REFS_DISAGREE, Key.REFS)}


@pytest.mark.parametrize("missed", [f"{Key.LIST}processing:", Key.WAIT])
def test_sets_that_come_and_go_between_the_looks_are_counted(
    house: House, monkeypatch: pytest.MonkeyPatch, missed: str
) -> None:
    passed = Reader.keys

    def without(reader: Reader, prefix: str) -> Iterator[list[str]]:
        # Each of these sets is gone whenever the keys are gone through, and there when it is counted
        for names in passed(reader, prefix):
            yield [name for name in names if not f"{prefix}{name}".startswith(missed)]

    monkeypatch.setattr(Reader, "keys", without)
    assert house.found() == set()
    for status in ("queued", "processing"):
        house.client.hincrby(Key.COUNTS, status, 1)
    house.client.hincrby(Key.WAITING, "paint.compact", 1)
    assert house.found() == {(Code.COUNT_DISAGREES, Key.COUNTS), (Code.WAITING_DISAGREES, Key.WAITING)}


@pytest.mark.parametrize("wrong", [1, -1])
def test_a_count_is_put_right_only_as_far_as_it_is_still_known_what_it_should_be(
    house: House, wrong: int
) -> None:
    studio, sha256 = house.studio, house.waiting.content.sha256
    assert sha256
    house.client.hincrby(Key.REFS, sha256, wrong)
    findings = audit(house.client, studio.objects, house.config, repair=True, pause=lambda _: None)
    [finding] = audit(house.client, studio.objects, house.config, pause=lambda _: None)
    assert finding.repair
    scripts = Scripts(house.client, policy.policy(house.config))
    # Given two jobs more that name it, of which the finding knows nothing
    more = [studio.submit("waits"), studio.submit("waits")]
    [done] = scripts.run("mend", statuses=list(Status), **finding.repair)
    # It is left as it is, too high or too low: those that are known do not say what it should be
    assert (done, house.client.hget(Key.REFS, sha256)) == (0, str(3 + wrong))
    for job in more:
        studio.store.cancel("ann", job.id)
        studio.purge(job)
    # What is found anew is put right
    assert [found.repaired for found in findings] == [True]
    recount(house.client)


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_a_planted_fault_is_found_and_nothing_else(house: House, plant: Callable[[House], Found]) -> None:
    expected = plant(house)
    assert house.found() == expected


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_what_follows_from_the_records_is_put_right(house: House, plant: Callable[[House], Found]) -> None:
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


def test_an_output_whose_maker_is_gone_is_no_leftover_while_others_have_it(house: House) -> None:
    assert house.sharer.output
    assert house.sharer.output == house.made.output
    house.studio.purge(house.made)
    house.old(house.sharer.output.key)
    house.record(house.sharer, output=to_json(replace(house.sharer.output, bytes=3)))
    assert house.found() == set()
    house.studio.purge(house.sharer)
    assert house.studio.objects.stat(house.sharer.output.key) is None


def test_where_a_record_cannot_be_read_no_input_is_given_up_for_deletion(house: House) -> None:
    [(_, key)] = input_of_nobody(house)
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
    overdue(house)
    pointers_lost(house)
    before = dumped(house.client)
    house.found(deep=True)
    assert dumped(house.client) == before


def dumped(client: redis.Redis) -> dict[str, object]:
    """Everything in the store, as the server would write it to disk; hashes, whose order may change when they
    are read, by their fields.
    """
    with redis.Redis.from_url(
        f"redis://127.0.0.1:{client.connection_pool.connection_kwargs['port']}/0", socket_timeout=60
    ) as raw:
        return {
            key.decode(): raw.hgetall(key) if raw.type(key) == b"hash" else raw.dump(key)
            for key in raw.keys("*")
        }


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
