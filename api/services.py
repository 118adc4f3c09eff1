"""What requests are served with: settings, stores, live workers, bells. Built once a process."""

from collections.abc import Callable
from dataclasses import dataclass

from flask import Flask, current_app
from redis import Redis

from api.bellringer import Bellringer
from api.recent import Recent
from api.waiting.hub import Hub
from api.waiting.lately import Lately
from shared import bells
from shared.jobs.archives import ArchiveStore
from shared.jobs.batches import BatchStore
from shared.jobs.deliveries import DeliveryStore
from shared.jobs.outlooks import Outlooks
from shared.jobs.record import Job, Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import LivePainters, Workers
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings

KEY = "impasto"
#: What `shown` wrote of records, by their internal ID and the address that the caller sees the API at: the
#: record's version, and the text before and after what is filled in.
Texts = Recent[tuple[str, str], tuple[int, str, str]]
#: Bytes of records that are remembered for polls, and of what was written of them: some 4000 ordinary jobs.
RECORD_BYTES, TEXT_BYTES = 2**24, 2**23


@dataclass(frozen=True)
class Services:
    """One of each, shared by all threads.

    Attributes:
        ring: has a bell rung soon, and waits for nothing.
        records: jobs as submits and polls last saw them, by owner and ID.
        texts: what was written of them.
    """

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
    records: Recent[tuple[str, str], Job]
    texts: Texts


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
        records=Recent(RECORD_BYTES),
        texts=Recent(TEXT_BYTES),
    )


def hub_of(app: object) -> Hub | None:
    """Who waits at an application of ours; None for another one."""
    found = getattr(app, "extensions", {}).get(KEY)
    return found.hub if isinstance(found, Services) else None


def services() -> Services:
    """The services of the application that serves this request."""
    found: Services = current_app.extensions[KEY]
    return found
