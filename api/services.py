"""What requests are served with: settings, stores, live workers, bells. Built once a process."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app
from redis import Redis

from api.bellringer import Bellringer
from api.waiting.hub import Hub
from api.waiting.lately import Lately
from shared import bells
from shared.jobs.archives import ArchiveStore
from shared.jobs.batches import BatchStore
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.outlooks import Outlooks
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import LivePainters, Workers
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings

KEY = "impasto"


@dataclass(frozen=True)
class Services:
    """One of each, shared by all threads. `ring` has a bell rung soon, and waits for nothing."""

    settings: Settings
    redis: Redis
    store: JobStore
    batches: BatchStore
    archives: ArchiveStore
    deliveries: DeliveryStore
    objects: ObjectStore
    painters: LivePainters
    ring: Callable[[Queue], None]
    outlooks: Outlooks
    hub: Hub
    lately: Lately


def attach(app: Flask, settings: Settings) -> None:
    """Build the services for an application. Nothing is connected to yet."""
    redis = connect(settings)
    store = JobStore(redis, settings)
    batches = BatchStore(redis, settings)
    outlooks = Outlooks(redis, store, settings.intake_slots)
    app.extensions[KEY] = Services(
        settings=settings,
        redis=redis,
        store=store,
        batches=batches,
        archives=ArchiveStore(redis, settings),
        deliveries=DeliveryStore(redis, settings),
        objects=open_objects(settings),
        painters=LivePainters(Workers(redis)),
        ring=Bellringer(bells.ring, settings.bells).ring,
        outlooks=outlooks,
        hub=Hub(settings, redis, outlooks.of),
        lately=Lately(batches.by_uid),
    )


def hub_of(app: object) -> Hub | None:
    """Who waits at an application of ours; None for another one."""
    found = getattr(app, "extensions", {}).get(KEY)
    return found.hub if isinstance(found, Services) else None


def services() -> Services:
    """The services of the application that serves this request."""
    found: Services = current_app.extensions[KEY]
    return found
