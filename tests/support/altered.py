"""A process of the service in which one thing is not as it should be.

    python -m tests.support.altered clock=600 worker paint

runs `python -m worker paint` with a clock that is ten minutes ahead. What is altered is altered before the
process imports what it is made of; nothing in the service knows of it.
"""

import runpy
import sys
import time
from collections.abc import Callable
from itertools import takewhile
from pathlib import Path


def shift_clock(seconds: str) -> None:
    """Put the wall clock forward, or back by a negative number. The monotonic one goes on as it does."""
    shift = float(seconds)
    true_time, true_time_ns = time.time, time.time_ns
    time.time = lambda: true_time() + shift
    time.time_ns = lambda: true_time_ns() + round(shift * 1e9)


def use_decoder(program: str) -> None:
    """Run another program where the decoder would be run."""
    from shared.pictures import decoders

    decoders._CHILD = Path(program)


def wait_for_redis(seconds: str) -> None:
    """Wait longer for Redis than a lease holds, which no setting allows."""
    from shared import redis

    connect = redis.connect
    redis.connect = lambda config: connect(config.model_copy(update={"redis_timeout": float(seconds)}))


def leave_soon(seconds: str) -> None:
    """Let the object store keep a worker that is to leave no longer than this."""
    from worker import tries

    tries.LEAVING_SECONDS = float(seconds)


ALTERATIONS: dict[str, Callable[[str], None]] = {
    "clock": shift_clock,
    "decoder": use_decoder,
    "leaving": leave_soon,
    "patience": wait_for_redis,
}


def main() -> None:
    """Arguments: alterations, then a module and its own arguments."""
    given = list(takewhile(lambda argument: "=" in argument, sys.argv[1:]))
    for name, _, value in (argument.partition("=") for argument in given):
        ALTERATIONS[name](value)
    sys.argv = sys.argv[1 + len(given) :]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
