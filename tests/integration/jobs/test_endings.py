"""How jobs end, and that an end is final."""

import pytest
import redis

from shared.errors import Conflict, PictureUnreadable
from shared.jobs.record import Queue
from shared.jobs.results import LeaseLostError
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit, snapshot
from tests.support.clock import Clock
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, clean, finish, new_job, output


@pytest.fixture(autouse=True)
def everything_agrees_in_the_end(redis_client: redis.Redis, store: JobStore) -> None:  # noqa: ARG001
    yield
    audit(redis_client)


def test_a_finished_job_has_its_result_and_its_times(store: JobStore, clock: Clock, config: Settings) -> None:
    store.submit(new_job())
    clock.advance(1)
    store.advance(claim_intake(store), clean("a"), [clean("b")], {"fetch": 0.4})
    clock.advance(2.5)
    claim = claim_paint(store)
    clock.advance(10)
    finish(store, claim)

    job = store.get("ann", claim.job.id)
    assert (job.status, job.stage, job.output) == ("succeeded", None, output(claim))
    assert job.seconds == {"fetch": 0.4, "wait": 2.5, "paint": 1.5}
    assert (job.evaluations, job.loss, job.attempt) == (430, {"style": 0.25}, 1)
    assert job.completed_at == clock.now / 1000
    assert job.expires_at == job.completed_at + config.retention_seconds


def test_a_finish_whose_answer_was_lost_can_be_repeated(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    finish(store, claim)
    before = snapshot(redis_client).raw
    finish(store, claim)
    assert snapshot(redis_client).raw == before


def test_a_fault_of_the_job_ends_it_at_once(store: JobStore) -> None:
    store.submit(new_job())
    job = store.fail(claim_intake(store), PictureUnreadable("no picture", pointer="/styles/0"))

    assert (job.status, job.attempt) == ("failed", 1)
    assert (job.error.code, job.error.pointer) == ("picture_unreadable", "/styles/0")
    assert job.attempt_errors == ()


def test_a_fault_of_the_infrastructure_is_tried_again_after_a_growing_delay(
    store: JobStore, clock: Clock
) -> None:
    store.submit(new_job(skip_intake=True))
    for delay in (2, 4):
        job = store.fail(claim_paint(store), UNSTORED)
        assert (job.status, job.stage, job.error) == ("queued", "waiting", None)
        clock.advance(delay - 0.001)
        assert store.reap().requeued == 0
        assert store.claim(Queue.PAINT, "paint-1", ("compact",)) is None
        assert store.position(job) is None
        clock.advance(0.001)
        assert store.reap().requeued == 1


def test_attempts_used_up_keep_every_error(store: JobStore, clock: Clock) -> None:
    store.submit(new_job(skip_intake=True))
    store.fail(claim_paint(store), UNSTORED)
    clock.advance(2)
    store.reap()
    claim_paint(store)
    clock.advance(31)
    store.reap()  # the worker died
    job = store.fail(claim_paint(store), UNSTORED)

    assert (job.status, job.error.code) == ("failed", "attempts_exhausted")
    assert [e.code for e in job.attempt_errors] == [
        "storage_unavailable",
        "worker_lost",
        "storage_unavailable",
    ]


def test_a_job_that_kills_its_workers_is_stopped(store: JobStore, clock: Clock) -> None:
    uid = store.submit(new_job(skip_intake=True)).job.uid
    for _ in range(3):
        claim_paint(store)
        clock.advance(31)
        reaped = store.reap()
    assert reaped.failed == 1
    job = store.by_uid(uid)
    assert (job.status, job.error.code) == ("failed", "attempts_exhausted")
    assert [e.code for e in job.attempt_errors] == ["worker_lost"] * 3


def test_each_stage_has_attempts_of_its_own(store: JobStore, clock: Clock) -> None:
    store.submit(new_job())
    for _ in range(2):
        claim_intake(store)
        clock.advance(31)
        store.reap()
    store.advance(claim_intake(store), clean("a"), [clean("b")], {})
    for _ in range(2):
        claim_paint(store)
        clock.advance(31)
        assert store.reap().requeued == 1
    finish(store, claim_paint(store))


def test_what_is_queued_is_canceled_at_once(store: JobStore, clock: Clock) -> None:
    waiting = store.submit(new_job()).job
    assert store.cancel("ann", waiting.id).status == "canceled"

    fetching = store.submit(new_job()).job
    claim = claim_intake(store)
    assert store.cancel("ann", fetching.id).status == "canceled"
    with pytest.raises(LeaseLostError):
        store.renew(claim)

    delayed = store.submit(new_job(skip_intake=True)).job
    store.fail(claim_paint(store), UNSTORED)
    assert store.cancel("ann", delayed.id).status == "canceled"
    clock.advance(10)
    assert store.reap().requeued == 0


def test_what_is_processing_is_asked_and_then_canceled(store: JobStore) -> None:
    id = store.submit(new_job(skip_intake=True)).job.id  # noqa: A001
    claim = claim_paint(store)
    asked = store.cancel("ann", id)
    assert (asked.status, asked.cancel_requested) == ("processing", True)
    assert store.cancel("ann", id) == asked
    assert store.renew(claim).cancel
    store.canceled(claim)

    job = store.get("ann", id)
    assert (job.status, job.error) == ("canceled", None)
    assert store.cancel("ann", id) == job


def test_a_result_that_is_there_already_wins_over_a_cancel(store: JobStore) -> None:
    id = store.submit(new_job(skip_intake=True)).job.id  # noqa: A001
    claim = claim_paint(store)
    store.cancel("ann", id)
    finish(store, claim)
    assert store.get("ann", id).status == "succeeded"
    with pytest.raises(Conflict):
        store.cancel("ann", id)


@pytest.mark.parametrize("way", ["its worker dies", "is released", "fails"])
def test_a_job_to_be_canceled_is_not_tried_again_when_it(store: JobStore, clock: Clock, way: str) -> None:
    id = store.submit(new_job(skip_intake=True)).job.id  # noqa: A001
    claim = claim_paint(store)
    store.cancel("ann", id)
    match way:
        case "its worker dies":
            clock.advance(31)
            assert store.reap().canceled == 1
        case "is released":
            assert not store.release(claim)
        case "fails":
            store.fail(claim, UNSTORED)
    assert store.get("ann", id).status == "canceled"


def test_a_queued_job_expires_at_its_deadline(store: JobStore, clock: Clock) -> None:
    id = store.submit(new_job(deadline_seconds=60)).job.id  # noqa: A001
    clock.advance(59.999)
    assert store.reap().expired == 0
    clock.advance(0.001)
    assert store.claim(Queue.INTAKE, "intake-1") is None
    assert store.reap().expired == 1
    job = store.get("ann", id)
    assert (job.status, job.error.code) == ("expired", "deadline_exceeded")


def test_a_deadline_stops_a_fetch(store: JobStore, clock: Clock) -> None:
    store.submit(new_job(deadline_seconds=20))
    claim = claim_intake(store)
    clock.advance(20)
    assert store.renew(claim).cancel
    store.canceled(claim)
    assert store.get("ann", claim.job.id).status == "expired"


@pytest.mark.parametrize("worker", ["obeys", "dies", "releases"])
def test_a_deadline_stops_a_painting_whose_worker(store: JobStore, clock: Clock, worker: str) -> None:
    store.submit(new_job(skip_intake=True, deadline_seconds=20))
    claim = claim_paint(store)
    clock.advance(20)
    assert store.reap().expired == 0
    assert store.get("ann", claim.job.id).status == "processing"
    match worker:
        case "obeys":
            assert store.renew(claim).cancel
            store.canceled(claim)
        case "dies":
            clock.advance(31)
            assert store.reap().canceled == 1
        case "releases":
            store.release(claim)
    job = store.get("ann", claim.job.id)
    assert (job.status, job.error.code) == ("canceled", "deadline_exceeded")


def test_a_deadline_that_passes_once_a_painting_was_put_back_cancels_it(
    store: JobStore, clock: Clock
) -> None:
    store.submit(new_job(skip_intake=True, deadline_seconds=20))
    claim = claim_paint(store)
    store.release(claim)
    clock.advance(20)
    assert store.reap().canceled == 1
    job = store.get("ann", claim.job.id)
    assert (job.status, job.error.code) == ("canceled", "deadline_exceeded")


def test_every_change_that_a_poll_sees_moves_the_version(store: JobStore, clock: Clock) -> None:
    job = store.submit(new_job()).job
    seen = [job.version]

    def look() -> None:
        seen.append(store.get("ann", job.id).version)

    claim = claim_intake(store)
    look()
    store.advance(claim, clean("a"), [clean("b")], {})
    look()
    claim = claim_paint(store)
    look()
    store.cancel("ann", job.id)
    look()
    clock.advance(31)
    store.reap()
    look()
    assert seen == sorted(set(seen))


def test_the_reaper_asks_for_bells_where_jobs_wait_and_few_are_outstanding(
    store: JobStore, redis_client: redis.Redis
) -> None:
    for _ in range(6):
        store.submit(new_job())
    store.submit(new_job(skip_intake=True))
    assert store.reap().rang == {Queue.INTAKE: 4, Queue.PAINT: 1}
    redis_client.rpush("intake", "bell", "bell", "bell")
    redis_client.rpush("paint", "bell")
    assert store.reap().rang == {Queue.INTAKE: 1, Queue.PAINT: 0}


def test_one_round_of_the_reaper_is_bounded_and_the_next_goes_on(store: JobStore, clock: Clock) -> None:
    for _ in range(250):
        store.submit(new_job(deadline_seconds=10))
    clock.advance(10)
    assert [store.reap().expired for _ in range(3)] == [200, 50, 0]


def test_two_reapers_do_not_charge_an_attempt_twice(store: JobStore, clock: Clock, config: Settings) -> None:
    id = store.submit(new_job(skip_intake=True)).job.id  # noqa: A001
    claim_paint(store)
    clock.advance(31)
    with connect(config) as client:
        rounds = [store.reap(), JobStore(client, config).reap()]
    assert [r.requeued for r in rounds] == [1, 0]
    assert len(store.get("ann", id).attempt_errors) == 1
