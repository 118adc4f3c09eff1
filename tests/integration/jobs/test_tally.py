"""What the store counts: writes refused, leases that ran out, jobs put back and jobs finished."""

import pytest
import redis

from shared.jobs.keys import Key
from shared.jobs.record import Checkpoint, Queue
from shared.jobs.results import LeaseLostError, Tally
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.clock import Clock
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, clean, finish, new_job


def test_a_new_store_has_counted_nothing(store: JobStore) -> None:
    assert store.tally() == Tally()


def test_every_write_under_a_stale_fence_is_counted(store: JobStore, clock: Clock, config: Settings) -> None:
    store.submit(new_job(skip_intake=True))
    stale = claim_paint(store)
    clock.advance(config.lease_seconds)
    assert store.reap().requeued == 1
    claim_paint(store)
    writes = (
        lambda: store.renew(stale),
        lambda: store.checkpoint(stale, Checkpoint("checkpoints/1", 1)),
        lambda: store.companions(stale, 1),
        lambda: store.release(stale),
        lambda: store.fail(stale, UNSTORED),
        lambda: store.canceled(stale),
        lambda: store.advance(stale, clean("a"), [clean("b")], {}),
        lambda: finish(store, stale),
    )
    for number, write in enumerate(writes, start=1):
        with pytest.raises(LeaseLostError):
            write()
        assert store.tally() == Tally(lost=1, stale=number)


def test_a_success_counts_once_however_often_it_is_told(store: JobStore) -> None:
    job = store.submit(new_job(skip_intake=True)).job
    claim = claim_paint(store)
    for _ in range(3):
        finish(store, claim)
    assert store.tally() == Tally(finished=1, repeated=2)
    store.purge(job.owner, job.id)
    assert store.tally().finished == 1, "a purge takes nothing back"


def test_a_job_that_is_put_back_counts_and_one_that_ends_instead_does_not(store: JobStore) -> None:
    store.submit(new_job())
    store.release(claim_intake(store))
    assert store.tally() == Tally(released=1)
    claim = claim_intake(store)
    store.advance(claim, clean("a"), [clean("b")], {})
    paint = claim_paint(store)
    store.cancel(paint.job.owner, paint.job.id)
    store.release(paint)
    assert store.tally() == Tally(released=1)


def test_a_tally_that_cannot_be_kept_stops_no_job(store: JobStore, redis_client: redis.Redis) -> None:
    redis_client.set(Key.TALLY, "not a hash")
    store.submit(new_job(skip_intake=True))
    store.release(claim_paint(store))
    finish(store, claim_paint(store))
    assert store.counts()["succeeded"] == 1
    assert store.claim(Queue.PAINT, "worker", ["compact"]) is None
