"""Attempts: who gets which job, and what the fence refuses."""

import pytest
import redis

from shared.jobs.record import SCHEMA, Checkpoint, PaintProgress, Queue, Stage
from shared.jobs.results import LeaseLostError
from shared.jobs.store import JobStore
from tests.support.audit import audit, snapshot
from tests.support.clock import Clock
from tests.support.jobs import UNSTORED, claim_intake, claim_paint, clean, finish, new_job


def test_owners_take_turns_however_much_one_of_them_sends(store: JobStore) -> None:
    for _ in range(6):
        store.submit(new_job("bulk"))
    claim_intake(store)
    for owner in ("late", "late", "later"):
        store.submit(new_job(owner))

    served = [claim_intake(store).job.owner for _ in range(8)]
    assert served == ["bulk", "late", "later", "bulk", "late", "bulk", "bulk", "bulk"]


def test_an_owner_who_comes_again_and_again_does_not_starve_the_others(store: JobStore) -> None:
    for _ in range(4):
        store.submit(new_job("patient"))
    served = []
    for _ in range(8):
        store.submit(new_job("pushy"))
        served.append(claim_intake(store).job.owner)
    assert served == ["patient", "pushy"] * 4


def test_within_an_owner_priority_comes_first_and_then_age(store: JobStore) -> None:
    jobs = [store.submit(new_job(priority=priority)).job.uid for priority in (0, 5, 9, 5)]
    assert [claim_intake(store).job.uid for _ in jobs] == [jobs[2], jobs[1], jobs[3], jobs[0]]


def test_a_painter_gets_only_jobs_for_the_backbones_it_has(store: JobStore) -> None:
    big = store.submit(new_job(skip_intake=True, backbone="vgg19")).job
    small = store.submit(new_job(skip_intake=True, backbone="compact")).job

    assert claim_paint(store, backbones=("compact",)).job.uid == small.uid
    assert store.claim(Queue.PAINT, "paint-1", ("compact",)) is None
    assert store.claim(Queue.PAINT, "paint-1") is None
    assert claim_paint(store, backbones=("compact", "vgg19")).job.uid == big.uid


def test_turns_hold_across_the_lanes_that_a_painter_serves(store: JobStore) -> None:
    for backbone in ("compact", "vgg19"):
        store.submit(new_job("two", skip_intake=True, backbone=backbone))
    store.submit(new_job("one", skip_intake=True, backbone="compact"))

    served = [claim_paint(store, backbones=("compact", "vgg19")).job.owner for _ in range(3)]
    assert served == ["two", "one", "two"]


def test_a_claim_starts_an_attempt_under_a_fence_of_its_own(store: JobStore, clock: Clock) -> None:
    store.submit(new_job(skip_intake=True))
    clock.advance(2)
    first = claim_paint(store, "paint-1")
    job = first.job
    assert (job.status, job.stage, job.attempt, job.worker) == ("processing", "painting", 1, "paint-1")
    assert job.started_at == clock.now / 1000
    store.release(first)
    clock.advance(2)
    second = claim_paint(store, "paint-2")

    assert (first.fence[:2], second.fence[:2]) == ("1-", "2-")
    assert second.job.started_at == job.started_at


def test_fetching_leaves_a_job_queued(store: JobStore) -> None:
    store.submit(new_job())
    job = claim_intake(store).job
    assert (job.status, job.stage, job.started_at) == ("queued", "fetching", None)


def test_intake_hands_its_clean_copies_on_to_paint(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job())
    claim = claim_intake(store)
    assert store.advance(claim, clean("a"), [clean("b")], {"fetch": 0.25})
    job = claim_paint(store).job

    assert (job.content, job.styles) == (clean("a"), (clean("b"),))
    assert job.attempt == 1
    assert job.seconds == {"fetch": 0.25}
    audit(redis_client)


def test_a_bare_heartbeat_changes_nothing_that_a_poll_sees(store: JobStore) -> None:
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    assert not store.renew(claim).cancel
    assert store.get("ann", claim.job.id) == claim.job
    store.renew(claim, PaintProgress(3, 430, 0, 3, {"style": 0.5}), Stage.STORING, "previews/x")

    job = store.get("ann", claim.job.id)
    assert job.version == claim.job.version + 1
    assert (job.progress, job.stage) == (PaintProgress(3, 430, 0, 3, {"style": 0.5}), "storing")
    assert job.preview_key == "previews/x"


def test_a_checkpoint_tells_which_one_it_replaces(store: JobStore) -> None:
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    assert store.checkpoint(claim, Checkpoint("checkpoints/1", 10)) is None
    assert store.checkpoint(claim, Checkpoint("checkpoints/2", 20)) == "checkpoints/1"
    store.release(claim)
    assert claim_paint(store).job.checkpoint == Checkpoint("checkpoints/2", 20)


def test_a_released_job_is_not_charged_and_keeps_its_place(
    store: JobStore, redis_client: redis.Redis
) -> None:
    jobs = [store.submit(new_job(skip_intake=True)).job for _ in range(3)]
    claim = claim_paint(store)
    assert store.release(claim)

    job = store.get("ann", jobs[0].id)
    assert (job.status, job.stage, job.attempt, job.worker) == ("queued", "waiting", 0, None)
    assert store.position(job) == 1
    audit(redis_client)


def test_a_stale_fence_changes_nothing(store: JobStore, clock: Clock, redis_client: redis.Redis) -> None:
    store.submit(new_job(skip_intake=True))
    stale = claim_paint(store, "frozen")
    clock.advance(31)
    store.reap()
    claim_paint(store, "next")

    before = snapshot(redis_client).raw
    for write in (
        lambda: store.renew(stale, PaintProgress(1, 2, 0, 1)),
        lambda: store.advance(stale, clean("a"), [clean("b")], {}),
        lambda: store.checkpoint(stale, Checkpoint("checkpoints/stale", 1)),
        lambda: store.release(stale),
        lambda: finish(store, stale),
        lambda: store.fail(stale, UNSTORED),
        lambda: store.canceled(stale),
    ):
        with pytest.raises(LeaseLostError):
            write()
    assert snapshot(redis_client).raw == before


def test_a_late_worker_may_go_on_while_nobody_took_its_job(store: JobStore, clock: Clock) -> None:
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    clock.advance(31)
    store.renew(claim)
    assert store.reap().requeued == 0
    finish(store, claim)


def test_an_intake_worker_cannot_finish_a_job(store: JobStore) -> None:
    store.submit(new_job())
    with pytest.raises(LeaseLostError):
        finish(store, claim_intake(store))


def test_records_of_a_later_schema_are_left_to_later_workers(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    later, leased, delayed = (
        store.submit(new_job(skip_intake=True, deadline_seconds=100)).job for _ in "123"
    )
    for _ in range(2):
        claim_paint(store, "next")
    claim = claim_paint(store, "third")
    assert claim.job.uid == delayed.uid
    store.fail(claim, UNSTORED)
    waiting = store.submit(new_job(skip_intake=True, deadline_seconds=100)).job
    for job in (later, leased, delayed, waiting):
        redis_client.hset(f"im:job:{job.uid}", "schema", SCHEMA + 1)
    mine = store.submit(new_job(skip_intake=True)).job
    clock.advance(101)

    assert claim_paint(store).job.uid == mine.uid
    assert store.claim(Queue.PAINT, "paint-1", ("compact",)) is None
    before = snapshot(redis_client).raw
    reaped = store.reap()
    assert (reaped.requeued, reaped.failed, reaped.canceled, reaped.expired) == (0, 0, 0, 0)
    assert snapshot(redis_client).raw == before


def later_records(store: JobStore, redis_client: redis.Redis, number: int, owner: str = "ann") -> None:
    """Jobs that a later Impasto wrote, more urgent than any of ours."""
    for _ in range(number):
        job = store.submit(new_job(owner, skip_intake=True, priority=9)).job
        redis_client.hset(f"im:job:{job.uid}", "schema", SCHEMA + 1)


def test_later_records_before_ours_in_line_keep_no_worker_from_ours(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    later_records(store, redis_client, 1000)
    mine = {store.submit(new_job(skip_intake=True)).job.uid for _ in range(30)}
    claimed = set()
    for _ in range(600):  # bells keep coming
        clock.advance(0.7)
        claim = store.claim(Queue.PAINT, "paint-1", ("compact",))
        claimed |= {claim.job.uid} if claim else set()
    assert claimed == mine
    audit(redis_client)


def test_owners_whose_jobs_are_all_later_keep_no_other_from_its_turn(
    store: JobStore, redis_client: redis.Redis
) -> None:
    for number in range(40):
        later_records(store, redis_client, 1, owner=f"new-{number}")
    mine = store.submit(new_job("old", skip_intake=True)).job
    assert claim_paint(store).job.uid == mine.uid
