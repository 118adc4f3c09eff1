"""What goes with a batch that is over or deleted, and what is kept for it until then."""

import pytest
import redis

from shared.errors import Conflict, NotFound
from shared.jobs.batch_record import BatchStatus, NewBatch
from shared.jobs.batches import CHUNK, BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Status
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.audit import audit, snapshot
from tests.support.batches import new_batch, work_off
from tests.support.clock import Clock
from tests.support.jobs import claim_paint, finish, new_job, sha256
from worker.chores.batches import BatchWork


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


def test_a_batch_whose_retention_is_over_goes_once_its_retry_has_read_it(
    batches: BatchStore,
    objects: ObjectStore,
    work: BatchWork,
    clock: Clock,
    redis_client: redis.Redis,
    config: Settings,
) -> None:
    batch = new_batch(batches, objects, 2)
    batches.hold(batch.uid, [sha256("bridge")])
    batches.cancel("ann", batch.id)
    clock.advance(config.retention_seconds - 1)
    retry = NewBatch("batch_again", "ann", BatchStatus.VALIDATING, 2, {}, "hash", retry_of=batch.id)
    again, _ = batches.create(retry)
    clock.advance(2)
    assert batches.purge_due() is None
    batches.let_go()
    assert redis_client.hget(Key.REFS, sha256("bridge")) == "1"
    assert batches.get("ann", batch.id).status is BatchStatus.CANCELED
    work_off(work)
    assert batches.get("ann", again.id).loaded == 2
    clock.advance(61)
    work_off(work)
    with pytest.raises(NotFound):
        batches.get("ann", batch.id)
    audit(redis_client)


def test_jobs_whose_retention_is_over_go_once_the_retry_of_their_batch_has_read_them(
    batches: BatchStore,
    objects: ObjectStore,
    work: BatchWork,
    store: JobStore,
    clock: Clock,
    config: Settings,
) -> None:
    batch = new_batch(batches, objects, 2)
    work_off(work)
    batches.cancel("ann", batch.id)
    work_off(work)
    clock.advance(1)
    other = store.submit(new_job("bob")).job
    store.cancel("bob", other.id)
    clock.advance(config.retention_seconds + 1)
    retry = NewBatch("batch_again", "ann", BatchStatus.VALIDATING, 2, {}, "hash", retry_of=batch.id)
    again, _ = batches.create(retry)
    assert store.due_for_purge(1) == [(other.owner, other.id)], "which they do not keep from going"
    work_off(work)
    assert batches.get("ann", again.id).loaded == 2
    assert len(store.due_for_purge(10)) == 3


def test_a_batch_that_has_begun_to_go_is_not_tried_again(
    batches: BatchStore, objects: ObjectStore, work: BatchWork, clock: Clock, config: Settings
) -> None:
    batch = new_batch(batches, objects, CHUNK + 5)
    work_off(work)
    batches.cancel("ann", batch.id)
    work_off(work)
    clock.advance(config.retention_seconds + 1)
    purge = batches.purge_due()
    assert purge is not None
    assert not purge.gone
    with pytest.raises(NotFound):
        batches.create(
            NewBatch("batch_again", "ann", BatchStatus.VALIDATING, 5, {}, "hash", retry_of=batch.id)
        )


@pytest.mark.parametrize("end", ["canceled", "lost"])
def test_a_retry_that_reads_nothing_any_more_keeps_no_batch(
    batches: BatchStore, objects: ObjectStore, redis_client: redis.Redis, end: str
) -> None:
    batch = new_batch(batches, objects, 1)
    batches.cancel("ann", batch.id)
    retry = NewBatch("batch_again", "ann", BatchStatus.VALIDATING, 1, {}, "hash", retry_of=batch.id)
    again, _ = batches.create(retry)
    with pytest.raises(Conflict, match=again.id):
        batches.delete("ann", batch.id)
    if end == "canceled":
        batches.cancel("ann", again.id)
    else:
        redis_client.delete(Key.BATCH + again.uid)
    batches.delete("ann", batch.id)


def test_inputs_are_kept_until_every_item_is_a_job(
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
