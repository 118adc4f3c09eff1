"""The client against the API as it runs: gunicorn, Valkey, local objects. The tests play the workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from client import Impasto
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.objects import ObjectStore, open_objects
from shared.settings import Settings
from tests.support.api import REDIS_SECONDS, ApiServer
from tests.support.valkey import ValkeyServer

TOKEN = "a-long-random-string"


@pytest.fixture(scope="session")
def client_settings(tmp_path_factory: pytest.TempPathFactory, valkey_server: ValkeyServer) -> Settings:
    data_dir = tmp_path_factory.mktemp("client-api")
    return Settings(data_dir=data_dir, redis_url=valkey_server.url, redis_timeout=REDIS_SECONDS)


@pytest.fixture(scope="session")
def service(client_settings: Settings) -> Iterator[ApiServer]:
    """An API that asks for a token."""
    data_dir, url = client_settings.data_dir, client_settings.redis_url
    with ApiServer(data_dir, url, api_tokens=f'{{"alice": "{TOKEN}"}}') as running:
        yield running


@pytest.fixture
def impasto(service: ApiServer, painter: Workers) -> Iterator[Impasto]:  # noqa: ARG001 - a live worker
    with Impasto(service.url, TOKEN) as client:
        yield client


@pytest.fixture
def painter(redis_client: redis.Redis) -> Workers:
    """An empty store with one live paint worker, which never paints."""
    workers = Workers(redis_client)
    workers.advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)
    return workers


@pytest.fixture
def store(redis_client: redis.Redis, client_settings: Settings) -> JobStore:
    return JobStore(redis_client, client_settings)


@pytest.fixture
def objects(client_settings: Settings) -> ObjectStore:
    return open_objects(client_settings)


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[Path, Path]:
    """Two pictures as files, content and style."""
    from tests.support.api import picture_bytes

    files = tmp_path / "content.png", tmp_path / "style.jpg"
    files[0].write_bytes(picture_bytes(32, 24))
    files[1].write_bytes(picture_bytes(20, 20, "JPEG"))
    return files
