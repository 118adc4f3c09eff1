"""Bells are rung beside the requests, and never more of them than are of use."""

import threading
from queue import SimpleQueue

import pytest

from api.bellringer import Bellringer
from shared.errors import StoreUnavailable
from shared.jobs.record import Queue

PATIENCE = 30.0


def test_whoever_wants_a_bell_does_not_wait_for_it() -> None:
    may_ring, rung = threading.Event(), SimpleQueue[Queue]()

    def ring(queue: Queue) -> None:
        assert may_ring.wait(PATIENCE)
        rung.put(queue)

    ringer = Bellringer(ring, most=4)
    ringer.ring(Queue.INTAKE)
    ringer.ring(Queue.PAINT)
    assert rung.empty()
    may_ring.set()
    assert {rung.get(timeout=PATIENCE), rung.get(timeout=PATIENCE)} == {Queue.INTAKE, Queue.PAINT}


def test_no_more_bells_wait_than_may_be_outstanding() -> None:
    begun, may_ring, rung = threading.Semaphore(0), threading.Event(), SimpleQueue[Queue]()

    def ring(queue: Queue) -> None:
        begun.release()
        assert may_ring.wait(PATIENCE)
        rung.put(queue)

    ringer = Bellringer(ring, most=4)
    ringer.ring(Queue.INTAKE)
    assert begun.acquire(timeout=PATIENCE)
    for _ in range(100):
        ringer.ring(Queue.INTAKE)
    may_ring.set()
    ringer.ring(Queue.PAINT)  # behind the others
    found = [rung.get(timeout=PATIENCE) for _ in range(6)]
    assert found.count(Queue.INTAKE) == 5
    assert rung.empty()


@pytest.mark.parametrize("error", [StoreUnavailable("away"), RuntimeError("a mistake")])
def test_a_bell_that_cannot_be_rung_silences_no_other(
    error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    rung, errors = SimpleQueue[Queue](), [error]

    def ring(queue: Queue) -> None:
        if errors:
            raise errors.pop()
        rung.put(queue)

    ringer = Bellringer(ring, most=4)
    ringer.ring(Queue.INTAKE)
    ringer.ring(Queue.PAINT)
    assert rung.get(timeout=PATIENCE) in (Queue.INTAKE, Queue.PAINT)
    assert "not rung" in caplog.text
