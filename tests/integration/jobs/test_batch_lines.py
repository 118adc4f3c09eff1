"""Lines of a batch that are gone or damaged: the batch ends and says why, and what was made of it goes on."""

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from shared.audit import Code, audit
from shared.errors import StorageUnavailable
from shared.jobs.batch_files import BatchFile, Kind, numbered
from shared.jobs.batch_record import Batch, BatchStatus, NewBatch
from shared.jobs.batches import BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Status
from shared.jobs.store import JobStore
from shared.objects.local import LocalObjects
from shared.settings import Settings
from tests.support.batches import chores, new_batch, work_off
from tests.support.waiting import wait_for
from worker.chores import batches as working

LINE = b'{"content": "https://example.org/a.jpg", "styles": ["https://example.org/b.jpg"]}'


class Flaky(LocalObjects):
    """A folder that can be away."""

    away = False

    def get(self, key: str) -> bytes:
        if self.away:
            raise StorageUnavailable("The object folder failed to read: it is away")
        return super().get(key)


class House:
    """Two stores, and chores that make jobs of a hundred lines a step."""

    def __init__(self, client: redis.Redis, config: Settings) -> None:
        self.client, self.config = client, config
        self.objects = Flaky(config.objects_dir)
        self.store, self.batches = JobStore(client, config), BatchStore(client, config)

    def begun(self, count: int = 150) -> Batch:
        """A batch of which a hundred items are jobs."""
        batch = new_batch(self.batches, self.objects, count)
        chores(self.client, self.config, self.objects).step()
        assert self.now(batch).loaded == 100
        return batch

    def now(self, batch: Batch) -> Batch:
        found = self.batches.by_uid(batch.uid)
        assert found
        return found

    def given_up(self, batch: Batch) -> Batch:
        """The batch, once chores have tried often enough."""
        work = chores(self.client, self.config, self.objects)

        def error() -> Batch | None:
            work.step()
            return now if (now := self.now(batch)).error else None

        return wait_for(error, "the batch to be given up")

    def findings(self, *, deep: bool = False) -> list[tuple[str, str]]:
        found = audit(self.client, self.objects, self.config, deep=deep, pause=lambda _: None)
        return [(finding.code, finding.subject) for finding in found if finding.code is Code.BATCH_LINES_LOST]


@pytest.fixture
def house(redis_client: redis.Redis, valkey: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(working, "TURN_SECONDS", 0.0)
    config = Settings(
        redis_url=valkey,
        redis_timeout=60,
        data_dir=tmp_path,
        retry_delay=0.01,
        lease_seconds=61,
        batch_lines_seconds=0.1,
    )
    return House(redis_client, config)


def items_of(batch: Batch) -> str:
    return f"batches/{batch.uid}/items/000000.ndjson"


def gone(house: House, key: str) -> None:
    house.objects.delete(key)


def cut_short(house: House, key: str) -> None:
    lines = house.objects.get(key).split(b"\n")
    house.objects.put(key, b"\n".join(lines[:120]) + b"\n", "")


def torn(house: House, key: str) -> None:
    house.objects.put(key, house.objects.get(key)[:-1000], "")


def one_letter_changed(house: House, key: str) -> None:
    data = house.objects.get(key)
    assert b"item 149" in data
    house.objects.put(key, data.replace(b"item 149", b"item 148"), "")


def emptied(house: House, key: str) -> None:
    house.objects.put(key, b"", "")


def glued_to_its_seal(house: House, key: str) -> None:
    house.objects.put(key, house.objects.get(key).replace(b"\n#sha256:", b"x#sha256:"), "")


DAMAGES = [gone, cut_short, torn, one_letter_changed, emptied, glued_to_its_seal]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_a_batch_whose_lines_are_lost_fails_once_its_jobs_have_ended(
    house: House, damage: Callable[[House, str], None]
) -> None:
    batch = house.begun()
    damage(house, items_of(batch))
    assert house.findings(deep=True) == [(Code.BATCH_LINES_LOST, batch.uid)]
    lost = house.given_up(batch)
    assert lost.error
    assert lost.error.code == "batch_lines_lost"
    assert "Send the items again" in lost.error.detail
    assert lost.status is BatchStatus.PROCESSING, "a hundred jobs have not ended"
    assert house.findings(deep=True) == [], "it is known, and nothing more is made of it"
    jobs = house.batches.items(batch.uid, limit=1000).jobs
    assert len(jobs) == 100
    for job in jobs:
        house.store.cancel("ann", job.id)
    ended = house.now(batch)
    assert (ended.status, ended.loaded, ended.error) == (BatchStatus.FAILED, 100, lost.error)
    assert ended.counts[Status.CANCELED] == 100
    work_off(chores(house.client, house.config, house.objects))
    assert house.store.get("ann", jobs[0].id).status is Status.CANCELED
    assert audited(house) == []


def audited(house: House) -> list[str]:
    found = audit(house.client, house.objects, house.config, pause=lambda _: None)
    return [f"{finding.code} {finding.subject}" for finding in found if finding.code != Code.NO_BELL]


def test_a_batch_of_which_nothing_was_made_fails_at_once(house: House) -> None:
    batch = new_batch(house.batches, house.objects, 3)
    gone(house, items_of(batch))
    assert house.given_up(batch).status is BatchStatus.FAILED


def test_lines_that_are_back_in_time_are_loaded(house: House) -> None:
    batch = house.begun()
    data = house.objects.get(items_of(batch))
    gone(house, items_of(batch))
    work = chores(house.client, house.config, house.objects)
    assert work.step()
    assert house.client.hget(Key.BATCH + batch.uid, "misses") == "1"
    house.objects.put(items_of(batch), data, "")
    wait_for(lambda: work.step() and house.now(batch).loaded == 150, "the rest to be loaded")
    assert house.client.hget(Key.BATCH + batch.uid, "misses") is None
    assert house.now(batch).error is None


def test_each_try_waits_twice_as_long_as_the_one_before_up_to_a_minute(
    house: House, redis_client: redis.Redis
) -> None:
    slow = House(
        redis_client, house.config.model_copy(update={"retry_delay": 20.0, "batch_lines_seconds": 600.0})
    )
    batch = slow.begun()
    gone(slow, items_of(batch))
    for seconds in (20, 40, 60, 60):
        redis_client.zadd(Key.BATCH_WORK, {batch.uid: 0})
        assert chores(redis_client, slow.config, slow.objects).step()
        score = redis_client.zscore(Key.BATCH_WORK, batch.uid)
        assert score
        assert seconds - 10 < score / 1000 - time.time() <= seconds + 1


@pytest.mark.parametrize("away", ["get", "check"])
def test_a_store_that_is_away_has_lost_nothing(
    house: House, away: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = house.begun()
    data = house.objects.get(items_of(batch))
    house.objects.away = True
    if away == "check":  # it says that there is no such object, and takes none
        monkeypatch.setattr(house.objects, "get", LocalObjects(house.config.data_dir / "another").get)
        monkeypatch.setattr(house.objects, "put", refuse)
    work = chores(house.client, house.config, house.objects)
    for _ in range(9):
        with pytest.raises(StorageUnavailable):
            work.step()
    assert house.now(batch).error is None
    monkeypatch.undo()
    monkeypatch.setattr(working, "TURN_SECONDS", 0.0)
    house.objects.away = False
    assert house.objects.get(items_of(batch)) == data
    wait_for(lambda: work.step() and house.now(batch).loaded == 150, "the rest to be loaded")


def test_a_folder_that_is_brought_back_in_time_has_lost_nothing(house: House) -> None:
    patient = house.config.model_copy(update={"batch_lines_seconds": 60.0})
    batch = house.begun()
    away = house.config.objects_dir.rename(house.config.data_dir / "unmounted")
    work = chores(house.client, patient, LocalObjects(house.config.objects_dir))
    tries = patient.max_attempts + 2

    def missed() -> bool:
        work.step()
        return int(house.client.hget(Key.BATCH + batch.uid, "misses") or 0) >= tries

    wait_for(missed, "more looks than would do without patience")
    assert house.now(batch).error is None
    shutil.rmtree(house.config.objects_dir)
    away.rename(house.config.objects_dir)
    wait_for(lambda: work.step() and house.now(batch).loaded == 150, "the rest to be loaded")
    assert house.client.hmget(Key.BATCH + batch.uid, "misses", "missed_at") == [None, None]


def refuse(*_: object) -> None:
    raise StorageUnavailable("The object folder failed to store: it is away")


def test_a_batch_without_its_lines_can_be_canceled(house: House) -> None:
    batch = house.begun()
    gone(house, items_of(batch))
    house.given_up(batch)
    house.batches.cancel("ann", batch.id)
    work = chores(house.client, house.config, house.objects)
    work_off(work)
    assert house.now(batch).status is BatchStatus.CANCELED


def unchecked(house: House, first: int = 2) -> Batch:
    """A batch whose three lines, the first of this number, are still to be checked."""
    new = NewBatch(f"batch_{time.time_ns()}", "ann", BatchStatus.VALIDATING, 3, {}, "hash")
    head = [numbered(1, b"{}")] if first > 1 else []
    BatchFile(house.objects, new.uid, Kind.HEAD).write(0, head)
    lines = [numbered(first + n, LINE) for n in range(3)]
    BatchFile(house.objects, new.uid, Kind.LINES).write(0, lines)
    return house.batches.create(new)[0]


@pytest.mark.parametrize("damage", [gone, emptied, glued_to_its_seal], ids=lambda damage: damage.__name__)
@pytest.mark.parametrize("kind", ["lines", "head"])
def test_a_batch_that_is_not_yet_checked_is_not_blamed_for_what_the_store_has_lost(
    house: House, kind: str, damage: Callable[[House, str], None]
) -> None:
    batch = unchecked(house)
    damage(house, f"batches/{batch.uid}/{kind}/000000.ndjson")
    failed = house.given_up(batch)
    assert (failed.status, failed.errors) == (BatchStatus.FAILED, ())


def test_a_damaged_line_is_no_fault_of_its_sender(house: House) -> None:
    batch = unchecked(house)
    key = f"batches/{batch.uid}/lines/000000.ndjson"
    house.objects.put(key, house.objects.get(key).replace(b"styles", b"stiles", 1), "")
    assert house.findings(deep=True) == [(Code.BATCH_LINES_LOST, batch.uid)]
    assert house.given_up(batch).errors == ()


def test_files_of_an_early_version_are_read_as_they_are(house: House) -> None:
    batch = new_batch(house.batches, house.objects, 3)
    lines = BatchFile(house.objects, batch.uid, Kind.ITEMS).read(0)
    house.objects.put(items_of(batch), b"".join(line + b"\n" for line in lines), "")
    chores(house.client, house.config, house.objects).step()
    assert house.now(batch).loaded == 3
    headless = unchecked(house, first=1)
    house.objects.delete(f"batches/{headless.uid}/head/000000.ndjson")
    house.objects.put(f"batches/{headless.uid}/lines/000000.ndjson", b"1\tx\n2\tx\n3\tx\n", "")
    work = chores(house.client, house.config, house.objects)
    wait_for(lambda: work.step() and house.now(headless).status.terminal, "it to be checked")
    assert [fault.line for fault in house.now(headless).errors] == [1, 2, 3]


@pytest.mark.parametrize("data", [b"not JSON\n" * 3, b"[]\n" * 3, b"{}\n" * 3])
def test_lines_without_a_seal_that_are_no_jobs_are_lost_too(house: House, data: bytes) -> None:
    batch = new_batch(house.batches, house.objects, 3)
    house.objects.put(items_of(batch), data, "")
    assert house.given_up(batch).status is BatchStatus.FAILED


def test_the_doctor_finds_a_part_that_is_gone_before_it_is_needed(house: House) -> None:
    batch = new_batch(house.batches, house.objects, 3)
    assert house.findings(deep=True) == []
    gone(house, items_of(batch))
    assert house.findings() == [(Code.BATCH_LINES_LOST, batch.uid)]
    house.batches.cancel("ann", batch.id)
    assert house.findings() == [], "it will not be read any more"
