"""A batch from its file to its end, on a real store: what its record counts is what its jobs are."""

import json

import pytest
import redis

from shared.errors import Conflict, IdempotencyMismatch, NotFound, StoreUnavailable
from shared.jobs.batch_files import PART_LINES, BatchFile, Kind
from shared.jobs.batch_record import BatchStatus, NewBatch
from shared.jobs.batches import CHUNK, BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Queue, Status
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.audit import audit, snapshot
from tests.support.batches import new_batch, work_off
from tests.support.clock import Clock
from tests.support.jobs import claim_intake, claim_paint, finish, new_job
from worker.chores.batches import BatchWork, job_of_line


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


def test_the_end_of_the_last_item_is_told_before_that_of_its_batch(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, store: JobStore, redis_client: redis.Redis
) -> None:
    batch = new_batch(batches, objects, 2, skip_intake=True)
    work_off(work)
    for _ in range(2):
        finish(store, claim_paint(store))
    told = [(fields["uid"] == batch.uid, fields["status"]) for _, fields in redis_client.xrange(Key.CHANGES)]
    assert told[-2:] == [(False, "succeeded"), (True, "completed")]


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
    made = []
    for owner in ("ann", "bob"):
        made.append(new_batch(batches, objects, 1, owner=owner).uid)
        clock.advance(1)
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
