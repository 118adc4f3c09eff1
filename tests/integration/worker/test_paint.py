"""The paint worker on a real store, a folder of objects and the real engine: batches, and what befalls whom.

Where a test needs memory to run out or a picture to diverge, it spoils the real engine's answer.
"""

import hashlib
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import redis
import torch

from shared.backbones import BACKBONES
from shared.errors import StorageUnavailable
from shared.jobs.keys import Key
from shared.jobs.pictures import Picture
from shared.jobs.record import Checkpoint as Pointer
from shared.jobs.record import Job, Queue
from shared.jobs.store import JobStore
from shared.objects import open_objects
from shared.objects.local import LocalObjects
from shared.settings import Settings
from shared.spec import Spec, resolve
from tests.integration.service.support import picture
from tests.support.audit import audit
from tests.support.jobs import claim_paint, new_job, sha256
from tests.support.waiting import wait_for
from worker import paint, tries
from worker.engine import Checkpoint, DivergedError, Engine, Outcome, Progress, memory
from worker.engine.contract import Request
from worker.paint import Painter

SMALL = {"size": 32, "steps": 4, "pyramid": 1}
LONG = {"size": 48, "steps": 120, "pyramid": 1}
NAME = "paint-1"

Results = list[Outcome | Exception]
Submit = Callable[..., Job]
Painters = Callable[..., Painter]


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, data_dir=tmp_path, redis_timeout=20, bells=1)


@pytest.fixture
def store(redis_client: redis.Redis, config: Settings) -> JobStore:
    redis_client.rpush(Queue.PAINT, "bell")  # enough: nobody here answers more
    return JobStore(redis_client, config)


@pytest.fixture
def objects(config: Settings) -> LocalObjects:
    return open_objects(config)


@pytest.fixture
def submit(store: JobStore, objects: LocalObjects) -> Submit:
    """Submits a job of small pictures, the content's hue being its own."""

    def put(hue: int) -> Picture:
        key = f"inputs/{sha256(f'hue {hue}')}"
        objects.put(key, picture(48, 32, hue), "image/png")
        return Picture(f"hue {hue}", key=key, sha256=sha256(f"hue {hue}"), width=48, height=32)

    def submit(hue: int, spec: dict[str, Any] = SMALL, **changes: Any) -> Job:
        resolved = resolve(spec, BACKBONES["compact"])
        job = new_job(spec=resolved, content=put(hue), styles=(put(200),), skip_intake=True, **changes)
        return store.submit(job).job

    return submit


@pytest.fixture
def painter(store: JobStore, objects: LocalObjects, config: Settings) -> Painters:
    """Makes painters with the real engine, or a broken one."""

    def make(
        engine: Engine | None = None, draining: threading.Event | None = None, **settings: Any
    ) -> Painter:
        mine = config.model_copy(update=settings)
        return Painter(store, objects, engine or Engine(), mine, NAME, draining or threading.Event())

    return make


@contextmanager
def at_work(painter: Painter) -> Iterator[None]:
    """The painter answers one bell meanwhile; it is done at the end of the block."""
    thread = threading.Thread(target=painter.work)
    thread.start()
    try:
        yield
    finally:
        thread.join()


def now(store: JobStore, job: Job) -> Job:
    found = store.by_uid(job.uid)
    assert found is not None
    return found


def painting(store: JobStore, job: Job) -> Callable[[], bool]:
    return lambda: now(store, job).progress is not None


def lose(store: JobStore, redis_client: redis.Redis, job: Job) -> None:
    """Let the reaper take a job's lease away; a beat may come between, so again until it has."""

    def lost() -> bool:
        redis_client.zadd(Key.LEASES, {job.uid: 0})
        return store.reap().requeued == 1

    wait_for(lost, "the lease to be lost")


def wait_for_none(objects: LocalObjects, prefix: str) -> None:
    """What came too late to count is taken away in threads of its own, for which nobody waits."""
    wait_for(lambda: not list(objects.list(prefix)), f"nothing to be left in {prefix}")


class Broken(Engine):
    """The real engine, whose answers to batches a test spoils."""

    def __init__(self, spoil: Callable[[Sequence[Request], Results], None]) -> None:
        super().__init__()
        self.asked: list[int] = []
        self._spoil = spoil

    def stylize_batch(self, requests: Sequence[Request]) -> Results:
        self.asked.append(len(requests))
        results = super().stylize_batch(requests)
        self._spoil(requests, results)
        return results


class Full(Engine):
    """The real engine on a device without room for a network."""

    def capacity(self, spec: Spec, height: int, width: int) -> int:  # noqa: ARG002
        raise torch.OutOfMemoryError("no room")

    def stylize_batch(self, requests: Sequence[Request]) -> Results:  # noqa: ARG002
        raise torch.OutOfMemoryError("no room")


class Paced(Engine):
    """The real engine, which takes its time until a test has done what it wants to do meanwhile."""

    def __init__(self) -> None:
        super().__init__()
        self.hurry = threading.Event()

    def stylize_batch(self, requests: Sequence[Request]) -> Results:
        return super().stylize_batch(
            [replace(request, on_progress=self._paced(request)) for request in requests]
        )

    def _paced(self, request: Request) -> Callable[[Progress], None]:
        def on_progress(progress: Progress) -> None:
            assert request.on_progress is not None
            request.on_progress(progress)
            self.hurry.wait(0.1)

        return on_progress


def test_jobs_that_are_alike_are_painted_together_and_each_gets_its_own_picture(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects, redis_client: redis.Redis
):
    alike = [submit(hue, {**SMALL, "seed": hue}, owner=f"owner-{hue}") for hue in range(3)]
    other = submit(7, {**SMALL, "size": 40})
    paint = painter()

    assert paint.work()
    assert [now(store, job).status for job in alike] == ["succeeded"] * 3
    assert now(store, other).status == "queued"
    assert paint.work()
    assert not paint.work()

    ended = [now(store, job) for job in (*alike, other)]
    assert [job.batch for job in ended] == [3, 3, 3, 1]
    assert [job.output.width for job in ended] == [32, 32, 32, 40]
    assert len({job.output.sha256 for job in ended}) == 4
    for job in ended:
        assert hashlib.sha256(objects.get(job.output.key)).hexdigest() == job.output.sha256
        assert job.evaluations == SMALL["steps"]
    audit(redis_client)


@pytest.mark.parametrize(("limit", "batches"), [(1, [1, 1, 1]), (2, [2, 2, 1])])
def test_no_more_are_painted_together_than_the_setting_says(
    submit: Submit, store: JobStore, painter: Painters, limit: int, batches: list[int]
):
    jobs = [submit(hue) for hue in range(3)]
    painting = painter(batch=limit)
    while painting.work():
        pass

    assert [now(store, job).batch for job in jobs] == batches


def test_no_more_decoded_pictures_are_held_at_once_than_memory_is_free_for(
    submit: Submit, store: JobStore, painter: Painters, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [submit(hue) for hue in range(3)]
    content_and_style = 2 * 48 * 32 * 3 * 4
    free = 2**30
    monkeypatch.setattr(memory, "free", lambda _: free)
    monkeypatch.setattr(paint, "INPUTS_SHARE", 1.5 * content_and_style / free)
    painter().work()

    assert [now(store, job).batch for job in jobs] == [2, 2, 1]


def test_one_that_is_canceled_ends_while_the_others_are_painted(
    submit: Submit, store: JobStore, painter: Painters
):
    first, canceled, last = (submit(hue, LONG) for hue in range(3))
    engine = Paced()
    with at_work(painter(engine)):
        wait_for(painting(store, first), "painting to begin")
        store.cancel(canceled.owner, canceled.id)
        wait_for(lambda: now(store, canceled).status == "canceled", "the cancel to be heard")
        assert [now(store, job).status for job in (first, last)] == ["processing"] * 2
        engine.hurry.set()

    assert [now(store, job).status for job in (first, canceled, last)] == [
        "succeeded",
        "canceled",
        "succeeded",
    ]


def test_one_whose_picture_is_gone_fails_alone(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects, redis_client: redis.Redis
):
    first, broken, last = (submit(hue) for hue in range(3))
    objects.delete(broken.content.key)
    painter().work()

    assert [now(store, job).status for job in (first, last)] == ["succeeded"] * 2
    assert [now(store, job).batch for job in (first, last)] == [2, 2]
    assert now(store, broken).attempt_errors[-1].code == "internal"
    audit(redis_client)


def test_one_that_diverges_fails_alone(submit: Submit, store: JobStore, painter: Painters):
    def spoil(_: Sequence[Request], results: Results) -> None:
        results[1] = DivergedError("rose without end")

    first, diverging, last = (submit(hue) for hue in range(3))
    painter(Broken(spoil)).work()

    assert [now(store, job).status for job in (first, diverging, last)] == [
        "succeeded",
        "failed",
        "succeeded",
    ]
    assert now(store, diverging).error.code == "painting_diverged"


def test_a_batch_that_outgrows_memory_is_painted_one_after_another(
    submit: Submit, store: JobStore, painter: Painters
):
    def spoil(requests: Sequence[Request], _: Results) -> None:
        if len(requests) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")

    jobs = [submit(hue) for hue in range(3)]
    engine = Broken(spoil)
    painter(engine).work()

    assert [(now(store, job).status, now(store, job).batch) for job in jobs] == [("succeeded", 1)] * 3
    assert engine.asked == [3, 1, 1, 1]


def test_one_that_outgrows_memory_in_company_is_painted_again_alone(
    submit: Submit, store: JobStore, painter: Painters
):
    def spoil(requests: Sequence[Request], results: Results) -> None:
        if len(requests) > 1:
            results[1] = torch.OutOfMemoryError("CUDA out of memory")

    jobs = [submit(hue) for hue in range(3)]
    engine = Broken(spoil)
    painter(engine).work()

    assert [(now(store, job).status, now(store, job).batch) for job in jobs] == [
        ("succeeded", 3),
        ("succeeded", 1),
        ("succeeded", 3),
    ]
    assert engine.asked == [3, 1]


def test_one_that_outgrows_memory_alone_fails(submit: Submit, store: JobStore, painter: Painters):
    def spoil(requests: Sequence[Request], results: Results) -> None:
        results[:] = [torch.OutOfMemoryError("CUDA out of memory")] * len(requests)

    jobs = [submit(hue) for hue in range(2)]
    engine = Broken(spoil)
    painter(engine).work()

    assert [now(store, job).error.code for job in jobs] == ["out_of_memory"] * 2
    assert engine.asked == [2, 1, 1]


def test_a_checkpoint_of_no_use_costs_its_own_job_only(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects
):
    alien, lost = (submit(hue) for hue in range(2))
    for claim in [claim_paint(store) for _ in (alien, lost)]:
        store.checkpoint(claim, Pointer(f"checkpoints/{claim.job.uid}/{claim.fence}-1", 2))
        store.release(claim)
    checkpoint = Checkpoint("another painting", step=2, level=0, image=torch.zeros(3, 21, 32))
    objects.put(now(store, alien).checkpoint.key, checkpoint.to_bytes(), "application/octet-stream")
    engine = Broken(lambda *_: None)
    painter(engine).work()

    assert [now(store, job).status for job in (alien, lost)] == ["succeeded"] * 2
    assert [now(store, job).evaluations for job in (alien, lost)] == [SMALL["steps"]] * 2
    assert engine.asked == [1, 1, 1], "what goes on from another step is not painted together"
    wait_for_none(objects, "checkpoints/")


def test_one_whose_lease_is_lost_publishes_nothing(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects, redis_client: redis.Redis
):
    first, lost, last = (submit(hue, LONG) for hue in range(3))
    engine = Paced()
    paint = painter(engine)
    with at_work(paint):
        wait_for(painting(store, first), "painting to begin")
        lose(store, redis_client, lost)
        engine.hurry.set()

    assert [now(store, job).status for job in (first, lost, last)] == ["succeeded", "queued", "succeeded"]
    wait_for_none(objects, f"outputs/{lost.uid}")
    paint.work()
    assert (now(store, lost).status, now(store, lost).attempt) == ("succeeded", 1)
    only = [now(store, lost).output.key]
    wait_for(
        lambda: [stat.key for stat in objects.list(f"outputs/{lost.uid}")] == only, "one result to be left"
    )
    audit(redis_client)


def test_a_result_whose_lease_is_lost_once_it_is_stored_is_taken_away(
    submit: Submit,
    store: JobStore,
    painter: Painters,
    objects: LocalObjects,
    monkeypatch: pytest.MonkeyPatch,
    redis_client: redis.Redis,
):
    job = submit(0)
    get = objects.get

    def read_back(key: str) -> bytes:
        found = get(key)
        if key.startswith("outputs/"):
            lose(store, redis_client, job)
        return found

    monkeypatch.setattr(objects, "get", read_back)
    painter().work()

    assert (now(store, job).status, now(store, job).output) == ("queued", None)
    wait_for_none(objects, "outputs/")
    audit(redis_client)


def test_a_worker_that_is_told_to_leave_puts_all_of_them_back_uncharged(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects, redis_client: redis.Redis
):
    jobs = [submit(hue, LONG) for hue in range(3)]
    draining = threading.Event()
    with at_work(painter(Paced(), draining)):
        wait_for(painting(store, jobs[0]), "painting to begin")
        draining.set()

    for job in jobs:
        back = now(store, job)
        assert (back.status, back.attempt) == ("queued", 0)
        assert Checkpoint.from_bytes(objects.get(back.checkpoint.key)).step == back.checkpoint.step
    assert now(store, jobs[0]).checkpoint.step > 0
    audit(redis_client)

    paint = painter()
    while paint.work():
        pass
    assert [(now(store, job).status, now(store, job).attempt) for job in jobs] == [("succeeded", 1)] * 3
    wait_for_none(objects, "checkpoints/")


def test_one_whose_result_cannot_be_stored_is_tried_again_alone(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects, monkeypatch: pytest.MonkeyPatch
):
    first, unstored, last = (submit(hue) for hue in range(3))
    put = objects.put

    def full(key: str, data: bytes, content_type: str) -> None:
        if key.startswith(f"outputs/{unstored.uid}"):
            raise StorageUnavailable("no space left")
        put(key, data, content_type)

    monkeypatch.setattr(objects, "put", full)
    # Patience ends with the first try that fails, and not before.
    monkeypatch.setattr(tries, "PAUSES", (100.0,))
    painter(store_seconds=60).work()

    assert [now(store, job).status for job in (first, unstored, last)] == ["succeeded", "queued", "succeeded"]
    assert now(store, unstored).attempt_errors[-1].code == "storage_unavailable"


def test_one_whose_result_cannot_be_stored_yet_holds_back_no_other(
    submit: Submit, store: JobStore, painter: Painters, objects: LocalObjects, monkeypatch: pytest.MonkeyPatch
):
    first, unstored, last = (submit(hue) for hue in range(3))
    put, room = objects.put, threading.Event()

    def full(key: str, data: bytes, content_type: str) -> None:
        if key.startswith(f"outputs/{unstored.uid}") and not room.is_set():
            raise StorageUnavailable("no space left")
        put(key, data, content_type)

    monkeypatch.setattr(objects, "put", full)
    engine = Broken(lambda *_: None)
    with at_work(painter(engine)):
        for job in (first, last):
            wait_for(lambda job=job: now(store, job).status == "succeeded", "the others to succeed")
        assert now(store, unstored).status == "processing"
        room.set()

    assert (now(store, unstored).status, now(store, unstored).attempt) == ("succeeded", 1)
    assert engine.asked == [3], "nothing was painted twice"


def test_a_worker_told_to_leave_while_it_reads_pictures_reads_no_more_of_them(
    submit: Submit,
    store: JobStore,
    painter: Painters,
    objects: LocalObjects,
    monkeypatch: pytest.MonkeyPatch,
    redis_client: redis.Redis,
):
    jobs = [submit(hue) for hue in range(3)]
    get, draining, read = objects.get, threading.Event(), []

    def telling(key: str) -> bytes:
        read.append(key)
        draining.set()
        return get(key)

    monkeypatch.setattr(objects, "get", telling)
    engine = Broken(lambda *_: None)
    painter(engine, draining).work()

    assert [(now(store, job).status, now(store, job).attempt) for job in jobs] == [("queued", 0)] * 3
    assert len(read) == 1
    assert engine.asked == []
    audit(redis_client)


def test_a_job_whose_last_evaluation_ends_after_the_word_to_leave_is_finished(
    submit: Submit, store: JobStore, painter: Painters
):
    job, draining = submit(0), threading.Event()

    class Last(Engine):
        def stylize_batch(self, requests: Sequence[Request]) -> Results:
            def on_progress(progress: Progress) -> None:
                if progress.step == progress.steps:
                    draining.set()

            return super().stylize_batch([replace(request, on_progress=on_progress) for request in requests])

    painter(Last(), draining).work()

    assert (now(store, job).status, now(store, job).attempt) == ("succeeded", 1)


def test_a_device_without_room_for_the_network_fails_the_job_and_spares_the_worker(
    submit: Submit, store: JobStore, painter: Painters
) -> None:
    job = submit(0)
    assert painter(Full()).work()
    ended = now(store, job)
    assert ended.error is not None
    assert (ended.status, ended.error.code) == ("failed", "out_of_memory")
