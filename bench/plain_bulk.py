"""The Celery application that `bench.throughput` and `bench.bulk` compare with: as a person would write it.

Tasks as messages on Redis, acknowledged late, one fetched at a time. Imported by a worker process: the server
and the folder come from environment variables.
"""

import os
from pathlib import Path
from typing import Any

from celery import Celery

from shared.objects.local import LocalObjects

URL = os.environ["PLAIN_REDIS_URL"]
OBJECTS = LocalObjects(Path(os.environ["PLAIN_OBJECTS"]))

app = Celery("plain", broker=URL)
app.conf.update(task_acks_late=True, worker_prefetch_multiplier=1, task_ignore_result=True)


@app.task(name="plain.fetch")  # type: ignore[untyped-decorator]
def fetch(job: str, inputs: list[str]) -> None:
    """Stands for intake: look at the inputs, then hand on."""
    for key in inputs:
        OBJECTS.get(key)
    paint.delay(job, inputs)


@app.task(name="plain.paint")  # type: ignore[untyped-decorator]
def paint(job: str, inputs: list[str]) -> None:
    """Read the inputs' bytes, store the first one's as the result."""
    data = [OBJECTS.get(key) for key in inputs]
    OBJECTS.put(f"outputs/{job}/1.png", data[0], "image/png")


@app.task(name="plain.job")  # type: ignore[untyped-decorator]
def job(body: dict[str, Any]) -> None:
    """Nobody runs it: for measuring how fast tasks are handed in."""
