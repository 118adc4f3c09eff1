"""Work that goes on until the worker drains."""

import threading

import pytest

from shared.errors import StoreUnavailable
from worker.chores.loop import Loop


def test_steps_follow_one_another_until_the_worker_drains() -> None:
    draining, steps = threading.Event(), iter([True, False, True])

    def step() -> bool:
        more = next(steps, None)
        if more is None:
            draining.set()
        return bool(more)

    loop = Loop("steps", step, draining, idle_seconds=0.01)
    loop.start()
    loop.join()
    assert next(steps, None) is None


def test_a_step_that_fails_is_told_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    draining, faults = threading.Event(), [StoreUnavailable("Redis is away"), ValueError("a bug")]

    def step() -> bool:
        if faults:
            raise faults.pop(0)
        draining.set()
        return False

    loop = Loop("steps", step, draining, idle_seconds=0.01)
    loop.start()
    loop.join()
    assert [record.message for record in caplog.records] == [
        "steps has to wait: Redis is away",
        "steps: a step failed",
    ]
