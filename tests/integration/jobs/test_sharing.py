"""Painted once: jobs of one owner and one recipe share a painting, and what becomes of them when it ends."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import redis

from shared import engine_version
from shared.errors import PictureUnreadable
from shared.jobs import recipes, upkeep
from shared.jobs.keys import Key
from shared.jobs.pictures import Picture
from shared.jobs.recipes import recipe_of
from shared.jobs.record import Job, Queue, Stage, Status
from shared.jobs.results import Claim, LeaseLostError
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.clock import Clock
from tests.support.jobs import SPEC, UNSTORED, claim_intake, claim_paint, clean, finish, new_job, output


def submit(store: JobStore, owner: str = "ann", **changes: Any) -> Job:
    """A job that is ready for paint and shares."""
    return store.submit(new_job(owner, **{"skip_intake": True, "fresh": False, **changes})).job


def now(store: JobStore, job: Job) -> Job:
    found = store.by_uid(job.uid)
    assert found is not None
    return found


def nothing_waits(store: JobStore) -> bool:
    return store.claim(Queue.PAINT, "paint-9", ("compact",)) is None


def test_what_is_alike_is_painted_once_and_shared(store: JobStore, redis_client: redis.Redis) -> None:
    leader, follower = submit(store), submit(store)
    assert (follower.status, follower.stage, follower.following) == (Status.QUEUED, Stage.WAITING, True)
    assert store.depths()[Queue.PAINT] == 1
    claim = claim_paint(store)
    assert claim.job.uid == leader.uid
    assert nothing_waits(store)
    late = submit(store)
    audit(redis_client)

    finish(store, claim)

    for job in (follower, late):
        shared = now(store, job)
        assert (shared.status, shared.output) == (Status.SUCCEEDED, output(claim))
        assert shared.reused_from == leader.id
        assert shared.loss == {"style": 0.25}
        assert (shared.started_at, shared.evaluations, shared.batch) == (None, None, None)
    assert now(store, leader).reused_from is None
    assert (store.tally().finished, store.tally().reused) == (3, 2)
    audit(redis_client)


def test_what_was_made_already_succeeds_at_once(store: JobStore, redis_client: redis.Redis) -> None:
    submit(store, id="first")
    claim = claim_paint(store)
    finish(store, claim)
    submitted = store.submit(new_job(skip_intake=True, fresh=False))
    assert (submitted.created, submitted.ring) == (True, False)
    assert submitted.job.status is Status.SUCCEEDED
    assert submitted.job.reused_from == "first"
    again = submit(store)
    assert again.reused_from == "first", "it names who painted it"
    audit(redis_client)


def test_a_job_finds_what_is_alike_once_its_pictures_are_in(
    store: JobStore, redis_client: redis.Redis
) -> None:
    leader = submit(store)
    jobs = [
        store.submit(new_job(fresh=False, content=Picture(f"https://example.org/{n}.jpg"))).job
        for n in range(2)
    ]
    ring = store.advance(claim_intake(store), clean("bridge"), [clean("starry")], {"fetch": 0.5})
    assert not ring, "there is no more to paint than before"
    assert now(store, jobs[0]).following
    finish(store, claim_paint(store))
    store.advance(claim_intake(store), clean("bridge"), [clean("starry")], {"fetch": 0.5})
    for job in jobs:
        assert now(store, job).reused_from == leader.id
        assert now(store, job).seconds["fetch"] == 0.5
        assert "wait" in now(store, job).seconds
    audit(redis_client)


def test_nothing_is_shared_between_owners_recipes_and_fresh_jobs(
    store: JobStore, redis_client: redis.Redis
) -> None:
    jobs = [
        submit(store),
        submit(store, "bob"),
        submit(store, fresh=True),
        submit(store, spec=SPEC.model_copy(update={"seed": 8})),
        submit(store, content=clean("another")),
        submit(store, styles=(replace(clean("starry"), weight=0.5),)),
    ]
    claims = [claim_paint(store) for _ in jobs]
    assert {claim.job.uid for claim in claims} == {job.uid for job in jobs}
    for claim in claims:
        finish(store, claim)
    fresh = submit(store, fresh=True)
    assert fresh.status is Status.QUEUED, "a fresh job does not take what there is"
    assert len({now(store, job).output for job in jobs}) == len(jobs)
    audit(redis_client)


def test_a_fresh_job_gives_nothing_to_others(store: JobStore, redis_client: redis.Redis) -> None:
    submit(store, fresh=True)
    finish(store, claim_paint(store))
    assert submit(store).status is Status.QUEUED
    audit(redis_client)


def test_another_engine_makes_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    job = new_job(skip_intake=True)
    before = recipe_of(job.spec, job.inputs)
    assert engine_version.ENGINE_VERSION
    monkeypatch.setattr(recipes, "ENGINE_VERSION", engine_version.ENGINE_VERSION + 1)
    assert recipe_of(job.spec, job.inputs) != before


def test_a_record_of_an_earlier_schema_shares_nothing(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(fresh=False))
    claim = claim_intake(store)
    redis_client.hset(Key.JOB + claim.job.uid, "schema", 3)
    store.advance(claim, clean("bridge"), [clean("starry")], {})
    assert submit(store).following is False
    audit(redis_client)


def spoil(store: JobStore, claim: Claim) -> object:
    return store.fail(claim, PictureUnreadable("not a picture"))


def exhaust(store: JobStore, claim: Claim) -> None:
    for _ in range(2):
        store.fail(claim, UNSTORED)
        store._redis.incrby("test:clock", 60_000)
        store.reap()
        claim = claim_paint(store)
    store.fail(claim, UNSTORED)


def cancel(store: JobStore, claim: Claim) -> None:
    store.cancel(claim.job.owner, claim.job.id)
    store.canceled(claim)


@pytest.mark.parametrize("end", [spoil, exhaust, cancel])
def test_the_first_follower_leads_when_the_leader_ends_without_a_picture(
    store: JobStore, redis_client: redis.Redis, end: Callable[[JobStore, Claim], object]
) -> None:
    submit(store)
    followers = [submit(store), submit(store), submit(store)]
    end(store, claim_paint(store))
    audit(redis_client)
    assert store.depths()[Queue.PAINT] == 1
    claim = claim_paint(store)
    assert claim.job.uid == followers[0].uid
    assert claim.job.attempt == 1
    finish(store, claim)
    assert [now(store, job).output for job in followers] == [output(claim)] * 3
    assert [now(store, job).reused_from for job in followers] == [None, followers[0].id, followers[0].id]
    audit(redis_client)


def test_a_leader_that_waits_is_canceled_and_the_follower_stands_where_it_would_have_stood(
    store: JobStore, redis_client: redis.Redis
) -> None:
    leader, follower = submit(store), submit(store)
    other = submit(store, content=clean("another"))
    assert store.position(follower) == 1
    store.cancel("ann", leader.id)
    audit(redis_client)
    assert [store.position(now(store, job)) for job in (follower, other)] == [1, 2]
    assert claim_paint(store).job.uid == follower.uid


def test_leaders_and_followers_expire_at_their_own_deadlines(
    store: JobStore, redis_client: redis.Redis, clock: Clock
) -> None:
    deadlines = [10, 10, 100, 20]
    jobs = [submit(store, deadline_seconds=seconds) for seconds in deadlines]
    clock.advance(10)
    store.reap()
    audit(redis_client)
    states = [now(store, job).status for job in jobs]
    assert states == [Status.EXPIRED, Status.EXPIRED, Status.QUEUED, Status.QUEUED]
    clock.advance(10)
    store.reap()
    assert now(store, jobs[3]).status is Status.EXPIRED
    finish(store, claim_paint(store))
    assert now(store, jobs[2]).status is Status.SUCCEEDED
    audit(redis_client)


def test_a_follower_is_canceled_alone(store: JobStore, redis_client: redis.Redis) -> None:
    leader, follower, other = submit(store), submit(store), submit(store)
    assert store.cancel("ann", follower.id).status is Status.CANCELED
    audit(redis_client)
    finish(store, claim_paint(store))
    states = [now(store, job).status for job in (leader, follower, other)]
    assert states == [Status.SUCCEEDED, Status.CANCELED, Status.SUCCEEDED]
    audit(redis_client)


def test_a_follower_has_the_place_of_its_leader_and_the_first_while_that_is_painted(store: JobStore) -> None:
    submit(store, content=clean("another"))
    leader, follower = submit(store), submit(store)
    assert store.position(follower) == store.position(leader) == 2
    claim_paint(store)
    claim_paint(store)
    assert store.position(leader) is None
    assert store.position(follower) == 1


def test_a_follower_that_is_more_urgent_lifts_its_leader(store: JobStore, redis_client: redis.Redis) -> None:
    first = submit(store, content=clean("another"), priority=5)
    leader = submit(store)
    assert store.position(leader) == 2
    submit(store, priority=9)
    assert store.position(leader) == 1
    audit(redis_client)
    assert now(store, leader).priority == 0, "what its caller asked for stays"
    claim = claim_paint(store)
    assert claim.job.uid == leader.uid
    store.release(claim)
    assert claim_paint(store).job.uid == leader.uid, "it stays where it was lifted to"
    assert claim_paint(store).job.uid == first.uid
    audit(redis_client)


def test_the_most_urgent_follower_is_the_next_to_lead(store: JobStore, redis_client: redis.Redis) -> None:
    leader, _, urgent = submit(store), submit(store), submit(store, priority=7)
    store.cancel("ann", leader.id)
    audit(redis_client)
    assert claim_paint(store).job.uid == urgent.uid


def test_a_lost_worker_costs_the_followers_nothing(
    store: JobStore, redis_client: redis.Redis, clock: Clock, config: Settings
) -> None:
    leader, follower = submit(store), submit(store)
    stale = claim_paint(store)
    clock.advance(config.lease_seconds)
    store.reap()
    audit(redis_client)
    claim = claim_paint(store)
    assert claim.job.uid == leader.uid
    with pytest.raises(LeaseLostError):
        finish(store, stale)
    assert now(store, follower).status is Status.QUEUED
    for _ in range(2):
        finish(store, claim)
    assert now(store, follower).output == output(claim)
    assert (store.tally().finished, store.tally().repeated) == (2, 1)


def test_an_output_stays_until_the_last_job_that_names_it_is_purged(
    store: JobStore, redis_client: redis.Redis
) -> None:
    jobs = [submit(store), submit(store)]
    claim = claim_paint(store)
    finish(store, claim)
    jobs.append(submit(store))
    for job in jobs[:2]:
        assert store.purge("ann", job.id).keys == ()
        assert store.shared(output(claim).key)
        audit(redis_client)
        assert submit(store, id=f"after-{job.id}").output == output(claim), "it is still found"
    last = [f"after-{job.id}" for job in jobs[:2]]
    for name in (jobs[2].id, last[0]):
        assert store.purge("ann", name).keys == ()
    assert store.purge("ann", last[1]).keys == (output(claim).key,)
    assert submit(store).status is Status.QUEUED
    assert redis_client.keys(f"{Key.SHARERS}*") == []
    audit(redis_client)


def test_the_maker_that_is_left_is_the_only_one(store: JobStore, redis_client: redis.Redis) -> None:
    maker, sharer = submit(store), submit(store)
    claim = claim_paint(store)
    finish(store, claim)
    assert store.purge("ann", sharer.id).keys == ()
    assert not store.shared(output(claim).key)
    audit(redis_client)
    assert store.purge("ann", maker.id).keys == (output(claim).key,)


def test_retention_of_an_output_follows_the_longest(
    store: JobStore, redis_client: redis.Redis, clock: Clock, config: Settings
) -> None:
    maker = submit(store)
    claim = claim_paint(store)
    finish(store, claim)
    clock.advance(config.retention_seconds - 1)
    sharer = submit(store, deadline_seconds=10_000)
    clock.advance(1)
    assert store.due_for_purge(10) == [("ann", maker.id)]
    assert store.purge("ann", maker.id).keys == ()
    audit(redis_client)
    clock.advance(config.retention_seconds)
    assert store.due_for_purge(10) == [("ann", sharer.id)]
    assert store.purge("ann", sharer.id).keys == (output(claim).key,)


def crowd(store: JobStore, followers: int) -> tuple[Claim, list[Job]]:
    submit(store)
    claim = claim_paint(store)
    return claim, [submit(store) for _ in range(followers)]


def test_many_followers_are_settled_in_pieces_and_none_is_lost_between_them(
    store: JobStore, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upkeep, "BATCH", 40)
    monkeypatch.setattr(upkeep, "SETTLE_ROUNDS", 1)
    claim, jobs = crowd(store, 200)
    finish(store, claim)  # and its worker dies
    done = [sum(now(store, job).status is Status.SUCCEEDED for job in jobs)]
    audit(redis_client)
    assert 0 < done[0] < 200
    late = submit(store)
    assert late.status is Status.SUCCEEDED, "who comes meanwhile need not wait"
    for _ in range(6):
        store.reap()
        audit(redis_client)
        done.append(sum(now(store, job).status is Status.SUCCEEDED for job in jobs))
    assert max(after - before for before, after in pairwise(done)) == 40
    assert done[-1] == 200
    assert store.tally().reused == 201


def test_followers_that_are_left_when_the_output_goes_have_it_painted_again(
    store: JobStore, redis_client: redis.Redis
) -> None:
    claim, jobs = crowd(store, 120)
    finish(store, claim)
    gone = [claim.job, *(job for job in jobs if now(store, job).status is Status.SUCCEEDED)]
    keys = [key for job in gone for key in store.purge("ann", job.id).keys]
    assert keys == [output(claim).key]
    audit(redis_client)
    store.reap()
    audit(redis_client)
    again = claim_paint(store)
    finish(store, again)
    store.reap()
    left = [found.output for job in jobs if (found := store.by_uid(job.uid))]
    assert left == [output(again)] * (len(jobs) - len(gone) + 1)
    audit(redis_client)


def test_followers_of_a_job_in_quarantine_end_with_it(
    store: JobStore, redis_client: redis.Redis, clock: Clock, config: Settings
) -> None:
    claim, jobs = crowd(store, 100)
    for attempt in range(config.max_attempts):
        clock.advance(config.lease_seconds)
        store.reap()
        audit(redis_client)
        if attempt < config.max_attempts - 1:
            claim_paint(store)
    assert {(now(store, job).status, now(store, job).error.code) for job in jobs} == {  # type: ignore[union-attr]
        (Status.FAILED, "quarantined")
    }
    assert claim.job.uid not in redis_client.hvals(f"{Key.RECIPES}ann")


def test_one_round_of_the_reaper_settles_ten_thousand_followers(
    config: Settings, redis_client: redis.Redis
) -> None:
    with connect(config) as client:
        store = JobStore(client, config.model_copy(update={"redis_timeout": 60}))
        submit(store)
        claim = claim_paint(store)
        with redis_client.pipeline(transaction=False) as pipeline:
            # Copies of one follower, past the script: submitting each would be a test of its own.
            follower = submit(store)
            fields = redis_client.hgetall(Key.JOB + follower.uid)
            recipe = fields["recipe"]
            for number in range(10_000):
                uid = f"{follower.uid}x{number}"
                order = int(fields["order"]) + 1 + number
                pipeline.hset(Key.JOB + uid, mapping={**fields, "uid": uid, "id": uid, "order": order})
                pipeline.zadd(f"{Key.LIST}queued:ann", {uid: order})
                pipeline.zadd(Key.DEADLINES, {uid: fields["deadline_at"]})
                pipeline.zadd(f"{Key.FOLLOWING}{recipe}:ann", {uid: 9 * 10**13 + order})
                if len(pipeline) > 1000:
                    pipeline.execute()
            pipeline.hincrby(Key.COUNTS, "queued", 10_000)
            for picture in follower.inputs.each():
                pipeline.hincrby(Key.REFS, str(picture[1].sha256), 10_000)
            pipeline.execute()
        finish(store, claim)
        store.reap()
        assert store.counts()[Status.SUCCEEDED] == 10_002
        audit(redis_client)
