"""/metrics over a real store: what moves there shows, and asking costs the same however much is kept."""

import hashlib
from collections.abc import Callable
from typing import Any

import httpx
import redis
from prometheus_client.parser import text_string_to_metric_families

from shared.errors import StorageUnavailable
from shared.jobs.census import take_census
from shared.jobs.keys import Key
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.objects import ObjectStore
from tests.support.api import finish, picture_bytes, start_painting
from tests.support.jobs import new_job
from tests.support.waiting import wait_for

#: By the values of the labels, these in the order of their names.
Samples = dict[tuple[str, ...], float]


def scrape(http: httpx.Client) -> dict[str, Samples]:
    """Every sample by its name."""
    answer = http.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, Samples] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation, family.name
        for sample in family.samples:
            found.setdefault(sample.name, {})[
                tuple(sample.labels[name] for name in sorted(sample.labels))
            ] = sample.value
    return found


def test_a_jobs_course_shows(
    http: httpx.Client,
    submit: Callable[..., dict[str, Any]],
    redis_client: redis.Redis,
    store: JobStore,
    objects: ObjectStore,
) -> None:
    submit()
    wait_for(lambda: redis_client.llen(Queue.INTAKE), "the bell")
    seen = scrape(http)
    assert seen["impasto_jobs"]["queued",] == 1
    assert seen["impasto_queue_depth"]["intake", "intake"] == 1
    assert seen["impasto_queue_oldest_age_seconds"]["intake", "intake"] > 0
    assert seen["impasto_bells"]["intake",] == 1
    assert seen["impasto_jobs_accepted_total"][()] == 1
    assert seen["impasto_jobs_ended_total"]["succeeded",] == 0

    claim = start_painting(store)
    seen = scrape(http)
    assert (seen["impasto_jobs"]["processing",], seen["impasto_jobs_held"]["paint",]) == (1, 1)
    assert seen["impasto_queue_depth"]["intake", "intake"] == 0
    assert seen["impasto_queue_oldest_age_seconds"]["intake", "intake"] == 0
    assert seen["impasto_stage_duration_seconds_count"]["fetch",] == 1
    assert seen["impasto_stage_duration_seconds_sum"]["fetch",] == 0.25
    assert seen["impasto_stage_duration_seconds_bucket"]["0.1", "fetch"] == 0
    assert seen["impasto_stage_duration_seconds_bucket"]["0.25", "fetch"] == 1
    assert seen["impasto_stage_duration_seconds_count"]["paint",] == 0

    data = picture_bytes()
    finish(store, objects, claim, data, hashlib.sha256(data).hexdigest())
    seen = scrape(http)
    assert seen["impasto_jobs_ended_total"]["succeeded",] == 1
    assert seen["impasto_stage_duration_seconds_sum"]["paint",] == 1.5
    assert seen["impasto_stage_duration_seconds_count"]["wait",] == 1
    assert seen["impasto_job_duration_seconds_count"][()] == 1

    store.purge(claim.job.owner, claim.job.id)
    seen = scrape(http)
    assert seen["impasto_jobs"]["succeeded",] == 0
    assert seen["impasto_jobs_ended_total"]["succeeded",] == 1, "what happened has happened"


def test_faults_show_by_their_code(http: httpx.Client, store: JobStore, submit: Callable[..., Any]) -> None:
    submit()
    claim = start_painting(store)
    store.fail(claim, StorageUnavailable("away"))
    seen = scrape(http)
    assert seen["impasto_attempts_failed_total"] == {("storage_unavailable",): 1}
    assert seen["impasto_jobs_delayed"][()] == 1
    assert "impasto_jobs_failed_total" not in seen, "it is tried again"


def test_a_lane_is_as_old_as_its_oldest_job_whatever_is_served_first(
    redis_client: redis.Redis, store: JobStore
) -> None:
    first = store.submit(new_job(skip_intake=True, priority=0)).job
    for owner, priority in (("ann", 9), ("ann", 5), ("ben", 0)):
        store.submit(new_job(owner, skip_intake=True, priority=priority))
    redis_client.hset(Key.JOB + first.uid, "created_at", round((first.created_at - 1000) * 1000))
    age = take_census(redis_client).oldest["paint.compact"]
    assert 1000 <= age < 2000


def test_live_workers_show_with_their_memory(http: httpx.Client, painter: Workers) -> None:
    for number in (1, 2):
        info = WorkerInfo(f"p{number}", Queue.PAINT, ("vgg19",), "cuda:0", resident_bytes=number * 1000)
        painter.advertise(info, 600)
    seen = scrape(http)
    assert seen["impasto_workers"]["cuda:0", "paint"] == 2
    assert seen["impasto_workers"]["none", "chores"] == 0
    assert seen["impasto_workers_offering"]["vgg19", "cuda:0"] == 2
    assert seen["impasto_workers_resident_bytes"]["cuda:0", "paint"] == 3000
    assert seen["impasto_workers_resident_max_bytes"]["cuda:0", "paint"] == 2000


def commands_of_a_scrape(client: redis.Redis, http: httpx.Client) -> dict[str, int]:
    """How often the server carried out each command for one scrape, those inside scripts included."""

    def calls() -> dict[str, int]:
        found = client.info("commandstats")
        return {name.removeprefix("cmdstat_"): stat["calls"] for name, stat in found.items()}

    http.get("/metrics")  # the server knows the script from now on, the client is connected
    before = calls()
    http.get("/metrics")
    after = calls()
    assert after.pop("info") == before.pop("info") + 2, "one of the scrape, one of the count before it"
    after.pop("xread", None)  # the API looks for changes now and then, whoever asks
    return {name: n - before.get(name, 0) for name, n in after.items() if n != before.get(name, 0)}


def test_a_scrape_costs_the_same_with_fifty_thousand_jobs(
    http: httpx.Client, redis_client: redis.Redis, store: JobStore
) -> None:
    store.submit(new_job(skip_intake=True))
    few = commands_of_a_scrape(redis_client, http)
    _grow(redis_client, 50_000)
    assert take_census(redis_client).waiting["paint.compact"] == 50_001
    assert commands_of_a_scrape(redis_client, http) == few
    assert few["evalsha"] == 1
    assert sum(few.values()) < 30


def _grow(client: redis.Redis, jobs: int) -> None:
    """Let so many more jobs wait, written as the scripts write them but far more quickly."""
    [uid] = client.zrange(f"{Key.WAIT}paint.compact:ann", 0, 0)
    record = client.hgetall(Key.JOB + uid)
    for start in range(0, jobs, 5000):
        with client.pipeline(transaction=False) as pipeline:
            places = {f"{uid}{n}": 9e13 + n + 10 for n in range(start, start + 5000)}
            for one in places:
                pipeline.hset(Key.JOB + one, mapping=record | {"uid": one})
            pipeline.zadd(f"{Key.WAIT}paint.compact:ann", places)
            pipeline.zadd(f"{Key.LIST}queued:ann", places)
            pipeline.zadd(Key.DEADLINES, places)
            pipeline.execute()
    client.hincrby(Key.COUNTS, "queued", jobs)
    client.hincrby(Key.WAITING, "paint.compact", jobs)
