"""How long things are kept: jobs, their outputs, uploads; what a job may ask for itself."""

import redis

from shared.jobs.keys import Key
from shared.jobs.record import Job, Status
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.audit import audit
from tests.support.clock import Clock
from tests.support.jobs import claim_paint, clean, finish, new_job


def stores(client: redis.Redis, **settings: float) -> JobStore:
    return JobStore(client, Settings(retention_seconds=1000, **settings))


def done(store: JobStore, **changes: object) -> Job:
    """A job that has succeeded."""
    store.submit(new_job(skip_intake=True, **changes))
    claim = claim_paint(store)
    finish(store, claim)
    return store.get("ann", claim.job.id)


def test_an_output_goes_with_its_job_unless_a_setting_says_sooner(
    redis_client: redis.Redis, clock: Clock
) -> None:
    store = stores(redis_client)
    job = done(store)
    assert job.expires_at == job.output_expires_at == clock.now / 1000 + 1000
    assert not redis_client.exists(Key.OUTPUT_ENDS), "nothing more is kept for it"


def test_an_output_that_goes_sooner_leaves_the_rest_of_its_job(
    redis_client: redis.Redis, clock: Clock
) -> None:
    store = stores(redis_client, output_seconds=100)
    job = done(store)
    assert job.output
    assert job.output_expires_at == clock.now / 1000 + 100
    clock.advance(99.999)
    assert store.expire_outputs(10) == (0, [])
    clock.advance(0.001)
    assert store.expire_outputs(10) == (1, [job.output.key])
    assert store.expire_outputs(10) == (0, [])
    now = store.get("ann", job.id)
    assert (now.status, now.output, now.output_expires_at) == (Status.SUCCEEDED, None, job.output_expires_at)
    assert now.version == job.version + 1, "a poll by ETag shows it"
    assert now.seconds == job.seconds
    audit(redis_client)
    clock.advance(900)
    assert store.due_for_purge(10) == [("ann", job.id)]


def test_a_purge_before_that_takes_the_output_along(redis_client: redis.Redis, clock: Clock) -> None:
    store = stores(redis_client, output_seconds=100)
    job = done(store)
    assert job.output
    assert job.output.key in store.purge("ann", job.id).keys
    assert not redis_client.exists(Key.OUTPUT_ENDS)
    clock.advance(100)
    assert store.expire_outputs(10) == (0, [])


def test_a_job_may_ask_for_less_time_and_not_for_more(redis_client: redis.Redis, clock: Clock) -> None:
    store = stores(redis_client, output_seconds=100)
    short, long = done(store, retention_seconds=50), done(store, retention_seconds=5000)
    now = clock.now / 1000
    assert (short.expires_at, short.output_expires_at) == (now + 50, now + 50)
    assert (long.expires_at, long.output_expires_at) == (now + 1000, now + 100)
    clock.advance(50)
    assert store.due_for_purge(10) == [("ann", short.id)]


def test_jobs_without_an_output_have_none_to_expire(redis_client: redis.Redis, clock: Clock) -> None:
    store = stores(redis_client, output_seconds=100)
    job = store.submit(new_job(skip_intake=True)).job
    store.cancel("ann", job.id)
    clock.advance(100)
    assert store.expire_outputs(10) == (0, [])
    audit(redis_client)


def test_uploads_have_a_time_of_their_own(redis_client: redis.Redis, clock: Clock) -> None:
    store = stores(redis_client, upload_seconds=10)
    store.add_upload("ann", "up_1", clean("bridge"))
    clock.advance(10)
    store.reap()
    assert store.upload("ann", "up_1") is None
    audit(redis_client)


def test_a_purge_takes_the_idempotency_key_along_and_leaves_anothers(redis_client: redis.Redis) -> None:
    store = stores(redis_client)
    first, second = (done(store, idempotency_key=key) for key in ("one", "two"))
    store.purge("ann", first.id)
    assert redis_client.keys(Key.IDEMPOTENCY + "*") == [f"{Key.IDEMPOTENCY}two:ann"]
    assert store.submitted_with("ann", "two") == second
    again = store.submit(new_job(skip_intake=True, idempotency_key="one", body_hash="another"))
    assert again.created
    audit(redis_client)


def test_changes_are_forgotten_when_they_are_old(redis_client: redis.Redis) -> None:
    store = stores(redis_client)
    job = done(store)
    assert job.uid in str(redis_client.xrange(Key.CHANGES))
    store.trim_changes(3600)
    assert redis_client.xlen(Key.CHANGES) == 2
    store.trim_changes(-1)
    assert redis_client.xlen(Key.CHANGES) == 0


def test_a_purge_says_where_lost_attempts_may_have_left_objects(
    redis_client: redis.Redis, clock: Clock
) -> None:
    store = stores(redis_client)
    assert store.purge("ann", done(store).id).prefixes == ()
    store.submit(new_job(skip_intake=True))
    lost = claim_paint(store).job
    clock.advance(30)
    store.reap()
    store.cancel("ann", lost.id)
    assert store.purge("ann", lost.id).prefixes == (f"outputs/{lost.uid}/", f"checkpoints/{lost.uid}/")
