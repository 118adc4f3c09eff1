"""Waiting for something that happens in another process: look often, give up at a deadline."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.05


def wait_for(look: Callable[[], T | None], what: str, seconds: float = 60.0) -> T:
    """Call `look` until it returns something true, and return that.

    Raises:
        AssertionError: nothing came within the time; says what was waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}"
        time.sleep(INTERVAL)
