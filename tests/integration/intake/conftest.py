"""The stores that intake works on; each file says with which settings (`config`)."""

from collections.abc import Iterator

import pytest

from shared.jobs.store import JobStore
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings


@pytest.fixture
def store(config: Settings) -> Iterator[JobStore]:
    """The job store."""
    with connect(config) as client:
        yield JobStore(client, config)


@pytest.fixture
def objects(config: Settings) -> ObjectStore:
    """The object store."""
    return open_objects(config)
