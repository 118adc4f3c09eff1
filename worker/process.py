"""One worker process: a stage's task, its Celery consumer, its ticker, and how it leaves.

SIGTERM: Celery says `worker_shutting_down` at once; the work in hand sees the draining event, puts its job
back (or ends it), and the process goes. A second SIGTERM changes nothing. A process that has grown too large,
or whose device has failed, leaves the same way by itself.
"""

import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import celery.apps.worker
from celery.platforms import SecurityWarning
from celery.signals import setup_logging, worker_shutting_down

from shared import logs
from shared.bells import ring
from shared.celery_app import app, task_name
from shared.errors import StoreUnavailable
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings
from worker.chores.loop import Loop
from worker.consumer import patient_consumer
from worker.hearing import listen_carefully
from worker.leaving import RECYCLED_EXIT, Leaving, Unfit
from worker.outage import Outage
from worker.recycling import DeviceMemory, Recycling
from worker.ticker import Ticker

log = logging.getLogger(__name__)

#: A worker that has found work for so long rings for what is left, and lets that bell decide who goes on.
BELL_SECONDS = 10.0


@dataclass(frozen=True)
class Surroundings:
    """What every stage's task is given."""

    config: Settings
    store: JobStore
    objects: ObjectStore
    name: str
    draining: threading.Event


@dataclass(frozen=True)
class Stage:
    """A stage's work, what it can offer, and what it does beside.

    Attributes:
        work: does one job, or a bounded piece of work; False when nothing is left to do.
    """

    work: Callable[[], bool]
    backbones: Sequence[str] = ()
    device: str = "cpu"
    device_memory: DeviceMemory | None = None
    loops: Sequence[Loop] = ()


def serve(queue: Queue, slots: int, config: Settings, make_stage: Callable[[Surroundings], Stage]) -> int:
    """Serve one queue until told to stop.

    Args:
        queue: the queue to serve.
        slots: jobs worked on at a time, each in a thread.
        config: the settings.
        make_stage: builds the stage's work from its surroundings.

    Returns:
        The process' exit status.
    """
    name = f"{queue}@{socket.gethostname()}:{os.getpid()}"
    redis = connect(config)
    store = JobStore(redis, config)
    draining = threading.Event()
    stage = make_stage(Surroundings(config, store, open_objects(config), name, draining))
    leaving = Leaving(draining)
    recycling = Recycling(config.recycle_bytes, config.recycle_device_bytes, stage.device_memory)
    info = WorkerInfo(name, queue, tuple(stage.backbones), stage.device)
    outage = Outage()
    ticker = Ticker(redis, store, config, info, outage)

    @app.task(name=task_name(queue))  # type: ignore[untyped-decorator]
    def answer() -> None:
        """Answer one bell: go on while there is work, since a bell costs as much as a small job."""
        until = time.monotonic() + BELL_SECONDS
        try:
            while not draining.is_set() and stage.work():
                if (too_large := recycling.reason()) is not None:
                    leaving.leave(too_large, RECYCLED_EXIT)
                    ring(queue)
                elif time.monotonic() > until:
                    ring(queue)
                    return
        except StoreUnavailable as fault:
            log.warning("a bell of %s went unanswered: %s", queue, fault.detail)
        except Unfit as reason:
            leaving.leave(str(reason), reason.status)

    def drain(**_: object) -> None:
        draining.set()

    _keep_the_log_ours(name, config)
    # Celery warns of root because of pickled messages; ours are JSON and name a stage, nothing else.
    warnings.simplefilter("ignore", SecurityWarning)
    worker_shutting_down.connect(drain, weak=False)
    app.conf.worker_consumer = patient_consumer(outage)
    listen_carefully()
    ticker.start()
    for loop in stage.loops:
        loop.start()
    try:
        worker = app.Worker(
            hostname=name.replace(":", "."),
            queues=[str(queue)],
            pool="threads",
            concurrency=slots,
            loglevel=config.log_level,
            without_gossip=True,
            without_mingle=True,
            without_heartbeat=True,
            quiet=True,
        )
        worker.start()
        return leaving.status or int(worker.exitcode or 0)
    finally:
        draining.set()
        for loop in stage.loops:
            loop.join()
        ticker.stop()


def _keep_the_log_ours(name: str, config: Settings) -> None:
    """Have every line say whose it is, and keep Celery from setting up the log in its own way."""
    logs.everywhere(worker=name)
    setup_logging.connect(lambda **_: None, weak=False)
    if config.log_format == "json":
        # It tells of a shutdown past the log.
        celery.apps.worker.safe_say = lambda *_: None
