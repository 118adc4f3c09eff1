"""What requests are served with: settings, stores, live workers, bells. Built once a process."""

import time
from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app
from redis import Redis

from shared import bells
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings

KEY = "impasto"
#: Seconds for which the list of live workers is believed, so that a burst of submits asks Redis once.
_LIVE_SECONDS = 1.0


class LivePainters:
    """The live paint workers, asked for at most once a second unless `fresh`."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._seen: tuple[float, tuple[WorkerInfo, ...]] = (float("-inf"), ())

    def list(self, *, fresh: bool = False) -> tuple[WorkerInfo, ...]:
        """Every live paint worker.

        Args:
            fresh: ask Redis now; for the moment before a caller is refused.
        """
        now = time.monotonic()
        asked_at, found = self._seen
        if fresh or now - asked_at > _LIVE_SECONDS:
            found = tuple(info for info in self._workers.live() if info.queue == Queue.PAINT)
            self._seen = (now, found)
        return found


@dataclass(frozen=True)
class Services:
    """One of each, shared by all threads."""

    settings: Settings
    redis: Redis
    store: JobStore
    objects: ObjectStore
    painters: LivePainters
    ring: Callable[[Queue], None]


def attach(app: Flask, settings: Settings) -> None:
    """Build the services for an application. Nothing is connected to yet."""
    redis = connect(settings)
    app.extensions[KEY] = Services(
        settings=settings,
        redis=redis,
        store=JobStore(redis, settings),
        objects=open_objects(settings),
        painters=LivePainters(Workers(redis)),
        ring=bells.ring,
    )


def services() -> Services:
    """The services of the application that serves this request."""
    found: Services = current_app.extensions[KEY]
    return found
