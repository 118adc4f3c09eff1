"""The API as it runs: gunicorn in a process of its own, a real Valkey, local objects, real HTTP.

The client checks every answer against the OpenAPI document.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.objects import ObjectStore, open_objects
from shared.settings import Settings
from tests.support.api import BODY, REDIS_SECONDS, ApiServer, checked_client
from tests.support.valkey import ValkeyServer
from tests.support.waiting import wait_for


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("api-data")


@pytest.fixture(scope="session")
def settings(data_dir: Path, valkey_server: ValkeyServer) -> Settings:
    """What the session's API runs on, for the tests' own store."""
    return Settings(data_dir=data_dir, redis_url=valkey_server.url, redis_timeout=REDIS_SECONDS)


@pytest.fixture(scope="session")
def server(settings: Settings) -> Iterator[ApiServer]:
    with ApiServer(settings.data_dir, settings.redis_url) as running:
        yield running


@pytest.fixture
def http(server: ApiServer, redis_client: redis.Redis) -> Iterator[httpx.Client]:
    """A client of the session's API, whose store is empty but for one live painter; no caller waits."""
    wait_for(lambda: not server.held(), "the callers of other tests to be gone")
    redis_client.delete(*Queue)  # a bell of the test before may have been rung since the store was emptied
    with checked_client(server.url) as client:
        yield client


@pytest.fixture(autouse=True)
def painter(redis_client: redis.Redis) -> Workers:
    """A live paint worker on a CPU; it never paints."""
    workers = Workers(redis_client)
    workers.advertise(WorkerInfo("painter", Queue.PAINT, ("compact", "vgg19"), "cpu"), 600)
    return workers


@pytest.fixture
def store(redis_client: redis.Redis, settings: Settings) -> JobStore:
    """The tests' own hand on the jobs: it plays the workers."""
    return JobStore(redis_client, settings)


@pytest.fixture
def objects(settings: Settings) -> ObjectStore:
    return open_objects(settings)


@pytest.fixture
def submit(http: httpx.Client) -> Callable[..., dict[str, Any]]:
    """Submit a job and return its body."""

    def post(**changes: Any) -> dict[str, Any]:
        answer = http.post("/v1/jobs", json=BODY | changes)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()
        return job

    return post
