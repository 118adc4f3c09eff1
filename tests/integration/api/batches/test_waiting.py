"""Requests that wait for a batch, and streams of its events."""

import threading
import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
import redis

from api.waiting.hub import PLACES, Hub
from shared.jobs.changes import Change
from shared.jobs.eta import Outlook
from shared.jobs.record import Job, Queue
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.settings import Settings
from tests.support.api import ApiServer, finish, start_painting
from tests.support.batch_requests import ITEMS, Post
from tests.support.batches import work_off
from tests.support.jobs import new_job
from tests.support.streams import Stream
from tests.support.waiters import Idler
from tests.support.waiting import wait_for
from worker.chores.batches import BatchWork


@pytest.fixture
def made(post: Post, work: BatchWork) -> Callable[[], dict[str, Any]]:
    """A batch whose jobs are made."""

    def made() -> dict[str, Any]:
        batch = post()
        work_off(work)
        return batch

    return made


def paint(store: JobStore, objects: ObjectStore) -> None:
    finish(store, objects, start_painting(store), b"picture", "0" * 64)


def test_a_stream_tells_of_each_item_that_ends_and_of_the_batch_until_it_has(
    server: ApiServer, made: Callable[[], dict[str, Any]], store: JobStore, objects: ObjectStore
) -> None:
    batch = made()
    path = f"/v1/batches/{batch['id']}/events"
    with Stream(server.url, path) as stream:
        first = stream.wait_for("batch")
        assert first.data["counts"]["total"] == len(ITEMS)
        paint(store, objects)
        item = stream.wait_for("item", status="succeeded")
        assert item.data["custom_id"] == "picture 0"
        assert item.data["id"].startswith("job_")
        stream.wait_for("batch", counts={**first.data["counts"], "queued": len(ITEMS) - 1, "succeeded": 1})
    paint(store, objects)
    with Stream(server.url, path, {"Last-Event-ID": str(item.id)}) as stream:
        assert stream.wait_for("item").data["custom_id"] == "picture 1"
        paint(store, objects)
        stream.wait_for("batch", status="completed")
        end = stream.wait_for("end")
        assert stream.ended.wait(30)
        items = [event.data["custom_id"] for event in stream.events if event.name == "item"]
        assert items == ["picture 1", "picture 2"]
        assert "gap" not in {event.name for event in stream.events}
    with Stream(server.url, path, {"Last-Event-ID": str(end.id)}) as stream:
        assert stream.status == 204
    with Stream(server.url, path) as stream:
        assert [event.name for event in (stream.wait_for("end") and stream.events)] == ["batch", "end"]


def test_how_a_batch_is_is_told_twice_a_second_at_most(
    server: ApiServer, made: Callable[[], dict[str, Any]], store: JobStore
) -> None:
    batch = made()
    with Stream(server.url, f"/v1/batches/{batch['id']}/events") as stream:
        stream.wait_for("batch")

        def told() -> int:
            return sum(event.name == "batch" for event in stream.events)

        began = time.monotonic()
        intake = store.claim(Queue.INTAKE, "intake")
        assert intake
        store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.1})
        while (elapsed := time.monotonic() - began) < 2 or told() < 2:
            assert elapsed < 30, "the stream tells nothing"
            claim = store.claim(Queue.PAINT, "painter", ["compact"])
            assert claim
            store.release(claim)  # there and back: two changes of the batch
        assert told() <= 2 + 2 * (time.monotonic() - began) + 1


def test_a_poll_of_a_batch_waits_until_it_has_ended_or_changed(
    server: ApiServer, made: Callable[[], dict[str, Any]], store: JobStore, objects: ObjectStore
) -> None:
    batch = made()
    url = f"{server.url}/v1/batches/{batch['id']}"
    answers: dict[str, httpx.Response] = {}

    def ask(name: str, **headers: str) -> threading.Thread:
        def get() -> None:
            answers[name] = httpx.get(url, headers={"Prefer": "wait=60", **headers}, timeout=90)

        thread = threading.Thread(target=get, daemon=True)
        thread.start()
        return thread

    etag = httpx.get(url, timeout=30).headers["ETag"]
    vain = httpx.get(url, timeout=30, headers={"Prefer": "wait=1", "If-None-Match": etag})
    assert (vain.status_code, vain.headers["Preference-Applied"]) == (304, "wait=1")
    ended = ask("ended")
    changed = ask("changed", **{"If-None-Match": etag})
    wait_for(lambda: server.held() == 2, "both polls to be held")
    paint(store, objects)
    changed.join(30)
    assert answers["changed"].status_code == 200
    assert answers["changed"].headers["ETag"] != etag
    assert ended.is_alive()
    for _ in range(len(ITEMS) - 1):
        paint(store, objects)
    ended.join(30)
    assert answers["ended"].json()["status"] == "completed"
    assert answers["ended"].headers["Connection"] == "close"


class Onlooker(Idler):
    """Counts the looks at its place."""

    looks = 0

    def moved(self, job: Job, outlook: Outlook | None) -> None:  # noqa: ARG002
        self.looks += 1


def test_batches_that_are_being_loaded_do_not_keep_jobs_from_hearing_of_their_place(
    settings: Settings, redis_client: redis.Redis, store: JobStore
) -> None:
    job = store.submit(new_job()).job
    hub = Hub(settings, redis_client, lambda _: None)
    hub.start()
    try:
        mine = Onlooker(job.uid, queued=True)
        hub.hold(mine)
        for number in range(PLACES):
            hub.hold(Onlooker(f"batch_{number}", queued=False))
        wait_for(lambda: mine.looks, "a first look at the job's place")
        items = [
            Change(f"{2**60}-{number}", f"job_{number}", 1, "queued", None, batch_id=f"batch_{number}")
            for number in range(PLACES)
        ]
        hub.post(lambda: hub.changed(items))
        before = mine.looks
        wait_for(lambda: mine.looks > before + 1, "further looks at the job's place")
    finally:
        hub.close()
