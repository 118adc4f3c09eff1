"""The whole house, started once for the tests of this folder, and a client beside it."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from threading import Event

import pytest

from client import Impasto, Retries
from deploy.local import House
from tests.integration.service.support import SECONDS
from tests.support.house import running_house
from tests.support.processes import group
from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Standing:
    """The house, and what its processes log, a line each."""

    house: House
    says: list[str]


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Standing]:
    """Every process of the service."""
    says: list[str] = []
    folder = tmp_path_factory.mktemp("house")
    with pytest.MonkeyPatch.context() as patch:
        # Past pytest's capture, which ends with a test while the house goes on to speak.
        patch.setattr("deploy.children.say", lambda name, line: says.append(f"{name:>7} | {line}"))
        # How often jobs were attempted is counted: no worker is to be taken for lost that is only held up.
        with running_house(folder, IMPASTO_LEASE_SECONDS="6") as house:
            yield Standing(house, says)


@pytest.fixture
def house_says(standing: Standing) -> list[str]:
    """What the processes of the house have logged since it stands; it grows."""
    return standing.says


@pytest.fixture
def house(standing: Standing) -> Iterator[House]:
    """The house that the tests share; what one has killed is up again before the next begins."""
    shared_house, said = standing.house, len(standing.says)
    before = shared_house.pids
    yield shared_house
    print(*standing.says[said:], sep="\n")  # shown where the test fails
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
