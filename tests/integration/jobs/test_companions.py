"""Companions: which waiting jobs join one that is held, in whose turn, and how many."""

import threading
from dataclasses import replace
from typing import Any

import pytest
import redis

from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Picture
from shared.jobs.record import SCHEMA, Checkpoint, Queue
from shared.jobs.results import Claim, LeaseLostError
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit, snapshot
from tests.support.clock import Clock
from tests.support.jobs import SPEC, UNSTORED, claim_intake, claim_paint, clean, finish, new_job

BACKBONES = ("compact", "vgg19")
#: Jobs of one owner that one call looks at (companions.lua).
LOOKED_AT = 64


def ready(owner: str = "ann", /, backbone: str = "compact", size: int = 512, **changes: Any) -> NewJob:
    spec = SPEC.model_copy(update={"backbone": backbone, "size": size})
    return new_job(owner, skip_intake=True, spec=spec, **changes)


def uids(claims: Any) -> list[str]:
    return [claim.job.uid for claim in claims]


def companions(store: JobStore, leader: Claim, most: int = 99) -> list[str]:
    return uids(store.companions(leader, most, BACKBONES))


def test_companions_are_of_the_same_bucket_and_lane(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(ready())
    leader = claim_paint(store)
    fitting = [store.submit(ready(metadata={"mine": str(n)})).job.uid for n in range(2)]
    for other in (
        ready(size=256),
        ready(backbone="vgg19"),
        ready(content=replace(clean("tall"), width=48, height=64)),
        new_job(),
    ):
        store.submit(other)

    assert companions(store, leader) == fitting
    assert companions(store, leader) == []
    audit(redis_client)


def test_a_job_that_intake_brought_in_joins_one_that_skipped_it(store: JobStore) -> None:
    store.submit(ready())
    leader = claim_paint(store)
    store.submit(new_job())
    fetched = claim_intake(store)
    store.advance(fetched, clean("a"), [clean("b")], {"fetch": 0.1})

    assert companions(store, leader) == [fetched.job.uid]


def test_a_companion_is_an_attempt_of_its_own(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    store.submit(ready())
    store.submit(ready("bob"))
    leader = claim_paint(store, "paint-7")
    clock.advance(3)
    (claim,) = store.companions(leader, 1, BACKBONES)

    job = claim.job
    assert (job.status, job.stage, job.attempt, job.worker) == ("processing", "painting", 1, "paint-7")
    assert (job.started_at, claim.queue, claim.fence[:2]) == (clock.now / 1000, Queue.PAINT, "1-")
    store.cancel("bob", job.id)
    assert store.renew(claim).cancel
    assert not store.renew(leader).cancel
    store.canceled(claim)
    finish(store, leader)
    assert store.by_uid(job.uid).status == "canceled"
    assert store.by_uid(leader.job.uid).status == "succeeded"
    audit(redis_client)


def test_each_lease_runs_out_by_itself(store: JobStore, clock: Clock, redis_client: redis.Redis) -> None:
    store.submit(ready())
    store.submit(ready())
    leader = claim_paint(store)
    (claim,) = store.companions(leader, 1, BACKBONES)
    clock.advance(20)
    store.renew(leader)
    clock.advance(20)

    assert store.reap().requeued == 1
    store.renew(leader)
    with pytest.raises(LeaseLostError):
        finish(store, claim)
    audit(redis_client)


def test_a_job_that_lost_its_worker_is_painted_alone(store: JobStore, clock: Clock) -> None:
    first, second = (store.submit(ready()).job.uid for _ in range(2))
    assert companions(store, claim_paint(store)) == [second]
    clock.advance(40)
    assert store.reap().requeued == 2
    third = store.submit(ready()).job.uid

    leader = claim_paint(store)
    assert leader.job.uid == first
    assert companions(store, leader) == []
    claim_paint(store)
    leader = claim_paint(store)
    assert leader.job.uid == third
    fourth = store.submit(ready()).job.uid
    assert companions(store, leader) == [fourth]


def test_no_more_are_taken_than_asked_for(store: JobStore) -> None:
    jobs = [store.submit(ready()).job.uid for _ in range(5)]
    leader = claim_paint(store)

    assert companions(store, leader, 0) == []
    assert companions(store, leader, 3) == jobs[1:4]
    assert store.depths()[Queue.PAINT] == 1


def test_owners_take_turns_and_each_ones_priority_decides(store: JobStore) -> None:
    ann = [store.submit(ready("ann", priority=priority)).job.uid for priority in (0, 9, 0, 5)]
    bob = [store.submit(ready("bob")).job.uid for _ in range(2)]
    eve = store.submit(ready("eve")).job.uid
    leader = claim_paint(store)
    assert leader.job.uid == ann[1]

    assert companions(store, leader, 5) == [bob[0], eve, ann[3], bob[1], ann[0]]


def test_whose_job_joined_waits_for_another_turn_in_every_lane(store: JobStore) -> None:
    store.submit(ready("ann"))
    for owner in ("bob", "eve"):
        store.submit(ready(owner))
        store.submit(ready(owner, backbone="vgg19"))
    leader = claim_paint(store, backbones=BACKBONES)

    assert len(store.companions(leader, 1, BACKBONES)) == 1  # bob's
    assert claim_paint(store, backbones=("vgg19",)).job.owner == "eve"


def test_an_owner_whose_jobs_do_not_fit_keeps_the_first_place(store: JobStore) -> None:
    for _ in range(5):
        store.submit(ready("bulk"))
    other = store.submit(ready("other", size=256)).job.uid
    leader = claim_paint(store)
    companions(store, leader, 3)

    assert claim_paint(store).job.uid == other


def test_only_jobs_at_the_same_step_join(store: JobStore) -> None:
    jobs = {name: store.submit(ready()).job.uid for name in ("leader", "same", "other", "fresh")}
    claims = [claim_paint(store) for _ in jobs]
    for claim, step in zip(claims, (20, 20, 30, None), strict=True):
        if step:
            store.checkpoint(claim, Checkpoint(f"checkpoints/{claim.job.uid}", step))
        store.release(claim)

    assert companions(store, claim_paint(store)) == [jobs["same"]]
    assert claim_paint(store).job.uid == jobs["other"]
    assert companions(store, claim_paint(store)) == []


def test_jobs_past_their_deadline_canceled_or_in_back_off_stay(store: JobStore, clock: Clock) -> None:
    store.submit(ready(priority=9))
    store.submit(ready(priority=8))
    leader, failing = claim_paint(store), claim_paint(store)
    store.fail(failing, UNSTORED)
    store.submit(ready(deadline_seconds=5))
    canceled = store.submit(ready()).job
    store.cancel("ann", canceled.id)
    last = store.submit(ready()).job.uid
    clock.advance(6)

    assert companions(store, leader) == [last]


def test_records_of_a_later_schema_or_without_a_bucket_stay(
    store: JobStore, redis_client: redis.Redis
) -> None:
    store.submit(ready())
    leader = claim_paint(store)
    later = store.submit(ready()).job
    redis_client.hset(f"im:job:{later.uid}", "schema", SCHEMA + 1)
    store.submit(ready(content=Picture("x", key=clean("x").key, sha256=clean("x").sha256)))

    assert companions(store, leader) == []


def test_a_leader_without_a_bucket_is_painted_alone(store: JobStore) -> None:
    unmeasured = Picture("x", key=clean("x").key, sha256=clean("x").sha256)
    for _ in range(2):
        store.submit(ready(content=unmeasured))

    assert companions(store, claim_paint(store)) == []


def test_a_leader_that_lost_its_lease_gets_none(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    store.submit(ready())
    leader = claim_paint(store)
    store.submit(ready())
    clock.advance(31)
    store.reap()
    before = snapshot(redis_client).raw

    with pytest.raises(LeaseLostError):
        store.companions(leader, 5, BACKBONES)
    assert snapshot(redis_client).raw == before


def test_what_is_looked_at_is_bounded(store: JobStore) -> None:
    store.submit(ready())
    leader = claim_paint(store)
    for _ in range(LOOKED_AT - 1):
        store.submit(ready(size=256))
    within = store.submit(ready()).job.uid
    beyond = store.submit(ready()).job.uid

    assert companions(store, leader) == [within]
    assert companions(store, leader) == [beyond]


def test_claimers_at_the_same_time_never_get_the_same_job(
    store: JobStore, config: Settings, redis_client: redis.Redis
) -> None:
    submitted = {store.submit(ready(f"owner-{n % 5}")).job.uid for n in range(60)}
    taken: list[str] = []

    def paint(worker: str) -> None:
        with connect(config) as client:
            mine = JobStore(client, config)
            while leader := mine.claim(Queue.PAINT, worker, BACKBONES):
                taken.extend([leader.job.uid, *uids(mine.companions(leader, 3, BACKBONES))])

    threads = [threading.Thread(target=paint, args=(f"paint-{n}",)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(taken) == len(submitted)
    assert set(taken) == submitted
    audit(redis_client)


def test_what_is_lost_in_company_is_charged_to_nobody_and_goes_on_alone(
    store: JobStore, clock: Clock
) -> None:
    for _ in range(3):
        store.submit(new_job(skip_intake=True))
    leader = claim_paint(store)
    batch = [leader, *store.companions(leader, 9, BACKBONES)]
    assert len(batch) == 3
    clock.advance(31)
    assert store.reap().requeued == 3
    for claim in batch:
        job = store.by_uid(claim.job.uid)
        assert job is not None
        assert (job.attempt, [error.code for error in job.attempt_errors]) == (0, ["worker_lost"])

    alone = claim_paint(store)
    assert alone.job.attempt == 1
    assert store.companions(alone, 9, BACKBONES) == []
    clock.advance(31)
    store.reap()
    job = store.by_uid(alone.job.uid)
    assert job is not None
    assert job.attempt == 1, "lost alone, it is charged"
