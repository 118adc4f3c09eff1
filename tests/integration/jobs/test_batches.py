"""A batch from its file to its end, on a real store: what its record counts is what its jobs are."""

import json
from pathlib import Path

import pytest
import redis

from shared.backbones import BACKBONES
from shared.errors import Conflict, IdempotencyMismatch, NotFound, StoreUnavailable
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind
from shared.jobs.batch_record import BatchStatus, NewBatch
from shared.jobs.batches import CHUNK, BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, open_objects
from shared.settings import Settings
from shared.spec import resolve
from tests.support.audit import audit, snapshot
from tests.support.batches import SMALL, chores, new_batch, work_off
from tests.support.clock import Clock
from tests.support.jobs import claim_intake, claim_paint, clean, finish, new_job, sha256
from worker.chores.batches import BatchWork, job_of_line


@pytest.fixture
def batches(redis_client: redis.Redis, config: Settings, clock: Clock) -> BatchStore:  # noqa: ARG001 - by this clock
    return BatchStore(redis_client, config)


@pytest.fixture
def objects(tmp_path: Path, config: Settings) -> ObjectStore:
    return open_objects(config.model_copy(update={"data_dir": tmp_path}))


@pytest.fixture
def work(redis_client: redis.Redis, config: Settings, objects: ObjectStore, clock: Clock) -> BatchWork:  # noqa: ARG001
    return chores(redis_client, config, objects)


def test_every_line_becomes_one_job_in_its_place(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, redis_client: redis.Redis
) -> None:
    count = PART_LINES + CHUNK + 1
    batch = new_batch(batches, objects, count)
    assert (batch.status, batch.loaded, batch.unmade) == (BatchStatus.PROCESSING, 0, count)
    work_off(work)
    loaded = batches.get("ann", batch.id)
    assert (loaded.loaded, loaded.counts[Status.QUEUED], loaded.unmade) == (count, count, 0)
    items = [item for start in range(0, count, 500) for item in batches.stretch(batch.uid, start, 500)]
    assert [(item.index, item.job.custom_id) for item in items] == [(i, f"item {i}") for i in range(count)]
    assert {item.job.batch_id for item in items} == {batch.uid}
    audit(redis_client)


def test_a_job_of_a_batch_is_a_job_like_any_other(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore
) -> None:
    batch = new_batch(batches, objects, 2, metadata={"order": "A-17"}, priority=3, deadline_seconds=60)
    alone = store.submit(new_job("ann")).job
    work_off(work)
    claim = claim_intake(store)
    assert claim.job.uid != alone.uid, "its priority is higher"
    assert claim.job.metadata == {"order": "A-17"}
    assert claim.job.deadline_at == batch.created_at + 60
    assert store.get("ann", claim.job.id) == store.by_uid(claim.job.uid)


def test_counts_follow_the_jobs_until_the_last_has_ended(
    batches: BatchStore,
    objects: ObjectStore,
    work: BatchWork,
    store: JobStore,
    clock: Clock,
    redis_client: redis.Redis,
) -> None:
    batch = new_batch(batches, objects, 3, skip_intake=True)
    work_off(work)
    first, second = claim_paint(store), claim_paint(store)
    now = batches.get("ann", batch.id)
    assert (now.counts[Status.QUEUED], now.counts[Status.PROCESSING]) == (1, 2)
    finish(store, first)
    store.release(second)
    now = batches.get("ann", batch.id)
    assert (now.counts[Status.QUEUED], now.counts[Status.PROCESSING], now.ended) == (2, 0, 1)
    store.cancel("ann", second.job.id)
    clock.advance(10)
    assert batches.get("ann", batch.id).status is BatchStatus.PROCESSING
    finish(store, claim_paint(store))
    done = batches.get("ann", batch.id)
    assert (done.status, done.counts[Status.SUCCEEDED], done.counts[Status.CANCELED]) == ("completed", 2, 1)
    assert done.completed_at is not None
    assert done.expires_at == done.completed_at + 1000
    audit(redis_client)


def test_a_batch_whose_first_jobs_end_before_the_last_are_made_goes_on(
    batches: BatchStore, objects: ObjectStore, store: JobStore
) -> None:
    batch = new_batch(batches, objects, 2, skip_intake=True)
    claim = batches.claim()
    assert claim
    lines = BatchFile(objects, batch.uid, Kind.ITEMS).read(0)
    assert batches.load(claim, 0, [job_of_line(lines[0], 0, batch)])
    finish(store, claim_paint(store))
    assert batches.get("ann", batch.id).status is BatchStatus.PROCESSING
    assert batches.load(claim, 1, [job_of_line(lines[1], 1, batch)])
    assert batches.get("ann", batch.id).status is BatchStatus.PROCESSING
    finish(store, claim_paint(store))
    assert batches.get("ann", batch.id).status is BatchStatus.COMPLETED


def test_a_chunk_is_loaded_once_however_often_it_is_sent_and_never_by_a_claim_that_is_lost(
    batches: BatchStore, objects: ObjectStore, clock: Clock, redis_client: redis.Redis, config: Settings
) -> None:
    batch = new_batch(batches, objects, 3)
    lines = BatchFile(objects, batch.uid, Kind.ITEMS).read(0)
    jobs = [job_of_line(line, i, batch) for i, line in enumerate(lines)]
    lost = batches.claim()
    assert lost
    assert batches.claim() is None, "one at a time"
    assert batches.load(lost, 0, jobs[:1])
    assert batches.load(lost, 0, jobs[:1]) is None, "its answer was lost: the cursor is behind it"
    clock.advance(config.lease_seconds + 1)
    held = batches.claim()
    assert held
    assert held.batch.loaded == 1
    assert batches.load(lost, 1, jobs[1:]) is None
    assert batches.load(held, 1, jobs[1:])
    assert len(audit(redis_client).records) == 3
    assert batches.claim() is None


def test_batches_take_turns(batches: BatchStore, objects: ObjectStore, clock: Clock) -> None:
    made = [new_batch(batches, objects, 1, owner=owner).uid for owner in ("ann", "bob")]
    taken = []
    for _ in range(4):
        clock.advance(1)
        claim = batches.claim()
        assert claim
        taken.append(claim.batch.uid)
        batches.give_back(claim)
    assert taken == made * 2


def test_canceling_ends_what_waits_in_portions_and_makes_nothing_more(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore, redis_client: redis.Redis
) -> None:
    count = 3 * CHUNK
    batch = new_batch(batches, objects, count, skip_intake=True)
    claim = batches.claim()
    assert claim
    lines = BatchFile(objects, batch.uid, Kind.ITEMS).read(0)
    assert batches.load(claim, 0, [job_of_line(line, i, batch) for i, line in enumerate(lines[:CHUNK])])
    painted = claim_paint(store)
    asked = batches.cancel("ann", batch.id)
    assert (asked.status, asked.cancel_requested) == (BatchStatus.PROCESSING, True)
    assert batches.load(claim, CHUNK, [job_of_line(lines[CHUNK], CHUNK, batch)]) is None
    assert batches.get("ann", batch.id).counts[Status.CANCELED] == 0, "the request itself cancels nothing"
    batches.give_back(claim)
    work_off(work)
    now = batches.get("ann", batch.id)
    assert now.counts == {**dict.fromkeys(Status, 0), Status.CANCELED: CHUNK - 1, Status.PROCESSING: 1}
    assert now.status is BatchStatus.PROCESSING
    assert store.renew(painted).cancel
    store.canceled(painted)
    done = batches.cancel("ann", batch.id)
    assert (done.status, done.loaded, done.unmade) == (BatchStatus.CANCELED, CHUNK, count - CHUNK)
    assert len(audit(redis_client).records) == CHUNK
    work_off(work)


def test_a_job_that_its_worker_puts_back_while_its_batch_is_stopped_ends_too(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore
) -> None:
    batch = new_batch(batches, objects, 2, skip_intake=True)
    work_off(work)
    painted = claim_paint(store)
    batches.cancel("ann", batch.id)
    claim = batches.claim()
    assert claim
    assert batches.stop(claim), "what waited"
    store.release(painted)
    while batches.stop(claim):
        pass
    assert batches.get("ann", batch.id).status is BatchStatus.CANCELED


def test_a_batch_that_has_ended_cannot_be_canceled(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore
) -> None:
    batch = new_batch(batches, objects, 1, skip_intake=True)
    with pytest.raises(NotFound):
        batches.cancel("bob", batch.id)
    work_off(work)
    finish(store, claim_paint(store))
    with pytest.raises(Conflict):
        batches.cancel("ann", batch.id)


def test_a_job_in_quarantine_fails_as_it_is_made(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, redis_client: redis.Redis
) -> None:
    batch = new_batch(batches, objects, 2, skip_intake=True)
    recipe = json.loads(BatchFile(objects, batch.uid, Kind.ITEMS).read(0)[0])["record"]["recipe"]
    redis_client.set(f"{Key.QUARANTINE}{recipe}", "a job", px=60_000)
    work_off(work)
    done = batches.get("ann", batch.id)
    assert (done.status, done.counts[Status.FAILED]) == (BatchStatus.COMPLETED, 2)
    assert {item.job.error and item.job.error.code for item in batches.stretch(batch.uid, 0, 2)} == {
        "quarantined"
    }
    audit(redis_client)


def test_an_ended_batch_goes_with_its_jobs_and_objects_when_its_retention_is_over(
    batches: BatchStore,
    objects: ObjectStore,
    work: BatchWork,
    store: JobStore,
    clock: Clock,
    redis_client: redis.Redis,
    config: Settings,
) -> None:
    batch = new_batch(batches, objects, CHUNK + 5, skip_intake=True)
    work_off(work)
    done = claim_paint(store)
    key = f"outputs/{done.job.uid}/{done.fence}.png"
    objects.put(key, b"picture", "image/png")
    finish(store, done)
    store.purge("ann", store.cancel("ann", claim_next(store)).id)
    lost = claim_paint(store)
    stray = f"outputs/{lost.job.uid}/{lost.fence}.png"
    objects.put(stray, b"of a worker that was lost before it could say so", "image/png")
    clock.advance(config.lease_seconds + 1)
    store.reap()
    batches.cancel("ann", batch.id)
    work_off(work)
    assert batches.get("ann", batch.id).gone[Status.CANCELED] == 1
    audit(redis_client)
    clock.advance(config.retention_seconds - 1)
    assert not work.step()
    clock.advance(2)
    work_off(work)
    assert list(objects.list("batches/")) == []
    assert objects.stat(key) is objects.stat(stray) is None
    left = audit(redis_client)
    assert (left.records, left.batches) == ({}, {})
    with pytest.raises(NotFound):
        batches.get("ann", batch.id)


def claim_next(store: JobStore) -> str:
    """ID of a job that is put back at once: the next one."""
    claim = claim_paint(store)
    store.release(claim)
    return claim.job.id


def test_a_deleted_batch_is_gone_at_once_and_its_jobs_soon_after(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, redis_client: redis.Redis
) -> None:
    batch = new_batch(batches, objects, 3)
    work_off(work)
    with pytest.raises(Conflict):
        batches.delete("ann", batch.id)
    batches.cancel("ann", batch.id)
    work_off(work)
    with pytest.raises(NotFound):
        batches.delete("bob", batch.id)
    batches.delete("ann", batch.id)
    with pytest.raises(NotFound):
        batches.get("ann", batch.id)
    assert batches.list("ann").batches == []
    work_off(work)
    left = audit(redis_client)
    assert (left.records, left.batches) == ({}, {})


def test_inputs_are_kept_until_every_item_is_ajob_of_line(
    batches: BatchStore,
    objects: ObjectStore,
    work: BatchWork,
    redis_client: redis.Redis,
    clock: Clock,
    store: JobStore,
) -> None:
    inputs = [sha256(name) for name in ("bridge", "starry")]
    batch = new_batch(batches, objects, 2, skip_intake=True)
    batches.hold(batch.uid, inputs)
    batches.hold(batch.uid, inputs)
    assert snapshot(redis_client).hash(Key.REFS) == dict.fromkeys(inputs, "1")
    clock.advance(10 * 3600)
    assert store.garbage(10) == []
    work_off(work)
    assert snapshot(redis_client).hash(Key.REFS) == dict.fromkeys(inputs, "2"), "the jobs' own"
    audit(redis_client)


def test_inputs_that_were_kept_for_a_batch_that_never_came_are_let_go(
    batches: BatchStore, work: BatchWork, redis_client: redis.Redis, clock: Clock
) -> None:
    batches.hold("batch_lost", [sha256("bridge")])
    assert not work.step()
    clock.advance(3601)
    work_off(work)
    left = audit(redis_client)
    assert left.hash(Key.REFS) == {}
    assert list(left.zset(Key.UNUSED)) == [sha256("bridge")]


def test_inputs_that_are_kept_for_a_batch_that_has_ended_meanwhile_are_let_go(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, redis_client: redis.Redis
) -> None:
    loaded = new_batch(batches, objects, 1)
    canceled, _ = batches.create(NewBatch("batch_2", "ann", BatchStatus.VALIDATING, 1, {}, "hash"))
    batches.cancel("ann", canceled.id)
    work_off(work)
    for batch in (loaded, canceled):
        batches.hold(batch.uid, [sha256("bridge")])
    work_off(work)
    assert redis_client.hget(Key.REFS, sha256("bridge")) is None
    audit(redis_client)


def test_an_idempotency_key_stands_for_one_batch(batches: BatchStore, redis_client: redis.Redis) -> None:
    def make(uid: str, body: str) -> NewBatch:
        return NewBatch(uid, "ann", BatchStatus.PROCESSING, 1, {}, body, idempotency_key="key")

    first, created = batches.create(make("batch_1", "body"))
    again, once_more = batches.create(make("batch_2", "body"))
    assert (created, once_more, again.uid) == (True, False, first.uid)
    with pytest.raises(IdempotencyMismatch):
        batches.create(make("batch_3", "another body"))
    assert list(snapshot(redis_client).batches) == [first.uid]
    assert batches.created_with("ann", "key", "body") == first
    with pytest.raises(IdempotencyMismatch):
        batches.created_with("ann", "key", "another body")


def test_a_key_and_an_owner_with_colons_are_not_taken_for_others(
    batches: BatchStore, store: JobStore
) -> None:
    for number, (key, owner) in enumerate((("order", "7:ann"), ("order:7", "ann"))):
        batch = NewBatch(f"batch_{number}", owner, BatchStatus.PROCESSING, 1, {}, "hash", idempotency_key=key)
        assert batches.created_with(owner, key, "hash") is None
        assert batches.create(batch)[1], "it is new"
        assert store.submitted_with(owner, key) is None
        job = store.submit(new_job(owner, idempotency_key=key))
        assert (job.created, job.job.owner) == (True, owner)
        assert store.submitted_with(owner, key) == job.job


def test_the_rate_is_of_the_last_minutes_and_unknown_before_the_first_item_ended(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore, clock: Clock
) -> None:
    batch = new_batch(batches, objects, 30, skip_intake=True)
    work_off(work)

    def rate() -> float | None:
        return batches.get("ann", batch.id).rate(clock.now / 1000)

    assert rate() is None
    for _ in range(10):
        finish(store, claim_paint(store))
        clock.advance(6)
    assert rate() == pytest.approx(1 / 6, rel=0.2)
    clock.advance(301)
    assert rate() is None, "what ended long ago says nothing of now"
    finish(store, claim_paint(store))
    assert len(batches.get("ann", batch.id).slots) == 1


def test_items_that_share_a_picture_are_no_work_and_say_nothing_of_the_rate(
    batches: BatchStore,
    objects: ObjectStore,
    work: BatchWork,
    store: JobStore,
    clock: Clock,
    redis_client: redis.Redis,
) -> None:
    # Every second item is of one picture: 11 are painted, 9 take no time.
    batch = new_batch(
        batches,
        objects,
        20,
        skip_intake=True,
        fresh=False,
        each=lambda index: {"content": clean("twin" if index % 2 == 0 else f"picture {index}")},
    )
    work_off(work)

    def now() -> tuple[int, int, float | None]:
        found = batches.get("ann", batch.id)
        return found.following, found.to_do, found.rate(clock.now / 1000)

    assert now() == (9, 11, None)
    first = claim_paint(store)
    clock.advance(10)
    finish(store, first)
    assert batches.get("ann", batch.id).counts[Status.SUCCEEDED] == 10
    assert now() == (0, 10, pytest.approx(1 / 10))
    for _ in range(10):
        claim = claim_paint(store)
        clock.advance(10)
        finish(store, claim)
    assert batches.get("ann", batch.id).status is BatchStatus.COMPLETED
    audit(redis_client)


def test_followers_that_end_or_lead_are_no_followers_of_the_batch_any_more(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore
) -> None:
    batch = new_batch(batches, objects, 5, skip_intake=True, fresh=False)
    work_off(work)
    following = [item.job for item in batches.stretch(batch.uid, 0, 5) if item.job.following]
    assert batches.get("ann", batch.id).following == len(following) == 4
    store.cancel("ann", following[0].id)
    assert batches.get("ann", batch.id).following == 3
    leader = next(item.job for item in batches.stretch(batch.uid, 0, 5) if not item.job.following)
    store.cancel("ann", leader.id)
    assert batches.get("ann", batch.id).following == 2, "the next one leads"
    batches.cancel("ann", batch.id)
    work_off(work)
    ended = batches.get("ann", batch.id)
    assert (ended.status, ended.following, ended.to_do) == (BatchStatus.CANCELED, 0, 0)


def test_what_shares_a_picture_that_is_there_already_begins_no_clock(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore, clock: Clock
) -> None:
    store.submit(new_job(skip_intake=True, fresh=False, spec=resolve(SMALL, BACKBONES["compact"])))
    finish(store, claim_paint(store))
    batch = new_batch(
        batches,
        objects,
        6,
        skip_intake=True,
        fresh=False,
        each=lambda index: {"content": clean("bridge" if index < 5 else "another")},
    )
    work_off(work)
    clock.advance(5)
    found = batches.get("ann", batch.id)
    assert (found.counts[Status.SUCCEEDED], found.to_do, found.rate(clock.now / 1000)) == (5, 1, None)


def test_a_full_server_makes_no_jobs_but_can_still_cancel(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, redis_client: redis.Redis
) -> None:
    batch = new_batch(batches, objects, 5)
    redis_client.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable):
            work.step()
        assert batches.cancel("ann", batch.id).status is BatchStatus.CANCELED
    finally:
        redis_client.config_set("maxmemory", 0)
    assert audit(redis_client).records == {}


def test_listing_pages_through_batches_and_their_items(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore
) -> None:
    made = [new_batch(batches, objects, 1).uid for _ in range(3)]
    page = batches.list("ann", limit=2)
    rest = batches.list("ann", limit=2, page_token=page.next_token)
    assert [batch.uid for batch in (*page.batches, *rest.batches)] == made[::-1]
    assert rest.next_token is None

    batch = new_batch(batches, objects, 5)
    work_off(work)
    store.cancel("ann", batches.stretch(batch.uid, 1, 1)[0].job.id)
    first = batches.items(batch.uid, limit=3)
    second = batches.items(batch.uid, limit=3, page_token=first.next_token)
    assert [job.custom_id for job in (*first.jobs, *second.jobs)] == [f"item {i}" for i in range(5)]
    assert second.next_token is None
    assert [job.custom_id for job in batches.items(batch.uid, status=Status.CANCELED).jobs] == ["item 1"]
    newest = batches.newest("ann", batch.id, limit=2)
    assert [job.custom_id for job in newest.jobs] == ["item 4", "item 3"]
    older = batches.newest("ann", batch.id, limit=10, page_token=newest.next_token)
    assert [job.custom_id for job in older.jobs] == ["item 2", "item 1", "item 0"]
    assert batches.newest("bob", batch.id).jobs == []


def test_nothing_of_a_batch_holds_redis_for_long(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, redis_client: redis.Redis
) -> None:
    """What one call does is bounded: a batch ten times as large takes more calls, not longer ones."""
    batch = new_batch(batches, objects, 10 * CHUNK)

    def calls() -> int:
        stats = redis_client.info("commandstats")
        return sum(stats.get(f"cmdstat_{name}", {"calls": 0})["calls"] for name in ("eval", "evalsha"))

    before = calls()
    work_off(work)
    batches.cancel("ann", batch.id)
    work_off(work)
    assert calls() - before >= 10 + 20, "ten calls to load, twenty to cancel"
    assert batches.get("ann", batch.id).status is BatchStatus.CANCELED


def test_bells_are_asked_for_as_far_as_few_are_out(
    batches: BatchStore, objects: ObjectStore, redis_client: redis.Redis
) -> None:
    batch = new_batch(batches, objects, 2)
    line = BatchFile(objects, batch.uid, Kind.ITEMS).read(0)[0]
    claim = batches.claim()
    assert claim
    loaded = batches.load(claim, 0, [job_of_line(line, 0, batch)])
    assert loaded
    assert set(loaded.ring) == {Queue.INTAKE, Queue.PAINT}
    redis_client.rpush(Queue.INTAKE, *["a bell"] * 4)
    loaded = batches.load(claim, 1, [job_of_line(line, 1, batch)])
    assert loaded
    assert loaded.ring == (Queue.PAINT,)
