"""How fast a batch is said to go, where some of its items share the pictures of others."""

import pytest
import redis

from shared.backbones import BACKBONES
from shared.jobs.batch_record import BatchStatus
from shared.jobs.batches import BatchStore
from shared.jobs.record import Status
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.spec import resolve
from tests.support.audit import audit
from tests.support.batches import SMALL, new_batch, work_off
from tests.support.clock import Clock
from tests.support.jobs import claim_paint, clean, finish, new_job
from worker.chores.batches import BatchWork


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
