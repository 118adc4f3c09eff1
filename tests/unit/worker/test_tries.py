"""Waiting for an object store that fails or hangs, on a lease that a test turns by hand."""

import threading
import time
from collections.abc import Callable
from typing import Any, cast

import pytest

from shared.errors import StorageUnavailable
from tests.support.jobs import new_job
from tests.support.waiting import wait_for
from worker import tries
from worker.lease import Lease, Stop
from worker.tries import StoppedError, briefly, patiently

AWAY = StorageUnavailable("away")


class HandLease:
    """What `patiently` asks of a lease."""

    def __init__(self) -> None:
        self.stop: Stop | None = None
        self.moves = 0
        self.claim = type("Claim", (), {"job": new_job()})()

    def moved(self) -> None:
        self.moves += 1


class Calls:
    """A call that fails so many times; with `hang` it hangs until it is let go."""

    def __init__(self, failures: int, *, hang: bool = False) -> None:
        self.made = 0
        self.let_go = threading.Event()
        self._failures, self._hang = failures, hang

    def __call__(self) -> str:
        self.made += 1
        if self._hang:
            self.let_go.wait(30)
        if self.made <= self._failures:
            raise AWAY
        return "stored"


@pytest.fixture
def lease() -> HandLease:
    return HandLease()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tries, "PAUSES", (0.01, 0.02))
    monkeypatch.setattr(tries, "LOOK_SECONDS", 0.01)


def patient(call: Callable[[], str], lease: HandLease, seconds: float = 30, **more: Any) -> str:
    return patiently(call, cast("Lease", lease), until=time.monotonic() + seconds, **more)


def test_a_call_is_repeated_until_it_succeeds(lease: HandLease) -> None:
    calls = Calls(4)
    assert patient(calls, lease) == "stored"
    assert calls.made == 5


def test_the_last_fault_is_raised_when_the_time_is_up_and_what_may_be_there_is_undone(
    lease: HandLease, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tries, "PAUSES", (0.01, 60.0))  # the last is longer than there is time
    calls, undone = Calls(10_000), threading.Event()
    with pytest.raises(StorageUnavailable, match="away"):
        patient(calls, lease, undo=undone.set)
    assert calls.made == 2
    assert undone.wait(10)


def test_nothing_is_undone_while_another_try_may_succeed(lease: HandLease) -> None:
    undone = threading.Event()
    assert patient(Calls(2), lease, undo=undone.set) == "stored"
    assert not undone.wait(0.1), "an undo of an earlier try would take away what the last one has stored"


def test_a_call_that_hangs_is_left_when_the_time_is_up_and_undone_when_it_ends(lease: HandLease) -> None:
    calls, undone = Calls(0, hang=True), threading.Event()
    with pytest.raises(StorageUnavailable):
        patient(calls, lease, seconds=2, undo=undone.set)
    assert not undone.is_set()
    calls.let_go.set()
    assert undone.wait(10)


def test_work_counts_as_moving_meanwhile(lease: HandLease) -> None:
    def until_it_has_moved() -> str:
        wait_for(lambda: lease.moves > 3, "the work to move", 25)
        return "stored"

    assert patient(until_it_has_moved, lease) == "stored"


@pytest.mark.parametrize("stop", [Stop.CANCEL, Stop.LOST])
def test_a_cancel_and_a_lost_lease_end_the_wait_at_once(lease: HandLease, stop: Stop) -> None:
    calls, undone = Calls(0, hang=True), threading.Event()

    def cancel() -> None:
        wait_for(lambda: calls.made, "the call")
        lease.stop = stop

    threading.Thread(target=cancel).start()
    with pytest.raises(StoppedError):
        patient(calls, lease, leaving_seconds=30, undo=undone.set)
    calls.let_go.set()
    assert undone.wait(10)


def test_nothing_is_begun_for_a_job_that_is_to_stop(lease: HandLease) -> None:
    lease.stop = Stop.CANCEL
    calls = Calls(0)
    with pytest.raises(StoppedError):
        patient(calls, lease)
    assert calls.made == 0


def test_who_is_to_leave_tries_once_more(lease: HandLease) -> None:
    lease.stop = Stop.DRAIN
    assert patient(Calls(0), lease, leaving_seconds=30) == "stored"
    refused = Calls(10_000)
    with pytest.raises(StoppedError):
        patient(refused, lease, leaving_seconds=30)
    assert refused.made == 1
    with pytest.raises(StoppedError):
        patient(Calls(0), lease)


def test_who_is_to_leave_waits_for_a_call_that_hangs_only_so_long(lease: HandLease) -> None:
    lease.stop = Stop.DRAIN
    with pytest.raises(StoppedError):
        patient(Calls(0, hang=True), lease, leaving_seconds=0.1)


def test_other_errors_are_not_repeated(lease: HandLease) -> None:
    def broken() -> str:
        raise ValueError("ours")

    with pytest.raises(ValueError, match="ours"):
        patient(broken, lease)


def test_a_brief_call_is_not_waited_for_longer(lease: HandLease) -> None:  # noqa: ARG001
    assert briefly(lambda: 3, 10) == 3
    calls = Calls(0, hang=True)
    with pytest.raises(StorageUnavailable):
        briefly(calls, 0.05)
    calls.let_go.set()
