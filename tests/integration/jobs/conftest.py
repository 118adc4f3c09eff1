"""The job store on the session's server, with a clock that tests turn by hand."""

from collections.abc import Iterator

import pytest
import redis

from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.clock import Clock


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
