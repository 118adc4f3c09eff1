"""A job that loses its worker in every attempt is not tried again under another name."""

import json
from dataclasses import replace

import pytest
import redis

from shared.errors import DeviceFailed, Quarantined
from shared.jobs.keys import Key
from shared.jobs.new_job import NewJob
from shared.jobs.pictures import Picture
from shared.jobs.recipes import recipe_of
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.clock import Clock
from tests.support.jobs import SPEC, UNSTORED, claim_intake, claim_paint, clean, finish, new_job

LEASE = 31


@pytest.fixture
def deadly(store: JobStore, clock: Clock) -> NewJob:
    """A job that has lost three paint workers."""
    job = new_job(skip_intake=True)
    store.submit(job)
    lose_painters(store, clock, 3)
    return job


def lose_painters(store: JobStore, clock: Clock, times: int) -> None:
    for _ in range(times):
        claim_paint(store)
        clock.advance(LEASE)
        store.reap()


def test_its_like_is_refused_whoever_asks(store: JobStore, redis_client: redis.Redis, deadly: NewJob) -> None:
    before = audit(redis_client).raw
    for owner in ("ann", "bob"):
        with pytest.raises(Quarantined, match=r"not tried again for 60 min: ask for a smaller `size`"):
            store.submit(new_job(owner, skip_intake=True))
    assert audit(redis_client).raw == before
    # Repeating the request itself finds the job, as ever.
    again = replace(new_job(skip_intake=True), id=deadly.id, body_hash=deadly.body_hash)
    assert store.submit(again).job.uid == deadly.uid


@pytest.mark.parametrize(
    "changes",
    [
        {"spec": SPEC.model_copy(update={"size": 256})},
        {"content": clean("another")},
        {"styles": (replace(clean("starry"), weight=0.5),)},
        {"styles": (replace(clean("starry"), mask=clean("bridge")),)},
        {"styles": (replace(clean("starry"), region=clean("bridge")),)},
        {"init": clean("bridge")},
    ],
)
@pytest.mark.usefixtures("deadly")
def test_any_change_makes_it_another_job(store: JobStore, changes: dict[str, object]) -> None:
    assert store.submit(new_job(skip_intake=True, **changes)).created


def test_its_like_that_waits_already_is_ended_without_an_attempt(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    uids = [store.submit(new_job("bob", skip_intake=True)).job.uid for _ in range(3)]
    other = new_job("bob", skip_intake=True, content=clean("another"))
    lose_painters(store, clock, 3)
    store.submit(other)
    finish(store, claim_paint(store))
    ends = [store.by_uid(uid) for uid in uids]
    codes = [job.error.code for job in ends if job and job.error]
    assert sorted(codes) == ["attempts_exhausted", "quarantined", "quarantined"]
    assert all(
        job and job.attempt == 0 for job in ends if job and job.error and job.error.code == "quarantined"
    )
    audit(redis_client)


@pytest.mark.usefixtures("deadly")
def test_its_like_by_url_is_ended_once_its_pictures_are_in(
    store: JobStore, redis_client: redis.Redis
) -> None:
    job = store.submit(new_job()).job
    claim = claim_intake(store)
    content, styles = (
        replace(clean(name), source=picture.source)
        for name, picture in (("bridge", job.content), ("starry", job.styles[0]))
    )
    store.hold(content.sha256 or "")
    store.hold(styles.sha256 or "")
    store.advance(claim, content, (styles,), {"fetch": 0.1})
    assert store.claim(Queue.PAINT, "paint-1", ("compact",)) is None
    ended = store.by_uid(job.uid)
    assert ended is not None
    assert ended.error is not None
    assert (ended.status, ended.error.code, ended.started_at) == ("failed", "quarantined", None)
    audit(redis_client)


def test_it_is_no_companion(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job("eve", skip_intake=True, content=clean("another")))
    leader = claim_paint(store)
    like = new_job(skip_intake=True)
    store.submit(like)
    key = f"{Key.QUARANTINE}{recipe_of(like.spec, like.inputs)}"
    redis_client.set(key, "what ended its workers", px=60_000)
    assert store.companions(leader, 5, ("compact",)) == []
    redis_client.delete(key)
    assert [claim.job.uid for claim in store.companions(leader, 5, ("compact",))] == [like.uid]


def test_intake_that_dies_of_a_job_puts_its_sources_into_quarantine(store: JobStore, clock: Clock) -> None:
    store.submit(new_job())
    for _ in range(3):
        claim_intake(store)
        clock.advance(LEASE)
        store.reap()
    with pytest.raises(Quarantined):
        store.submit(new_job())
    assert store.submit(new_job(content=Picture("https://example.org/another.jpg"))).created


def test_other_ends_put_nothing_into_quarantine(store: JobStore, clock: Clock) -> None:
    for faults in ([UNSTORED] * 3, [None, UNSTORED, None], [None, None]):
        job = store.submit(new_job(skip_intake=True)).job
        for fault in faults:
            claim = claim_paint(store)
            if fault:
                store.fail(claim, fault)
            clock.advance(LEASE)
            store.reap()
        if len(faults) < 3:
            finish(store, claim_paint(store))
        ended = store.by_uid(job.uid)
        assert ended is not None
        assert ended.status.terminal
    assert store.submit(new_job(skip_intake=True)).created


def test_what_was_lost_in_company_does_not_count_as_lost_alone(store: JobStore, clock: Clock) -> None:
    job = store.submit(new_job(skip_intake=True)).job
    store.fail(claim_paint(store), UNSTORED)
    clock.advance(LEASE)
    store.reap()
    other = store.submit(new_job("bob", skip_intake=True, content=clean("another"))).job
    assert len(store.companions(claim_paint(store), 1, ("compact",))) == 1
    clock.advance(LEASE)
    store.reap()
    store.cancel("bob", other.id)
    lose_painters(store, clock, 2)
    ended = store.by_uid(job.uid)
    assert ended is not None
    assert [error.code for error in ended.attempt_errors] == ["storage_unavailable", *["worker_lost"] * 3]
    assert ended.attempt == 3
    assert ended.error is not None
    assert "Each of 3 attempts lost its worker" not in ended.error.detail
    assert store.submit(new_job(skip_intake=True)).created


def test_pictures_inside_requests_are_told_apart_while_others_are_to_come(
    store: JobStore, clock: Clock
) -> None:
    within = [replace(clean(name), source="data:") for name in ("bridge", "another")]
    store.submit(new_job(content=within[0]))
    for _ in range(3):
        claim_intake(store)
        clock.advance(LEASE)
        store.reap()
    with pytest.raises(Quarantined):
        store.submit(new_job(content=within[0]))
    assert store.submit(new_job(content=within[1])).created


def test_quarantine_ends_by_itself_or_by_hand_and_can_be_switched_off(
    config: Settings, clock: Clock, redis_client: redis.Redis, deadly: NewJob
) -> None:
    (key,) = redis_client.keys(f"{Key.QUARANTINE}*")
    assert redis_client.get(key) == str(clock.now), f"it says when; {deadly.uid} may be purged"
    assert 0 < redis_client.pttl(key) <= 3_600_000
    redis_client.delete(key)
    tolerant = JobStore(redis_client, config.model_copy(update={"quarantine_seconds": 0.0}))
    job = tolerant.submit(new_job(skip_intake=True)).job
    lose_painters(tolerant, clock, 3)
    ended = tolerant.by_uid(job.uid)
    assert ended is not None
    assert ended.error is not None
    assert "not tried again" not in ended.error.detail
    assert tolerant.submit(new_job(skip_intake=True)).created


def test_each_failed_attempt_is_kept_with_its_stage_number_worker_and_time(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    job = store.submit(new_job()).job
    intake = claim_intake(store, "intake-7")
    store.fail(intake, UNSTORED)
    clock.advance(2)
    store.reap()
    store.advance(claim_intake(store), clean("bridge"), (clean("starry"),), {"fetch": 0.1})
    claim_paint(store, "paint-9")
    clock.advance(LEASE)
    store.reap()
    found = store.by_uid(job.uid)
    assert found is not None
    kept = [(e.code, e.stage, e.attempt, e.worker, e.at) for e in found.attempt_errors]
    assert kept == [
        ("storage_unavailable", "fetching", 1, "intake-7", clock.now - 1000 * (2 + LEASE)),
        ("worker_lost", "painting", 1, "paint-9", clock.now),
    ]
    # A record of before these were kept is read, and added to in a form that workers of its time can read.
    bare = [{name: e[name] for name in ("code", "title", "detail")} for e in _errors(redis_client, job.uid)]
    redis_client.hset(f"{Key.JOB}{job.uid}", mapping={"attempt_errors": json.dumps(bare), "schema": 2})
    store.fail(claim_paint(store), UNSTORED)
    older = store.by_uid(job.uid)
    assert older is not None
    assert [e.at is None for e in older.attempt_errors] == [True, True, True]
    assert older.schema == 2


def _errors(client: redis.Redis, uid: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads(client.hget(f"{Key.JOB}{uid}", "attempt_errors"))
    return found


def test_pictures_that_are_in_are_kept_for_the_next_attempt(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    job = store.submit(new_job()).job
    claim = claim_intake(store)
    store.hold(clean("bridge").sha256 or "")
    store.pin(claim, replace(job.inputs, content=clean("bridge")))
    audit(redis_client)
    clock.advance(LEASE)
    store.reap()
    again = claim_intake(store)
    assert (again.job.content, again.job.styles) == (clean("bridge"), job.styles)
    assert again.job.version > job.version
    store.advance(again, clean("bridge"), (clean("starry"),), {"fetch": 0.1})
    assert audit(redis_client).hash(Key.REFS) == {clean(n).sha256: "1" for n in ("bridge", "starry")}


def test_a_device_that_fails_whatever_it_is_given_is_held_against_no_job(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    uid = store.submit(new_job(skip_intake=True)).job.uid
    lose_painters(store, clock, 2)
    store.fail(claim_paint(store), DeviceFailed("cuda has failed: an illegal memory access"))
    ended = store.by_uid(uid)
    assert ended
    assert ended.error
    assert (ended.status, ended.error.code) == ("failed", "attempts_exhausted")
    assert "the last with device_failed: cuda has failed" in ended.error.detail
    assert store.submit(new_job(skip_intake=True)).created
    assert not redis_client.keys(f"{Key.QUARANTINE}*")
    audit(redis_client)
