"""Workers advertise themselves, and lapse."""

import redis

from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.clock import Clock

PAINT = WorkerInfo("paint-1", Queue.PAINT, ("compact", "vgg19"), "cuda:0")
INTAKE = WorkerInfo("intake-1", Queue.INTAKE, (), "cpu")


def test_a_worker_counts_as_live_until_its_advertisement_lapses(
    redis_client: redis.Redis, clock: Clock
) -> None:
    workers = Workers(redis_client)
    workers.advertise(PAINT, 30)
    workers.advertise(INTAKE, 60)
    assert workers.live() == [PAINT, INTAKE]
    clock.advance(29)
    workers.advertise(PAINT, 30)
    clock.advance(29)
    assert workers.live() == [PAINT, INTAKE]
    clock.advance(2)
    assert workers.live() == []
    assert redis_client.keys("im:worker*") == []


def test_a_worker_that_leaves_is_gone_at_once(redis_client: redis.Redis, clock: Clock) -> None:  # noqa: ARG001
    workers = Workers(redis_client)
    workers.advertise(PAINT, 30)
    workers.withdraw("paint-1")
    workers.withdraw("never-there")
    assert workers.live() == []
