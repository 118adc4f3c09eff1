"""Fault 4: Redis is restarted five times in a row. Workers come back by themselves, and nothing is lost."""

import time
from pathlib import Path

import pytest

from shared.bells import message
from shared.jobs.record import Queue, Status
from tests.support.rig import SHORT_LEASE, SMALL, SUCCESSOR, Process, Rig
from tests.support.waiting import wait_for

RESTARTS = 5


def restart(rig: Rig, number: int) -> None:
    """End the server, every other time without a warning, and start it on what it wrote."""
    if number % 2:
        rig.valkey.stop()
    else:
        rig.valkey.kill()
    rig.valkey.restart()


def told_it_once_each_time(worker: Process) -> None:
    """Assert that the worker lived through all outages, and said of each it noticed that it came and went.

    Once, or twice where one part of it finds out only when another has found Redis back.
    """
    assert worker.status is None
    # What has asked Redis may have been answered before what says so has.
    wait_for(lambda: told(worker, "away") == told(worker, "back"), "the last outage to be over")
    said = worker.log.read_text()
    assert "Traceback" not in said
    assert "celery" not in said.lower(), "one line is enough"
    assert told(worker, "back") <= 2 * RESTARTS


def told(worker: Process, what: str) -> int:
    return worker.log.read_text().count(f"Redis is {what}")


@pytest.mark.fault(4)
@pytest.mark.parametrize("way", ["refused", "cut"])
def test_idle_workers_consume_again_after_each_of_five_restarts(tmp_path: Path, way: str) -> None:
    """Without the proxy connections to a dead server are refused, with it they open and are cut."""
    with Rig(tmp_path) as rig:
        own = {"redis_url": rig.valkey.url} if way == "refused" else {}
        worker = rig.worker(Queue.PAINT, **own)
        for number in range(RESTARTS):
            answered = rig.submit(number)
            restart(rig, number)
            assert rig.now(answered).uid == answered.uid, "what was answered is there"
            done = [rig.ended(answered), rig.ended(rig.submit(number + RESTARTS))]
            assert [job.status for job in done] == [Status.SUCCEEDED] * 2
            for job in done:
                rig.has_its_one_result(job)
        assert rig.store.tally().finished == 2 * RESTARTS
        told_it_once_each_time(worker)
        rig.audit()


@pytest.mark.fault(4)
def test_a_painting_goes_on_through_five_restarts(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        worker = rig.worker(Queue.PAINT)
        job = rig.submit(spec={**SMALL, "steps": 2000})
        for number in range(RESTARTS):
            progress = rig.painting(job).progress
            assert progress is not None
            restart(rig, number)
            rig.painting(job, step=progress.step + 1)
        done = rig.ended(job)
        assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
        rig.has_its_one_result(done)
        assert rig.ended(rig.submit(1)).status is Status.SUCCEEDED, "it consumes again"
        tally = rig.store.tally()
        assert (tally.finished, tally.lost) == (2, 0)
        told_it_once_each_time(worker)
        rig.audit()


@pytest.mark.fault(4)
def test_intake_and_chores_consume_again_too(tmp_path: Path) -> None:
    with Rig(tmp_path) as rig:
        workers = [rig.worker(queue) for queue in (Queue.INTAKE, Queue.CHORES)]
        for number in range(RESTARTS):
            restart(rig, number)
            for queue in (Queue.INTAKE, Queue.CHORES):
                rig.client.lpush(queue, message(queue))
                wait_for(lambda queue=queue: not rig.client.llen(queue), f"{queue} to hear a bell")
        for worker in workers:
            told_it_once_each_time(worker)


@pytest.mark.fault(1, 4)
@pytest.mark.parametrize("with_redis", [True, False], ids=["redis dies with it", "the worker dies alone"])
def test_a_worker_that_dies_is_charged_unless_redis_was_away_too(rig: Rig, with_redis: bool) -> None:
    worker = rig.worker(Queue.PAINT, **SHORT_LEASE)
    job = rig.submit(spec={**SMALL, "steps": 400})
    rig.painting(job, step=5)
    worker.kill()
    if with_redis:
        rig.valkey.kill()
        time.sleep(SHORT_LEASE["lease_seconds"])  # so long it is away: what is shorter costs nobody a lease
        rig.valkey.restart()
    rig.worker(Queue.PAINT, **SUCCESSOR)
    done = rig.ended(job)
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1 if with_redis else 2)
    assert [error.code for error in done.attempt_errors] == [
        "store_unavailable" if with_redis else "worker_lost"
    ]
    rig.has_its_one_result(done)
    rig.audit()
