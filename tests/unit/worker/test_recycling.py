"""When a worker leaves for its size, and how."""

import os
import signal
import threading
from pathlib import Path

import pytest

from worker import recycling
from worker.leaving import DEVICE_LOST_EXIT, RECYCLED_EXIT, Leaving
from worker.recycling import DeviceMemory, Recycling, machine_memory, resident


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What the process holds from one look to the next; the last stays."""
    held = [100]
    monkeypatch.setattr(recycling, "resident", lambda: held.pop(0) if len(held) > 1 else held[0])
    monkeypatch.setattr(recycling, "machine_memory", lambda: 1000)
    return held


def test_this_process_is_seen() -> None:
    assert 10e6 < resident() < machine_memory()


def test_it_stays_up_to_half_of_the_memory_unless_told_otherwise(sizes: list[int]) -> None:
    automatic, given = Recycling(0, 0), Recycling(300, 0)
    sizes[:] = [500]
    assert automatic.reason() is None
    assert given.reason() is not None
    sizes[:] = [501]
    assert automatic.reason() == "resident set of 0 MiB, above 0 MiB"


def test_on_a_small_machine_it_may_grow_to_twice_what_it_began_with(sizes: list[int]) -> None:
    sizes[:] = [400]
    automatic = Recycling(0, 0)
    sizes[:] = [800]
    assert automatic.reason() is None
    sizes[:] = [801]
    assert automatic.reason() is not None


def test_what_garbage_took_does_not_count(sizes: list[int]) -> None:
    automatic = Recycling(0, 0)
    sizes[:] = [600, 200]
    assert automatic.reason() is None


@pytest.mark.usefixtures("sizes")
def test_a_gpu_s_memory_counts_apart() -> None:
    held = [0]
    gpu = DeviceMemory(lambda: held[0], total=2000)
    automatic, given = Recycling(0, 0, gpu), Recycling(0, 10, gpu)
    assert automatic.reason() is None
    held[0] = 1000
    assert automatic.reason() is None
    assert "GPU memory" in (given.reason() or "")
    held[0] = 1001
    assert "GPU memory" in (automatic.reason() or "")


def test_where_the_system_says_nothing_it_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recycling, "STATM", tmp_path / "none")
    assert resident() == 0
    assert Recycling(1, 0).reason() is None


@pytest.mark.parametrize(("limit", "expected"), [("4096", 4096), ("max", None), (None, None)])
def test_a_container_s_limit_counts_as_the_machine_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None, expected: int | None
) -> None:
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setattr(recycling, "CONTAINER_LIMIT", tmp_path / "memory.max")
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit + "\n")
    assert machine_memory() == (expected or whole)


@pytest.fixture
def signals(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    sent: list[int] = []
    monkeypatch.setattr("worker.leaving.os.kill", lambda _, number: sent.append(number))
    return sent


def test_leaving_is_a_sigterm_to_itself_once(signals: list[int]) -> None:
    draining = threading.Event()
    leaving = Leaving(draining)
    assert leaving.status is None
    leaving.leave("too large", RECYCLED_EXIT)
    leaving.leave("the device", DEVICE_LOST_EXIT)
    assert draining.is_set()
    assert (leaving.status, signals) == (RECYCLED_EXIT, [signal.SIGTERM])


def test_one_that_was_told_to_leave_already_still_says_that_its_device_failed(signals: list[int]) -> None:
    draining = threading.Event()
    draining.set()
    leaving = Leaving(draining)
    leaving.leave("the device", DEVICE_LOST_EXIT)
    assert (leaving.status, signals) == (DEVICE_LOST_EXIT, [])
