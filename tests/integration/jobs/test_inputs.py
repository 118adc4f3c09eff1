"""Purging jobs, and which inputs are still needed."""

from dataclasses import replace

import pytest
import redis

from shared.errors import Conflict, NotFound, StorageUnavailable
from shared.jobs.inputs import InputStore
from shared.jobs.pictures import Picture
from shared.jobs.record import Checkpoint
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.audit import audit, snapshot
from tests.support.clock import Clock
from tests.support.jobs import claim_intake, claim_paint, clean, finish, new_job, output, sha256

HOUR = 3600


def test_a_purge_forgets_the_job_and_names_its_objects(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(skip_intake=True, id="poster"))
    claim = claim_paint(store)
    store.renew(claim, preview_key=f"previews/{claim.job.uid}")
    store.checkpoint(claim, Checkpoint("checkpoints/1", 10))
    finish(store, claim)

    purged = store.purge("ann", "poster")
    assert set(purged.keys) == {output(claim).key, f"previews/{claim.job.uid}", "checkpoints/1"}
    with pytest.raises(NotFound):
        store.get("ann", "poster")
    assert store.by_uid(claim.job.uid) is None
    assert store.list("ann").jobs == []
    audit(redis_client)
    assert not any(claim.job.uid in key for key in redis_client.keys("*"))


def test_only_an_ended_job_can_be_purged(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(skip_intake=True, id="poster"))
    for _ in "waiting", "painting":
        before = snapshot(redis_client).raw
        with pytest.raises(Conflict):
            store.purge("ann", "poster")
        assert snapshot(redis_client).raw == before
        store.claim("paint", "paint-1", ["compact"])


def test_a_purged_jobs_id_can_be_used_again(store: JobStore) -> None:
    store.submit(new_job(id="poster", idempotency_key="k"))
    store.cancel("ann", "poster")
    store.purge("ann", "poster")
    assert store.submit(new_job(id="poster", idempotency_key="k")).created


def test_ended_jobs_are_due_for_purge_once_their_retention_is_over(
    store: JobStore, clock: Clock, config: Settings
) -> None:
    jobs = [store.submit(new_job(owner)).job for owner in ("ann", "bob", "eve")]
    for job in jobs[:2]:
        store.cancel(job.owner, job.id)
    clock.advance(config.retention_seconds - 0.001)
    assert store.due_for_purge(10) == []
    clock.advance(0.001)
    due = store.due_for_purge(10)
    assert sorted(due) == [("ann", jobs[0].id), ("bob", jobs[1].id)]
    assert store.due_for_purge(1) == due[:1]


def test_an_input_is_garbage_an_hour_after_the_last_job_that_names_it(store: JobStore, clock: Clock) -> None:
    jobs = [store.submit(new_job(skip_intake=True)).job for _ in range(2)]
    for job in jobs:
        store.cancel("ann", job.id)
    store.purge("ann", jobs[0].id)
    clock.advance(HOUR)
    assert store.garbage(10) == []
    store.purge("ann", jobs[1].id)
    clock.advance(HOUR - 0.001)
    assert store.garbage(10) == []
    clock.advance(0.001)
    assert set(store.garbage(10)) == {f"inputs/{sha256('bridge')}", f"inputs/{sha256('starry')}"}


def test_what_intake_replaces_is_no_longer_needed(store: JobStore, redis_client: redis.Redis) -> None:
    store.submit(new_job(content=clean("old")))
    assert redis_client.hgetall("im:refs") == {sha256("old"): "1"}
    store.advance(claim_intake(store), clean("new"), [clean("new")], {})
    assert redis_client.hgetall("im:refs") == {sha256("new"): "2"}
    assert redis_client.zrange("im:unused", 0, -1) == [sha256("old")]


def test_masks_regions_and_the_start_are_needed_for_as_long_as_their_job_and_no_longer(
    store: JobStore, clock: Clock, redis_client: redis.Redis
) -> None:
    first = replace(clean("starry"), mask=clean("face"), region=clean("sky"))
    second = replace(clean("scream"), region=clean("sky"))
    pictures = {"styles": (first, second), "init": clean("sketch")}
    jobs = [store.submit(new_job(skip_intake=True, **pictures)).job for _ in range(2)]
    named = {"bridge": 1, "starry": 1, "scream": 1, "face": 1, "sky": 2, "sketch": 1}
    assert redis_client.hgetall("im:refs") == {sha256(name): str(2 * n) for name, n in named.items()}
    assert jobs[0].inputs.styles == pictures["styles"]

    for job, left in zip(jobs, (1, 0), strict=True):
        store.cancel("ann", job.id)
        store.purge("ann", job.id)
        expected = {sha256(name): str(left * n) for name, n in named.items()} if left else {}
        assert redis_client.hgetall("im:refs") == expected
        audit(redis_client)
    clock.advance(HOUR)
    assert set(store.garbage(10)) == {f"inputs/{sha256(name)}" for name in named}


def test_intake_brings_masks_and_the_start_under_the_jobs_care(
    store: JobStore, redis_client: redis.Redis
) -> None:
    style = replace(Picture("https://x/b.jpg"), mask=Picture("https://x/m.png"), region=clean("sky"))
    submitted = store.submit(new_job(styles=(style,), init=Picture("https://x/i.jpg"))).job
    assert redis_client.hgetall("im:refs") == {sha256("sky"): "1"}
    claim = claim_intake(store)
    assert claim.job.inputs == submitted.inputs
    brought = replace(clean("starry"), mask=clean("face"), region=clean("sky"))
    store.advance(claim, clean("bridge"), [brought], {}, init=clean("sketch"))
    assert redis_client.hgetall("im:refs") == {
        sha256(name): "1" for name in ("bridge", "starry", "face", "sky", "sketch")
    }
    job = store.get("ann", submitted.id)
    assert (job.styles, job.init) == ((brought,), clean("sketch"))
    audit(redis_client)


def test_a_start_that_is_not_mentioned_again_stays_the_jobs(
    store: JobStore, redis_client: redis.Redis
) -> None:
    submitted = store.submit(new_job(init=clean("sketch"))).job
    store.advance(claim_intake(store), clean("bridge"), [clean("starry")], {})
    assert store.get("ann", submitted.id).init == clean("sketch")
    audit(redis_client)


def test_a_hold_keeps_an_input_until_a_job_names_it(store: JobStore, clock: Clock) -> None:
    store.hold(sha256("bridge"))
    clock.advance(HOUR - 0.001)
    store.hold(sha256("bridge"))  # a second one, for the same picture
    clock.advance(HOUR - 0.001)
    assert store.garbage(10) == []
    store.submit(new_job(skip_intake=True))
    clock.advance(10 * HOUR)
    assert store.garbage(10) == []


def test_a_hold_that_leads_to_nothing_ends_by_itself(store: JobStore, clock: Clock) -> None:
    store.hold(sha256("bridge"))
    clock.advance(HOUR)
    assert store.garbage(10) == [f"inputs/{sha256('bridge')}"]


def test_a_hold_waits_while_the_input_is_being_deleted(
    store: JobStore, clock: Clock, config: Settings
) -> None:
    store.hold(sha256("bridge"))
    clock.advance(HOUR)
    (key,) = store.garbage(10)
    with connect(config) as client:
        hasty = InputStore(client, config.model_copy(update={"redis_timeout": 0.1}))
        with pytest.raises(StorageUnavailable):
            hasty.hold(sha256("bridge"))
    store.forget(key)
    store.hold(sha256("bridge"))
    assert store.garbage(10) == []


def test_a_deletion_that_nobody_reported_is_handed_out_again(store: JobStore, clock: Clock) -> None:
    store.hold(sha256("bridge"))
    clock.advance(HOUR)
    assert len(store.garbage(10)) == 1
    clock.advance(599.999)
    assert store.garbage(10) == []
    clock.advance(0.001)
    (key,) = store.garbage(10)
    store.forget(key)
    clock.advance(HOUR)
    assert store.garbage(10) == []


def test_an_upload_is_kept_for_the_retention_time_and_its_input_with_it(
    store: JobStore, clock: Clock, config: Settings, redis_client: redis.Redis
) -> None:
    store.hold(sha256("photo"))
    store.add_upload("ann", "up_1", clean("photo"))
    store.add_upload("ann", "up_1", clean("photo"))
    assert store.upload("ann", "up_1") == clean("photo")
    assert store.upload("bob", "up_1") is None
    clock.advance(config.retention_seconds)
    store.reap()
    assert store.upload("ann", "up_1") is None
    audit(redis_client)
    clock.advance(HOUR)
    assert store.garbage(10) == [f"inputs/{sha256('photo')}"]
