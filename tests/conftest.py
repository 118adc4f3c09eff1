"""Fixtures that every part of the suite may ask for: real servers, one a session."""

import os
from collections.abc import Iterator

import pytest
import redis

from tests.support import nursery
from tests.support.s3 import S3Server, start_s3
from tests.support.valkey import ValkeyServer, start_valkey
from tests.support.web import Web


@pytest.fixture(scope="session", autouse=True)
def user_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Engines without a weights folder keep calibrations here, not in the home of whoever runs the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def nurseries() -> Iterator[None]:
    """What forks workers for the tests goes when they are over."""
    yield
    nursery.close_all()


@pytest.fixture(scope="session")
def valkey_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The session's server. A test that kills or freezes one starts its own with `start_valkey`."""
    server = start_valkey(tmp_path_factory.mktemp("valkey"), aof=False)
    yield server
    server.kill()


@pytest.fixture
def redis_client(valkey_server: ValkeyServer) -> Iterator[redis.Redis]:
    """A client of the session's server, emptied first."""
    with redis.Redis.from_url(valkey_server.url, decode_responses=True, socket_timeout=60) as client:
        client.flushall()
        yield client


@pytest.fixture
def valkey(valkey_server: ValkeyServer, redis_client: redis.Redis) -> str:  # noqa: ARG001 - empties it
    """URL of the session's server, emptied first."""
    return valkey_server.url


@pytest.fixture(scope="session")
def s3() -> Iterator[S3Server]:
    """A real S3-compatible server; `s3.settings(...)` takes a bucket of its own each time."""
    server = start_s3()
    yield server
    server.stop()


@pytest.fixture
def web() -> Iterator[Web]:
    """A real HTTP server on loopback."""
    with Web() as server:
        yield server


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which S3 server the object store was tested against."""
    given = os.environ.get("IMPASTO_TEST_S3_ENDPOINT")
    terminalreporter.write_line(f"S3 server: {given or 'moto, started by the tests'}")
