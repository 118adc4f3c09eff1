"""What a pause of the reaper means for leases: Redis may have been away, and then no job is charged."""

from collections.abc import Callable

import pytest
import redis

from shared.jobs import scripts
from shared.jobs.keys import Key
from shared.jobs.record import Job, Queue, Status
from shared.jobs.results import LeaseLostError, Reaped
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.clock import Clock
from tests.support.jobs import claim_intake, claim_paint, finish, new_job

Round = Callable[[], Reaped]


@pytest.fixture
def reaped(store: JobStore, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Round:
    """A round of the reaper, as they come every two seconds; two have been."""
    told, true_source = "redis.pcall('INFO', 'server')", scripts.source
    assert true_source("reap").count(told) == 1
    run = "('run_id:' .. redis.call('GET', 'test:run'))"
    monkeypatch.setattr(scripts, "source", lambda name: true_source(name).replace(told, run))
    store._redis.set("test:run", "first")

    def regular() -> Reaped:
        return store.reap(regular=True)

    regular()
    clock.advance(2)
    regular()
    return regular


def painting(store: JobStore) -> Job:
    store.submit(new_job(skip_intake=True))
    return claim_paint(store).job


def errors(store: JobStore, job: Job) -> tuple[int, list[str]]:
    """Attempts charged so far, and the code of each that failed."""
    now = store.by_uid(job.uid)
    assert now
    return now.attempt, [error.code for error in now.attempt_errors]


def test_a_worker_that_lives_keeps_its_lease_through_a_pause_of_the_reaper(
    store: JobStore, clock: Clock, reaped: Round
) -> None:
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    clock.advance(29)
    store.renew(claim)
    clock.advance(31)
    assert reaped().requeued == 0
    store.renew(claim)
    clock.advance(29)
    reaped()
    finish(store, claim)


def test_one_that_has_died_in_the_pause_is_charged_when_nothing_tells_that_redis_was_away(
    store: JobStore, clock: Clock, reaped: Round, config: Settings
) -> None:
    job = painting(store)
    clock.advance(31)
    assert reaped().requeued == 0
    clock.advance(config.lease_seconds)
    store._redis.set(Key.REAPED, clock.now)
    assert reaped().requeued == 1
    assert errors(store, job) == (1, ["worker_lost"])


@pytest.mark.parametrize("known", ["a worker asked in vain", "it was started in the pause"])
def test_what_was_lost_while_redis_was_away_is_charged_to_nobody(
    store: JobStore, clock: Clock, reaped: Round, redis_client: redis.Redis, config: Settings, known: str
) -> None:
    store.submit(new_job())
    fetching = claim_intake(store)
    job = painting(store)
    clock.advance(40)
    if "started" in known:
        redis_client.set("test:run", "second")
    reaped()
    if "asked" in known:
        store.was_away()
    clock.advance(config.lease_seconds)
    redis_client.set(Key.REAPED, clock.now)
    assert reaped().requeued == 2
    assert errors(store, job) == errors(store, fetching.job) == (0, ["store_unavailable"])
    with pytest.raises(LeaseLostError):
        store.renew(fetching)
    audit(redis_client)
    # Another attempt is an attempt as ever.
    assert claim_paint(store).job.attempt == 1
    clock.advance(31)
    redis_client.set(Key.REAPED, clock.now)
    reaped()
    assert errors(store, job) == (1, ["store_unavailable", "worker_lost"])


def test_a_worker_that_was_heard_after_the_outage_and_then_died_is_charged(
    store: JobStore, clock: Clock, reaped: Round, config: Settings
) -> None:
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    clock.advance(29)
    reaped()
    store.was_away()
    clock.advance(1)
    store.renew(claim)
    clock.advance(config.lease_seconds)
    store._redis.set(Key.REAPED, clock.now)
    assert reaped().requeued == 1
    assert errors(store, claim.job) == (1, ["worker_lost"])


def test_a_job_is_not_tried_for_ever_however_often_redis_goes_with_its_worker(
    store: JobStore, clock: Clock, reaped: Round, config: Settings
) -> None:
    job = painting(store)
    for _ in range(2 * config.max_attempts):
        clock.advance(40)
        reaped()
        store.was_away()
        clock.advance(config.lease_seconds)
        store._redis.set(Key.REAPED, clock.now)
        reaped()
        store.claim(Queue.PAINT, "paint-1", ("compact",))
    ended = store.by_uid(job.uid)
    assert ended
    assert (ended.status, len(ended.attempt_errors)) == (Status.FAILED, 2 * config.max_attempts)


@pytest.mark.parametrize("key", [Key.LEASES, Key.DELAYED, Key.DEADLINES])
def test_a_job_that_has_ended_stays_so_whatever_still_names_it(
    store: JobStore, clock: Clock, redis_client: redis.Redis, key: Key
) -> None:
    job = painting(store)
    store.cancel(job.owner, job.id)
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    finish(store, claim)
    before = store.by_uid(claim.job.uid)
    redis_client.zadd(key, {claim.job.uid: clock.now - 1})
    for _ in range(2):
        store.reap()
    assert store.by_uid(claim.job.uid) == before
    assert redis_client.zscore(key, claim.job.uid) is None
    audit(redis_client)
