"""Faults 2 and 12: bells that are lost, and bells that ring twice. Each job is painted, and once."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import redis

from shared import bells
from shared.bells import message
from shared.jobs.record import Queue, Status
from shared.jobs.results import Claim, Tally
from shared.jobs.scripts import Scripts
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.jobs import finish, new_job
from tests.support.proxy import Way, cut_when
from tests.support.rig import Rig
from tests.support.waiting import wait_for

ROUNDS = 100


@pytest.mark.fault(2)
def test_a_bell_that_is_lost_between_server_and_worker_is_rung_again(rig: Rig) -> None:
    rig.worker(Queue.PAINT)
    lost: list[bytes] = []

    def carries_a_bell(way: Way, chunk: bytes) -> bool:
        if way is not Way.ANSWERED or b"impasto.paint" not in chunk:
            return False
        lost.append(chunk)
        return True

    rig.redis_proxy.rule = cut_when(carries_a_bell, times=3)
    job = rig.submit()
    done = rig.ended(job)
    assert len(lost) == 3, "popped, and never arrived"
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    rig.has_its_one_result(done)
    rig.audit()


@pytest.mark.fault(12)
def test_what_is_no_bell_neither_ends_a_worker_nor_keeps_it_from_hearing_the_next(rig: Rig) -> None:
    worker = rig.worker(Queue.PAINT)
    bell = message(Queue.PAINT)
    strangers: list[str | bytes] = ["garbage", "7", "null", "{}", b"\xff\x00", "[" * 5000]
    strangers += [
        '{"__type__": "datetime", "__value__": 7}',
        json.dumps({**json.loads(bell), "body": "Nw=="}),
    ]
    strangers += [bell.replace("impasto.paint", "shop.tasks.bill"), bell.replace('"base64"', '"rot13"')]
    rig.client.lpush(Queue.PAINT, *strangers)
    wait_for(lambda: not rig.client.llen(Queue.PAINT), "all of it to be taken off the list")
    done = rig.ended(rig.submit())
    assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
    assert worker.status is None
    said = worker.log.read_text()
    assert said.count("it is no bell") == len(strangers)
    assert "Traceback" not in said
    assert "Redis is" not in said, "not even the connection was lost"


@pytest.mark.fault(12)
def test_bells_that_ring_again_and_again_start_nothing_twice(tmp_path: Path) -> None:
    with Rig(tmp_path, batch=1) as rig:
        for _ in range(2):
            rig.worker(Queue.PAINT)
        same = message(Queue.PAINT)
        rig.client.lpush(Queue.PAINT, *[same] * 10)
        jobs = []
        for hue in range(6):
            jobs.append(rig.submit(hue))
            rig.client.lpush(Queue.PAINT, same, same, message(Queue.PAINT), message(Queue.PAINT))
        for job in jobs:
            done = rig.ended(job)
            assert (done.status, done.attempt) == (Status.SUCCEEDED, 1)
            rig.has_its_one_result(done)
        # A checkpoint may be overtaken by its job's end, and is stale then.
        assert replace(rig.store.tally(), stale=0) == Tally(finished=len(jobs))
        rig.audit()


@pytest.mark.fault(12)
def test_of_two_workers_that_claim_at_the_same_moment_one_gets_the_job(
    valkey: str, redis_client: redis.Redis
) -> None:
    config = Settings(redis_url=valkey, redis_timeout=20)
    own = JobStore(redis_client, config)
    start = threading.Barrier(2, timeout=60)

    def claims(worker: str) -> list[Claim | None]:
        with connect(config) as client:
            store, found = JobStore(client, config), []
            for _ in range(ROUNDS):
                if start.wait() == 0:
                    own.submit(new_job(skip_intake=True))
                start.wait()
                found.append(store.claim(Queue.PAINT, worker, ["compact"]))
            return found

    with ThreadPoolExecutor(2) as pool:
        rounds = list(zip(*pool.map(claims, ["one", "other"]), strict=True))
    assert all((a is None) != (b is None) for a, b in rounds)
    won = [claim for pair in rounds for claim in pair if claim]
    assert len({claim.job.uid for claim in won}) == ROUNDS
    assert {claim.job.worker for claim in won} <= {"one", "other"}
    for claim in won:
        finish(own, claim)
    assert own.tally() == Tally(finished=ROUNDS)


def test_bells_are_rung_up_to_a_bound(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bells, "_scripts", lambda: Scripts(rig.client, {"bells": 4}))
    for _ in range(10):
        bells.ring(Queue.PAINT)
    assert rig.client.llen(Queue.PAINT) == 4
