"""The job store on the session's server, with a clock that tests turn by hand."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.jobs.batches import BatchStore
from shared.jobs.store import JobStore
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings
from tests.support.batches import chores
from tests.support.clock import Clock
from worker.chores.batches import BatchWork


@pytest.fixture
def config(valkey: str) -> Settings:
    """Settings for the session's server: patience for a busy machine, a retention shorter than a deadline."""
    return Settings(redis_url=valkey, redis_timeout=20, retention_seconds=1000)


@pytest.fixture
def clock(redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Clock:
    """What the scripts take for the time."""
    return Clock(redis_client, monkeypatch)


@pytest.fixture
def store(config: Settings, clock: Clock) -> Iterator[JobStore]:  # noqa: ARG001 - the store then goes by this clock
    """An empty job store."""
    with connect(config) as client:
        yield JobStore(client, config)


@pytest.fixture
def batches(redis_client: redis.Redis, config: Settings, clock: Clock) -> BatchStore:  # noqa: ARG001 - by this clock
    """Batches of the same server."""
    return BatchStore(redis_client, config)


@pytest.fixture
def objects(tmp_path: Path, config: Settings) -> ObjectStore:
    """An empty folder of objects."""
    return open_objects(config.model_copy(update={"data_dir": tmp_path}))


@pytest.fixture
def work(redis_client: redis.Redis, config: Settings, objects: ObjectStore, clock: Clock) -> BatchWork:  # noqa: ARG001
    """What a chores worker does for batches."""
    return chores(redis_client, config, objects)
