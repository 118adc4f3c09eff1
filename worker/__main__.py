"""`python -m worker intake|paint|chores`: start one worker process."""

import argparse
import logging
import os
import sys

from shared.bells import ring
from shared.jobs.batches import BatchStore
from shared.jobs.record import Queue
from shared.jobs.workers import LivePainters, Workers
from shared.logs import set_up_logging
from shared.redis import connect
from shared.settings import Settings, settings
from worker.leaving import DEVICE_LOST_EXIT
from worker.process import Stage, Surroundings, serve
from worker.recycling import DeviceMemory

log = logging.getLogger(__name__)


def _intake(around: Surroundings) -> Stage:
    from worker.intake.task import Intake

    return Stage(Intake(around.store, around.objects, around.config, around.name, around.draining).work)


def _paint(around: Surroundings) -> Stage:
    from worker.engine import Engine
    from worker.paint import Painter
    from worker.statistics import StoredStatistics

    config = around.config
    engine = Engine(
        weights_dir=config.weights_path,
        device=config.device,
        dtype=config.dtype,
        memory_bytes=config.memory,
        statistics=StoredStatistics(around.objects),
    )
    backbones = engine.backbones()
    for backbone in backbones[:1]:
        engine.warm(backbone)
    if not backbones:
        log.error("no weights here: run `impasto weights fetch vgg19`, or set IMPASTO_WEIGHTS_DIR")
    log.info("painting on %s in %s with %s", engine.device, engine.dtype, ", ".join(backbones) or "nothing")
    painter = Painter(around.store, around.objects, engine, config, around.name, around.draining)
    on_device = DeviceMemory(engine.memory_held, total) if (total := engine.memory_total()) else None
    return Stage(painter.work, backbones, engine.device, on_device)


def _chores(around: Surroundings) -> Stage:
    from shared.jobs.archives import ArchiveStore
    from shared.jobs.deliveries import DeliveryStore
    from worker.chores.archives import ArchiveWork
    from worker.chores.batch_check import Desk
    from worker.chores.batches import BatchWork
    from worker.chores.checkup import Checkup
    from worker.chores.deliverer import Deliverer
    from worker.chores.loop import Loop
    from worker.chores.tidy import Tidy

    tidy = Tidy(around.store, around.objects, around.config.retention_seconds)
    checkup = Checkup(connect(around.config), around.objects, around.config, around.draining)

    deliverer = Deliverer(
        DeliveryStore(connect(around.config), around.config), around.config, around.draining
    )

    def work() -> bool:
        more = tidy.work()
        if not more:
            checkup.work()
        return more

    redis = connect(around.config)
    desk = Desk(around.config, around.store, around.objects, LivePainters(Workers(redis)))
    store = BatchStore(redis, around.config)
    batches = BatchWork(store, desk, ring, around.draining)
    archives = ArchiveWork(ArchiveStore(redis, around.config), store, around.objects)
    loops = (
        Loop("batches", batches.step, around.draining),
        Loop("archives", archives.step, around.draining, finish=archives.finish),
        Loop("webhooks", deliverer.step, around.draining, finish=deliverer.finish),
    )
    return Stage(work, loops=loops)


STAGES = {Queue.INTAKE: _intake, Queue.PAINT: _paint, Queue.CHORES: _chores}


def _slots(queue: Queue, config: Settings) -> int:
    return config.intake_slots if queue is Queue.INTAKE else 1


def main() -> int:
    """Parse the command line and serve until told to stop; returns the exit status.

    It is 0 after SIGTERM and after leaving for its size, `worker.leaving.DEVICE_LOST_EXIT` when the device
    has failed; the watchdog ends the process with `worker.lease.STALLED_EXIT`.
    """
    parser = argparse.ArgumentParser(prog="python -m worker", description="Serve one stage of Impasto.")
    parser.add_argument("queue", type=Queue, choices=list(Queue), help="the stage to serve")
    queue: Queue = parser.parse_args().queue
    config = settings()
    set_up_logging(config)
    if queue is Queue.PAINT and config.torch_threads:
        import torch

        torch.set_num_threads(config.torch_threads)
    status = serve(queue, _slots(queue, config), config, STAGES[queue])
    if status == DEVICE_LOST_EXIT:
        # On its way out torch would use the device once more, and abort or hang.
        logging.shutdown()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
