"""Batches for tests: the chores' work on them, done by hand."""

import threading
from collections.abc import Callable, Mapping
from typing import Any

import redis

from shared.backbones import BACKBONES
from shared.ids import new_id
from shared.jobs.batch_files import BatchFile, Kind, Writer
from shared.jobs.batch_record import Batch, BatchStatus, NewBatch
from shared.jobs.batches import BatchStore
from shared.jobs.store import JobStore
from shared.jobs.workers import LivePainters, Workers
from shared.objects import ObjectStore
from shared.requests.batch import line_of
from shared.settings import Settings
from shared.spec import resolve
from tests.support.jobs import new_job
from worker.chores.batch_check import Desk
from worker.chores.batches import BatchWork

SMALL: dict[str, Any] = {"size": 64, "steps": 30, "pyramid": 1}


def chores(
    client: redis.Redis, config: Settings, objects: ObjectStore, draining: threading.Event | None = None
) -> BatchWork:
    """What a chores worker does for batches; it rings no bells."""
    store = BatchStore(client, config)
    desk = Desk(config, JobStore(client, config), objects, LivePainters(Workers(client)))
    return BatchWork(store, desk, lambda _: None, draining or threading.Event())


def work_off(work: BatchWork) -> int:
    """Do all that there is to do; returns the number of steps."""
    steps = 0
    while work.step():
        steps += 1
        assert steps < 10_000, "the work on batches never ends"
    return steps


def new_batch(
    batches: BatchStore,
    objects: ObjectStore,
    count: int,
    *,
    owner: str = "ann",
    each: Callable[[int], Mapping[str, Any]] = lambda _: {},
    **changes: Any,
) -> Batch:
    """An accepted batch of so many items.

    Keyword arguments are fields of `NewJob` of all of them; `each` gives an item's own, by its index.
    """
    uid = new_id("batch")
    writer = Writer(BatchFile(objects, uid, Kind.ITEMS))
    spec = resolve(SMALL, BACKBONES["compact"])
    for index in range(count):
        changes_of_one = {"custom_id": f"item {index}", **changes, **each(index)}
        writer.add(line_of(new_job(owner, spec=spec, **changes_of_one)))
    writer.close()
    batch, created = batches.create(NewBatch(uid, owner, BatchStatus.PROCESSING, count, {}, f"hash of {uid}"))
    assert created
    return batch
