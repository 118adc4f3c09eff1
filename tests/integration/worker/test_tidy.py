"""Chores on a real store and a folder of objects: what has had its time goes, what is needed stays."""

import os
import time
from pathlib import Path

import pytest
import redis

from shared.errors import NotFound
from shared.jobs.batches import BatchStore
from shared.jobs.record import Checkpoint, Output
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, open_objects
from shared.settings import Settings
from tests.support.batches import new_batch
from tests.support.jobs import claim_paint, finish, new_job
from tests.support.waiting import wait_for
from worker.chores.tidy import ORPHAN_SECONDS, Tidy

BYTES = b"picture"


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, data_dir=tmp_path)


@pytest.fixture
def objects(config: Settings) -> ObjectStore:
    return open_objects(config)


def put_old(objects: ObjectStore, config: Settings, *keys: str) -> None:
    """Objects that were written before anything younger than a leftover."""
    long_ago = time.time() - 2 * ORPHAN_SECONDS
    for key in keys:
        objects.put(key, BYTES, "image/png")
        os.utime(config.objects_dir / key, (long_ago, long_ago))


def test_an_output_past_its_own_time_goes_and_its_job_stays(
    redis_client: redis.Redis, config: Settings, objects: ObjectStore
):
    store = JobStore(redis_client, config.model_copy(update={"output_seconds": 0.001}))
    job = store.submit(new_job(skip_intake=True)).job
    finish(store, claim_paint(store))
    output = store.get(job.owner, job.id).output
    assert isinstance(output, Output)
    objects.put(output.key, BYTES, "image/png")
    tidy = Tidy(store, objects, config.retention_seconds)

    def gone() -> bool:
        tidy.work()
        return objects.stat(output.key) is None

    wait_for(gone, "the output to be gone")
    assert store.get(job.owner, job.id).output is None


def test_an_ended_job_past_its_retention_goes_with_its_result(
    redis_client: redis.Redis, config: Settings, objects: ObjectStore
):
    store = JobStore(redis_client, config.model_copy(update={"retention_seconds": 0.001}))
    job = store.submit(new_job(skip_intake=True)).job
    claim = claim_paint(store)
    finish(store, claim)
    output = store.get(job.owner, job.id).output
    assert isinstance(output, Output)
    objects.put(output.key, BYTES, "image/png")
    kept = JobStore(redis_client, config).submit(new_job()).job
    while not store.due_for_purge(1):
        pass

    Tidy(store, objects, config.retention_seconds).work()

    with pytest.raises(NotFound):
        store.get(job.owner, job.id)
    assert objects.stat(output.key) is None
    assert store.get(kept.owner, kept.id).uid == kept.uid


def test_leftovers_of_crashes_are_swept_and_what_a_job_needs_stays(
    redis_client: redis.Redis, config: Settings, objects: ObjectStore
):
    store = JobStore(redis_client, config)
    uid = store.submit(new_job(skip_intake=True)).job.uid
    claim = claim_paint(store)
    pointed, orphan = f"checkpoints/{uid}/{claim.fence}-2", f"checkpoints/{uid}/{claim.fence}-1"
    store.checkpoint(claim, Checkpoint(pointed, step=2))
    stray = "outputs/job_gone/1-a.png"
    put_old(objects, config, pointed, orphan, stray)
    fresh = f"outputs/{uid}/{claim.fence}.png"
    objects.put(fresh, BYTES, "image/png")

    Tidy(store, objects, config.retention_seconds).work()

    assert {stat.key for prefix in ("checkpoints/", "outputs/") for stat in objects.list(prefix)} == {
        pointed,
        fresh,
    }


def test_a_checkpoint_that_an_ended_job_left_is_swept(
    redis_client: redis.Redis, config: Settings, objects: ObjectStore
):
    store = JobStore(redis_client, config)
    store.submit(new_job(skip_intake=True))
    claim = claim_paint(store)
    left = f"checkpoints/{claim.job.uid}/{claim.fence}-1"
    store.checkpoint(claim, Checkpoint(left, step=1))
    store.canceled(claim)
    put_old(objects, config, left)

    Tidy(store, objects, config.retention_seconds).work()

    assert objects.stat(left) is None


def test_statistics_of_styles_go_when_they_are_older_than_the_retention(
    redis_client: redis.Redis, config: Settings, objects: ObjectStore
):
    put_old(objects, config, "styles/old")
    objects.put("styles/fresh", BYTES, "application/octet-stream")

    for retention, left in ((3 * ORPHAN_SECONDS, {"old", "fresh"}), (ORPHAN_SECONDS, {"fresh"})):
        Tidy(JobStore(redis_client, config), objects, retention).work()
        assert {stat.key for stat in objects.list("styles/")} == {f"styles/{name}" for name in left}


def test_files_of_a_batch_that_never_came_are_swept_and_those_of_others_stay(
    redis_client: redis.Redis, config: Settings, objects: ObjectStore
):
    batch = new_batch(BatchStore(redis_client, config), objects, 1)
    needed = f"batches/{batch.uid}/items/000000.ndjson"
    lost, young = (f"batches/batch_{name}/lines/000000.ndjson" for name in ("lost", "young"))
    put_old(objects, config, lost, needed)
    objects.put(young, BYTES, "application/x-ndjson")
    day = time.time() - 86_400
    for key in (lost, needed):
        os.utime(config.objects_dir / key, (day, day))

    Tidy(JobStore(redis_client, config), objects, config.retention_seconds).work()

    assert {stat.key for stat in objects.list("batches/")} == {needed, young}
