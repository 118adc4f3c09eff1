"""The whole house, started once for the tests of this folder, and a client beside it."""

from collections.abc import Iterator
from functools import partial
from threading import Event

import pytest

from client import Impasto, Retries
from deploy.local import House
from tests.integration.service.support import SECONDS
from tests.support.house import running_house
from tests.support.processes import group
from tests.support.waiting import wait_for


@pytest.fixture(scope="session")
def shared_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Every process of the service."""
    # How often jobs were attempted is counted: no worker is to be taken for lost that is only held up.
    with running_house(tmp_path_factory.mktemp("house"), IMPASTO_LEASE_SECONDS="6") as house:
        yield house


@pytest.fixture
def house(shared_house: House) -> Iterator[House]:
    """The house that the tests share; what one has killed is up again before the next begins."""
    before = shared_house.pids
    yield shared_house
    now = shared_house.pids
    struck = [name for name, pid in before.items() if now[name] != pid or pid not in group(pid)]
    for name in struck:
        wait_for(partial(_replaced, shared_house, name, before[name]), f"{name} to be started again", SECONDS)
    if struck:
        shared_house.wait_until_ready(Event())


def _replaced(house: House, name: str, killed: int) -> bool:
    # What a killed server leaves goes on answering for a moment, as if it were ready.
    return house.pids[name] != killed and not group(killed)


@pytest.fixture
def impasto(house: House) -> Iterator[Impasto]:
    """A client of the house that lives through a restart of it, however slow this machine is."""
    with Impasto(house.url, retries=Retries(attempts=40, total_seconds=SECONDS)) as client:
        yield client
