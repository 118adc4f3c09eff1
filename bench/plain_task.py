"""The plain Celery job that Impasto is compared with: what a careful reader of Celery's manual would write.

`acks_late` and `reject_on_worker_lost`, so that a job outlives its worker; one message at a time; results in
Redis. The work is a wait of some seconds, then a file is published. What the comparison counts is noted in
two folders: `begun` and `published`, a line a run.

Run by `bench.plain_celery`, which sets the three variables.
"""

import os
import time
from pathlib import Path

from celery import Celery

URL = os.environ["PLAIN_REDIS_URL"]
FOLDER = Path(os.environ["PLAIN_FOLDER"])
VISIBILITY_SECONDS = float(os.environ["PLAIN_VISIBILITY_SECONDS"])

app = Celery("plain", broker=URL, backend=URL)
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=1,
    broker_transport_options={
        "visibility_timeout": VISIBILITY_SECONDS,
        # A look each second for messages that nobody acknowledged in time; each 100 s by default.
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
    },
    result_backend_transport_options={"visibility_timeout": VISIBILITY_SECONDS},
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
)


@app.task(name="plain.paint")  # type: ignore[untyped-decorator]
def paint(job: str, seconds: float) -> str:
    """Work for so long, then publish."""
    note("begun", job)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        time.sleep(0.05)
    note("published", job)
    return job


def note(what: str, job: str) -> None:
    """Count one run."""
    with (FOLDER / what / job).open("a") as file:
        file.write(f"{os.getpid()} {time.time()}\n")
