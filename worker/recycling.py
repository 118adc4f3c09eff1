"""When a worker has grown too large to go on: it then leaves between two jobs, and is started anew.

Python, torch and the libraries below them may keep or leak memory over thousands of jobs. A fresh process
gives all of it back; one that the kernel ends for want of memory costs the job in hand an attempt.
"""

import gc
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SHARE = 0.5
"""Of a machine's, a container's or a GPU's memory, what a worker may hold between jobs unless told otherwise.
"""

LEAST_GROWTH = 2.0
"""A worker stays while it holds no more than so many times what it held when it began to serve: where half of
the memory is too little for it, it would else leave after every job."""

STATM, CONTAINER_LIMIT = Path("/proc/self/statm"), Path("/sys/fs/cgroup/memory.max")
_PAGE = os.sysconf("SC_PAGE_SIZE")


@dataclass(frozen=True)
class DeviceMemory:
    """A GPU's memory: how to ask what this process holds of it, and how much there is, in bytes."""

    held: Callable[[], int]
    total: int


class Recycling:
    """Watches what this process holds. Made when it begins to serve.

    Args:
        resident_limit: bytes of resident set past which it should leave; 0 for the automatic limit.
        device_limit: likewise of GPU memory.
        device: the GPU's memory; None where there is no GPU.
    """

    def __init__(self, resident_limit: int, device_limit: int, device: DeviceMemory | None = None) -> None:
        self._device = device
        self._resident_limit = resident_limit or max(SHARE * machine_memory(), LEAST_GROWTH * resident())
        self._device_limit = device_limit or (SHARE * device.total if device else 0)

    def reason(self) -> str | None:
        """Why this process should leave now, between two jobs; None when it need not."""
        if not self._reason():
            return None
        # Tensors in cycles would be freed in time.
        gc.collect()
        return self._reason()

    def _reason(self) -> str | None:
        if (found := resident()) > self._resident_limit:
            return _exceeds("resident set", found, self._resident_limit)
        if self._device and (found := self._device.held()) > self._device_limit:
            return _exceeds("GPU memory", found, self._device_limit)
        return None


def resident() -> int:
    """This process' resident set in bytes; 0 where the system does not say (elsewhere than on Linux)."""
    try:
        return int(STATM.read_text(encoding="ascii").split()[1]) * _PAGE
    except OSError:
        return 0


def machine_memory() -> int:
    """Bytes of memory that the machine has, or its container may take."""
    machine = _PAGE * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = CONTAINER_LIMIT.read_text(encoding="ascii").strip()
        return min(machine, int(limit))
    except (OSError, ValueError):
        return machine


def _exceeds(what: str, found: float, limit: float) -> str:
    return f"{what} of {found / 2**20:.0f} MiB, above {limit / 2**20:.0f} MiB"
