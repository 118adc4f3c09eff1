"""How much memory there is, how much a painting takes, and what the allocator keeps."""

import ctypes
import gc
import os
import resource
from dataclasses import dataclass
from pathlib import Path

import torch

SHARE = 0.6
"""Of the memory that is free, what a painting may take; the rest is for what is not counted."""

OPTIMIZER_BYTES = {"lbfgs": 20, "adam": 28}
"""Bytes a value of the picture: those that its class states, without pairs, and what a step of Adam's takes
between."""

PICTURE_BYTES = 24
"""Bytes a value of the picture beside: the picture, its content, its gradient, the best one met, and
passing ones."""

STYLE_BYTES = 48
"""Bytes a pixel of a style: the picture enlarged, clamped and on the device, and what enlarging takes."""

HISTORY, SHORT_HISTORY = 10, 6
"""Pairs that L-BFGS remembers: in float32, and in bfloat16 where pictures are large or memory is short."""

_FULL, _SHORT = (HISTORY, torch.float32), (SHORT_HISTORY, torch.bfloat16)

LARGE = 2**21
"""Pixels of a batch above which L-BFGS remembers less, in half precision."""

MOST_ON_GPU = 32
"""Pictures painted together at most: beyond, throughput no longer grows."""

MOST_PIXELS_ON_CPU, MOST_ON_CPU = 2**19, 16
"""Pixels of a batch on a CPU (eleven pictures of 256 px, three of 512), and pictures. A larger batch gains
little more (docs/benchmarks.md); who comes next waits until it is done, and a crash costs it whole."""

LEAST_TILE, MOST_TILE = 512, 2048
"""Sides of a core in pixels. With the widest halo the smallest tile costs 1.7 times its core; a smaller one
would save little beside what the picture itself takes."""

KEPT_SHARE = 0.1
"""Of its budget, what a painting may take for its freed memory still to be kept for the next one: more would
count as used when that one asks what is free."""

UNBOUND = 2**62
"""What a limit leaves that there is not."""

CONTROL_GROUP = Path("/sys/fs/cgroup")
"""Where Linux says what a container may take."""


@dataclass(frozen=True)
class Plan:
    """How a level fits into memory.

    Attributes:
        tile_side: longest side of a tile's core in pixels; None to see the pictures whole.
        history: pairs that L-BFGS remembers.
        history_dtype: what they are kept in.
    """

    tile_side: int | None
    history: int
    history_dtype: torch.dtype


def free(device: torch.device) -> int:
    """Bytes that can still be had on a device: limits of a container and of the process count as its own."""
    if device.type == "cuda":
        available, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use can be had as well.
        return available + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return min(_machine_free(), _container_free(), _process_free())


def plan(
    pixels: int, batch: int, activation_bytes: float, halo: int | None, optimizer: str, budget: int
) -> Plan:
    """Fit a level into `budget` bytes.

    Args:
        pixels: of one picture.
        batch: pictures painted together.
        activation_bytes: that the network needs, a pixel.
        halo: pixels around a tile's core; None where there can be no tiles.
        optimizer: `lbfgs` or `adam`.
        budget: bytes for everything. Without room even for the smallest tiles these are taken all the same.
    """
    pixels *= batch
    history, dtype = _FULL if pixels <= LARGE else _SHORT
    left = budget - pixels * state_bytes(optimizer, history, dtype)
    if halo is None or pixels * activation_bytes <= left:
        return Plan(None, history, dtype)
    if batch * _tile(LEAST_TILE, halo) * activation_bytes > left:
        return Plan(LEAST_TILE, *_SHORT)
    side = LEAST_TILE
    while side < MOST_TILE and batch * _tile(2 * side, halo) * activation_bytes <= left:
        side *= 2
    return Plan(side, history, dtype)


def least_bytes(pixels: int, batch: int, activation_bytes: float, halo: int | None, optimizer: str) -> float:
    """What a level takes at least, planned as closely as can be; the arguments are those of `plan`."""
    seen = pixels if halo is None else min(pixels, _tile(LEAST_TILE, halo))
    history, dtype = _FULL if halo is None and pixels * batch <= LARGE else _SHORT
    return batch * (seen * activation_bytes + pixels * state_bytes(optimizer, history, dtype))


def style_bytes(pixels: int, activation_bytes: float, halo: int | None) -> float:
    """What a style takes at least that is looked at with so many pixels, in tiles where there can be any."""
    seen = pixels if halo is None else min(pixels, _tile(LEAST_TILE, halo))
    return seen * activation_bytes + pixels * STYLE_BYTES


def _tile(side: int, halo: int) -> int:
    """Pixels of the largest tile with a core of this side."""
    return (side + 2 * halo) ** 2


def capacity(pixels: int, activation_bytes: float, optimizer: str, budget: int, device: torch.device) -> int:
    """How many pictures of `pixels` fit and gain by being painted together, at least 1.

    A GPU is filled by several; on a CPU small ones gain, since the calls cost much beside their arithmetic.
    """
    each = picture_bytes(pixels, activation_bytes, optimizer)
    most = MOST_ON_GPU if device.type == "cuda" else min(MOST_ON_CPU, max(1, MOST_PIXELS_ON_CPU // pixels))
    return max(1, min(most, int(budget // each)))


def picture_bytes(pixels: int, activation_bytes: float, optimizer: str) -> float:
    """What a picture takes that is seen whole and remembered in full."""
    return pixels * (activation_bytes + state_bytes(optimizer, HISTORY, torch.float32))


def state_bytes(optimizer: str, history: int, dtype: torch.dtype) -> int:
    """Bytes a pixel of the picture that do not depend on the network."""
    pairs = 2 * history * dtype.itemsize if optimizer == "lbfgs" else 0
    return 3 * (PICTURE_BYTES + OPTIMIZER_BYTES[optimizer] + pairs)


def keep_freed_memory() -> None:
    """Have the C library keep freed memory for the next evaluation, in the whole process.

    By default glibc maps each large tensor anew, and the kernel clears every page of it: on pictures of 512
    px that takes as long as the arithmetic. Where the C library is another one, nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    never_trim, never_map, one_arena = (-1, 2**31 - 1), (-4, 0), (-8, 1)
    for parameter, value in (never_map, never_trim, one_arena):
        mallopt(parameter, value)


def give_back() -> None:
    """Return what a painting used to the system: between paintings, not within one."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        return


def recover(device: torch.device) -> None:
    """Let go of all that a run took which ran out of memory, before another one begins.

    Its objects refer to each other in circles, which Python looks for only now and then.
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()
    else:
        give_back()


def _machine_free() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        facts = dict(line.split(":", 1) for line in lines)
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _container_free() -> int:
    """What the control group leaves; without bound where there is none."""
    group = CONTROL_GROUP
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        used = int((group / "memory.current").read_text(encoding="ascii"))
        lines = (group / "memory.stat").read_text(encoding="ascii").splitlines()
        # Files that were read count as used until something else wants their place.
        cached = int(dict(line.split() for line in lines)["inactive_file"])
    except (OSError, KeyError, ValueError):
        return UNBOUND
    return UNBOUND if limit == "max" else max(0, int(limit) - used + cached)


class _Heap(ctypes.Structure):
    """What glibc's `mallinfo2` answers: sizes in bytes (mallinfo(3))."""

    _fields_ = [
        *((name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks")),
        *((name, ctypes.c_size_t) for name in ("fsmblks", "uordblks", "fordblks", "keepcost")),
    ]


def _process_free() -> int:
    """What the limits of this process leave (`ulimit -d` and `-v`), with what the allocator keeps unused.

    To run into them is to be avoided: many a library does not look whether it was given memory, and ends the
    process.
    """
    left = UNBOUND
    for limit, used in ((resource.RLIMIT_DATA, "VmData"), (resource.RLIMIT_AS, "VmSize")):
        most, _ = resource.getrlimit(limit)
        if most != resource.RLIM_INFINITY:
            left = min(left, most - _status(used))
    return left if left == UNBOUND else max(0, left + _kept())


def _status(name: str) -> int:
    """Bytes that this process has, by a name of proc_pid_status(5); 0 where nobody tells."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
        return int(dict(line.split(":", 1) for line in lines)[name].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return 0


def _kept() -> int:
    """Bytes that the C library has from the system and nobody uses; 0 where it is another library."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (OSError, AttributeError, TypeError):
        return 0
    mallinfo.restype = _Heap
    return int(mallinfo().fordblks)
