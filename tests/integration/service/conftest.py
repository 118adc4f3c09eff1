"""The whole house, started once for the tests of this folder, and a client beside it."""

from collections.abc import Iterator

import pytest

from client import Impasto
from deploy.local import House
from tests.support.house import running_house


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """Every process of the service, shared by the tests; those that kill one leave it healed."""
    with running_house(tmp_path_factory.mktemp("house")) as house:
        yield house


@pytest.fixture
def impasto(house: House) -> Iterator[Impasto]:
    """A client of the house."""
    with Impasto(house.url) as client:
        yield client
