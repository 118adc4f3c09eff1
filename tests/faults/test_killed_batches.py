"""Batches whose makers are killed: the API between record and answer, a chores worker while it loads."""

import json
import threading

import httpx
import pytest

from shared.jobs.batches import BatchStore
from shared.jobs.record import Queue, Status
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.audit import snapshot
from tests.support.batches import new_batch
from tests.support.proxy import Connection, Fate, Way, pass_on
from tests.support.rig import SHORT_LEASE, Rig
from tests.support.waiting import wait_for

pytestmark = pytest.mark.fault(20)
ITEMS = 1500
ITEM = {"content": "https://example.org/bridge.jpg", "styles": ["https://example.org/starry.jpg"]}


class Held:
    """A rule of the proxy before Redis: from the n-th chunk with a mark on, what has it stays where it is.

    Attributes:
        seen: set once there is one.
    """

    def __init__(self, way: Way, mark: bytes, nth: int = 1) -> None:
        self.seen = threading.Event()
        self._way, self._mark, self._left = way, mark, nth

    def __call__(self, connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG002
        if way is self._way and self._mark in chunk:
            self._left -= 1
            if self._left <= 0:
                self.seen.set()
                return Fate.HOLD
        return Fate.PASS


def test_a_batch_whose_answer_was_lost_is_found_by_the_same_request(rig: Rig) -> None:
    Workers(rig.client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)
    process, url = rig.api()

    def submit() -> httpx.Response:
        body = json.dumps({"items": [ITEM] * 3})
        headers = {"Idempotency-Key": "key-17", "Content-Type": "application/json"}
        return httpx.post(f"{url}/v1/batches", content=body, headers=headers, timeout=60)

    def attempt() -> None:
        with pytest.raises(httpx.TransportError):
            submit()

    # The record is written, the API has not heard of it.
    written = Held(Way.ANSWERED, b"$7\r\ncreated\r\n")
    rig.redis_proxy.rule = written
    lost = threading.Thread(target=attempt, daemon=True)
    lost.start()
    assert written.seen.wait(60)
    (uid,) = snapshot(rig.client).batches
    process.kill_all()
    lost.join(60)
    assert not lost.is_alive()

    rig.redis_proxy.rule = pass_on
    process, url = rig.api()
    again = submit()
    assert (again.status_code, again.json()["id"]) == (202, uid)
    assert again.headers["Idempotent-Replayed"] == "true"
    rig.worker(Queue.CHORES)
    batches = BatchStore(rig.client, rig.config)
    wait_for(lambda: batches.get("local", uid).loaded == 3, "every item to be a job")
    assert len(rig.audit().records) == 3
    assert {stat.key.split("/")[1] for stat in rig.objects.list("batches/")} == {uid}


@pytest.mark.parametrize(
    "way", [Way.ASKED, Way.ANSWERED], ids=["before its script ran", "after its script ran"]
)
def test_a_killed_chores_worker_leaves_no_item_out_and_makes_none_twice(rig: Rig, way: Way) -> None:
    batches = BatchStore(rig.client, rig.config)
    # A chunk of jobs as it is asked for, and the three numbers that loading one answers with.
    mark = b'"jobs":[' if way is Way.ASKED else b"*3\r\n:"
    loading = Held(way, mark, nth=4)
    rig.redis_proxy.rule = loading
    first = rig.worker(Queue.CHORES, **SHORT_LEASE)
    batch = new_batch(batches, rig.objects, ITEMS)
    assert loading.seen.wait(60)
    first.kill()
    rig.redis_proxy.cut_all()
    rig.redis_proxy.rule = pass_on
    left = batches.get("ann", batch.id).loaded
    assert 0 < left < ITEMS
    rig.worker(Queue.CHORES, **SHORT_LEASE)
    wait_for(lambda: batches.get("ann", batch.id).loaded == ITEMS, "the rest to be loaded")
    records = rig.audit().records.values()
    names = sorted(int(record["custom_id"].removeprefix("item ")) for record in records)
    assert names == list(range(ITEMS))


def test_a_chores_worker_killed_while_it_cancels_is_followed_by_another(rig: Rig) -> None:
    batches = BatchStore(rig.client, rig.config)
    batch = new_batch(batches, rig.objects, ITEMS)
    first = rig.worker(Queue.CHORES, **SHORT_LEASE)
    wait_for(lambda: batches.get("ann", batch.id).loaded == ITEMS, "every item to be a job")
    stopping = Held(Way.ASKED, b'"limit":50}', nth=4)
    rig.redis_proxy.rule = stopping
    batches.cancel("ann", batch.id)
    assert stopping.seen.wait(60)
    first.kill()
    rig.redis_proxy.cut_all()
    rig.redis_proxy.rule = pass_on
    assert 0 < batches.get("ann", batch.id).counts[Status.CANCELED] < ITEMS
    rig.worker(Queue.CHORES, **SHORT_LEASE)
    wait_for(lambda: batches.get("ann", batch.id).status.terminal, "the batch to be canceled")
    rig.audit()
    assert batches.get("ann", batch.id).counts[Status.CANCELED] == ITEMS
