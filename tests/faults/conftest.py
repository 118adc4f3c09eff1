"""What the fault tests share: a service taken apart."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.rig import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A service whose pictures are in a folder. Tests that need other settings make their own."""
    with Rig(tmp_path) as rig:
        yield rig
