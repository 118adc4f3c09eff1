"""The whole house for tests: every process of the one-machine runner, on free ports, with short leases."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from deploy.local import House
from shared.settings import Settings

#: Short enough that a test need not wait long for a crash to be healed.
QUICK = {
    "IMPASTO_API_PORT": "0",
    "IMPASTO_LEASE_SECONDS": "2",
    "IMPASTO_REDIS_TIMEOUT": "1.5",
    "IMPASTO_REAP_SECONDS": "0.3",
    "IMPASTO_RETRY_DELAY": "0.1",
    "IMPASTO_CHECKPOINT_SECONDS": "1",
    "IMPASTO_TRUSTED_NETWORKS": "127.0.0.0/8",
    # Two wait for each other at every operation, which takes many times as long where others want processors.
    "IMPASTO_TORCH_THREADS": "1",
}
#: The API waits out a store that stands still for a while, as a test does that asks it once.
PATIENT = {"IMPASTO_API_REDIS_SECONDS": "15"}


@contextmanager
def running_house(data_dir: Path, **extra: str) -> Iterator[House]:
    """Start the house and wait until it is ready; everything is gone at the end of the block."""
    # The environment is the house's alone: other tests run while it stands.
    before = dict(os.environ)
    os.environ.update({**QUICK, **PATIENT, "IMPASTO_DATA_DIR": str(data_dir), **extra})
    try:
        house = House(Settings(), embed=True)
    finally:
        os.environ.clear()
        os.environ.update(before)
    with house:
        house.wait_until_ready(Event())
        yield house
