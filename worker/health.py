"""Health check of a worker's container: `python -m worker.health intake|paint|chores`.

A worker advertises itself in Redis every few seconds (`worker.ticker`), under a name that holds its host. It
is healthy while an advertisement of this queue names this host: it runs and reaches Redis. One that stalls on
a job is not seen here; its own watchdog ends it (`worker.lease`).
"""

import argparse
import socket
import sys
from collections.abc import Iterable

from shared.errors import StoreUnavailable
from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers
from shared.redis import connect
from shared.settings import settings


def lives(live: Iterable[WorkerInfo], queue: Queue, host: str) -> bool:
    """True when a worker of this queue on this host is among the live ones."""
    return any(
        worker.queue is queue and worker.name.partition("@")[2].rpartition(":")[0] == host for worker in live
    )


def main() -> int:
    """Exit status 0 when the worker on this host lives, else 1 and the reason on standard error."""
    parser = argparse.ArgumentParser(
        prog="python -m worker.health", description="Does this host's worker live?"
    )
    parser.add_argument("queue", type=Queue, choices=list(Queue), help="the stage that it serves")
    queue: Queue = parser.parse_args().queue
    try:
        with connect(settings()) as redis:
            live = Workers(redis).live()
    except StoreUnavailable as fault:
        print(fault.detail, file=sys.stderr)  # noqa: T201 - the engine keeps what a check prints
        return 1
    if not lives(live, queue, socket.gethostname()):
        print(f"no live {queue} worker on this host", file=sys.stderr)  # noqa: T201
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
