"""Processes as the kernel knows them. Linux only."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def children_of(pid: int) -> list[int]:
    """Processes that this one has started and not yet reaped, dead or alive."""
    return [child for child, (_, parent, _) in _all() if int(parent) == pid]


def living_children_of(pid: int) -> list[int]:
    """Processes that this one has started, without those that have ended."""
    return [child for child, (state, parent, _) in _all() if int(parent) == pid and state != "Z"]


def group(pid: int) -> list[int]:
    """Processes of a group that live: what its first process has started, and itself."""
    return [member for member, (state, _, leader) in _all() if int(leader) == pid and state != "Z"]


def _all() -> Iterator[tuple[int, list[str]]]:
    """Every process: its ID, and its state, parent and group."""
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # The name, in brackets, may hold anything; the rest follows it (proc(5)).
            yield int(stat.parent.name), stat.read_text().rpartition(")")[2].split()[:3]
