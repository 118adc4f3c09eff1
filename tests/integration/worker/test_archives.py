"""The archive of a batch: real stores, real API, a worker that is killed while it builds one."""

import hashlib
import io
import json
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from shared.errors import StorageUnavailable
from shared.jobs.archives import PREFIX, ArchiveLostError, ArchiveStore
from shared.jobs.batch_record import Batch
from shared.jobs.batches import BatchStore
from shared.jobs.census import take_census
from shared.jobs.keys import Key
from shared.jobs.record import Output, Queue
from shared.jobs.store import JobStore
from shared.objects import open_objects
from shared.settings import Settings
from tests.support.api import ApiServer, checked_client
from tests.support.batches import chores, new_batch, work_off
from tests.support.jobs import claim_paint, clean, output
from tests.support.rig import SHORT_LEASE, Rig
from tests.support.s3 import S3Server
from tests.support.waiting import wait_for
from worker.chores import archives as building
from worker.chores.archive_names import FileNames
from worker.chores.archives import ArchiveWork

PICTURES = {"content": clean("bridge"), "styles": (clean("starry"),), "skip_intake": True}


class House:
    """Two stores, and workers' parts played by hand."""

    def __init__(self, client: redis.Redis, config: Settings) -> None:
        self.client, self.config = client, config
        self.objects = open_objects(config)
        self.store, self.batches = JobStore(client, config), BatchStore(client, config)
        self.archives = ArchiveStore(client, config)

    def builder(self) -> ArchiveWork:
        return ArchiveWork(self.archives, self.batches, self.objects)

    def ended(self, count: int, *, spoilt: int = 0, **changes: Any) -> Batch:
        """A batch whose items have been painted, but for the first few, which failed."""
        batch = new_batch(self.batches, self.objects, count, **{**PICTURES, **changes})
        work_off(chores(self.client, self.config, self.objects))
        self.paint(count, spoilt=spoilt)
        ended = self.batches.by_uid(batch.uid)
        assert ended
        assert ended.status.terminal
        return ended

    def paint(self, count: int, *, spoilt: int = 0) -> None:
        """Make something of so many jobs; the first few fail."""
        for number in range(count):
            claim = claim_paint(self.store)
            if number < spoilt:
                self.client.hset(Key.JOB + claim.job.uid, "cancel_requested", 1)
                self.store.canceled(claim)
                continue
            data = f"picture {claim.job.custom_id}".encode() * 99
            made = Output(output(claim).key, hashlib.sha256(data).hexdigest(), len(data), 64, 48, "image/png")
            self.objects.put(made.key, data, made.content_type)
            self.store.finish(claim, made, seconds={"paint": 1.0}, evaluations=3, loss={})

    def built(self, batch: Batch) -> bytes:
        """The archive, built now."""
        self.archives.want(batch)
        work = self.builder()
        while work.step():
            pass
        key = self.archives.want(batch).key
        assert key
        return self.objects.get(key)


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(redis_url=valkey, redis_timeout=60, data_dir=tmp_path, lease_seconds=61)


@pytest.fixture
def house(redis_client: redis.Redis, config: Settings) -> House:
    return House(redis_client, config)


def lines(archive: zipfile.ZipFile) -> list[dict[str, Any]]:
    return [json.loads(line) for line in archive.read("results.ndjson").splitlines()]


def check(data: bytes, batch: Batch, missing: int = 0) -> list[dict[str, Any]]:
    """Assert that an archive has what its list says; returns the list."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.testzip() is None
        listed = lines(archive)
        assert [line["index"] for line in listed] == list(range(batch.total))
        files = [line["file"] for line in listed if line["file"]]
        assert archive.namelist() == [*files, "results.ndjson"]
        assert len(files) == batch.total - missing
        for line in listed:
            if line["file"]:
                assert hashlib.sha256(archive.read(line["file"])).hexdigest() == line["sha256"]
    return listed


def test_an_archive_has_every_picture_and_says_what_became_of_each_item(house: House) -> None:
    batch = house.ended(300, spoilt=3)
    listed = check(house.built(batch), batch, missing=3)
    assert [line["status"] for line in listed].count("canceled") == 3
    assert listed[-1]["custom_id"] == "item 299"
    assert listed[-1]["file"] == FileNames().stem("item 299", 299) + ".png"
    archive = house.archives.want(batch)
    assert (archive.done, archive.total) == (300, 300)


def test_items_that_never_became_jobs_are_canceled_as_in_the_results(house: House) -> None:
    batch = new_batch(house.batches, house.objects, 3)
    house.batches.cancel("ann", batch.id)
    work_off(chores(house.client, house.config, house.objects))
    ended = house.batches.get("ann", batch.id)
    listed = check(house.built(ended), ended, missing=3)
    assert [(line["custom_id"], line["status"]) for line in listed] == [
        (f"item {index}", "canceled") for index in range(3)
    ]


def test_items_that_share_a_picture_have_it_each_under_their_own_name(house: House) -> None:
    batch = new_batch(house.batches, house.objects, 5, fresh=False, **PICTURES)
    work_off(chores(house.client, house.config, house.objects))
    claim = claim_paint(house.store)
    made = Output(output(claim).key, hashlib.sha256(b"one").hexdigest(), 3, 64, 48, "image/png")
    house.objects.put(made.key, b"one", made.content_type)
    house.store.finish(claim, made, seconds={}, evaluations=3, loss={})
    ended = house.batches.by_uid(batch.uid)
    assert ended
    assert ended.status == "completed", "all of them have succeeded with the first"
    check(house.built(ended), ended)


def test_items_whose_names_differ_in_case_only_have_two_files_everywhere(house: House) -> None:
    names = ("sea", "Sea", "SEA", "sky")
    batch = new_batch(
        house.batches, house.objects, 4, each=lambda index: {"custom_id": names[index]}, **PICTURES
    )
    work_off(chores(house.client, house.config, house.objects))
    house.paint(4)
    ended = house.batches.by_uid(batch.uid)
    assert ended
    listed = check(house.built(ended), ended)
    files = [line["file"] for line in listed]
    assert (files[0], files[3]) == ("sea.png", "sky.png")
    assert len({name.casefold() for name in files}) == 4


def test_an_archive_on_s3_is_the_same(
    redis_client: redis.Redis, s3: S3Server, config: Settings, tmp_path: Path
) -> None:
    settings = s3.settings(tmp_path, redis_url=config.redis_url, redis_timeout=60, lease_seconds=61)
    house = House(redis_client, settings)
    batch = house.ended(20)
    check(house.built(batch), batch)


def test_pictures_that_are_gone_or_damaged_are_left_out_and_named(house: House) -> None:
    batch = house.ended(6)
    items = house.batches.stretch(batch.uid, 0, 6)
    gone, damaged, purged = (items[n].job for n in (0, 2, 4))
    assert gone.output
    assert damaged.output
    house.objects.delete(gone.output.key)
    house.objects.put(damaged.output.key, b"damaged", "image/png")
    house.store.purge("ann", purged.id)
    listed = check(house.built(batch), batch, missing=3)
    assert [line["status"] for line in listed] == ["succeeded"] * 4 + [None, "succeeded"]
    assert listed[4]["custom_id"] == "item 4"


def test_whoever_lost_its_archive_publishes_nothing(house: House) -> None:
    batch = house.ended(200)
    house.archives.want(batch)
    slow, quick = house.builder(), house.builder()
    assert slow.step()
    house.client.zadd(Key.ARCHIVE_WORK, {batch.uid: 0})  # its lease has run out
    while quick.step():
        pass
    key = house.archives.want(batch).key
    while slow.step():
        pass
    assert house.archives.want(batch).key == key
    assert [stat.key for stat in house.objects.list(PREFIX)] == [key]
    assert list((house.config.objects_dir / ".incoming").iterdir()) == []


def test_whoever_loses_it_at_the_last_moment_takes_back_what_it_stored(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = house.ended(3)
    house.archives.want(batch)

    def lost(*_: object) -> None:
        raise ArchiveLostError(batch.uid)

    monkeypatch.setattr(ArchiveStore, "finish", lost)
    house.builder().step()
    assert list(house.objects.list(PREFIX)) == []


def test_a_slow_builder_keeps_its_claim_within_a_stretch(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = house.ended(40)
    house.archives.want(batch)
    renewed = []
    monkeypatch.setattr(ArchiveStore, "renew", lambda _, claim, done: renewed.append((claim, done)))
    builder = house.builder()
    monkeypatch.setattr(builder._archives, "renew_seconds", 0.0)
    work_off(builder)
    assert [done for _, done in renewed[:5]] == [0, 8, 16, 24, 32]
    assert house.archives.want(batch).key


def test_a_worker_that_leaves_gives_its_archive_back_at_once(house: House) -> None:
    batch = house.ended(200)
    house.archives.want(batch)
    work = house.builder()
    assert work.step()
    assert house.archives.want(batch).done == building.STRETCH
    work.finish()
    assert house.archives.want(batch).done == 0
    check(house.built(batch), batch)


def test_an_archive_expires_and_is_built_anew(redis_client: redis.Redis, config: Settings) -> None:
    house = House(redis_client, config.model_copy(update={"archive_seconds": 0.05}))
    batch = house.ended(3)
    house.archives.want(batch)
    work = house.builder()
    assert work.step()
    [first] = house.objects.list(PREFIX)
    wait_for(work.step, "the archive to be over")
    assert list(house.objects.list(PREFIX)) == []
    assert house.archives.want(batch).key is None
    assert work.step()
    [second] = house.objects.list(PREFIX)
    assert second.key != first.key


def test_an_archive_goes_with_its_batch(house: House) -> None:
    batch = house.ended(3)
    house.built(batch)
    house.batches.delete("ann", batch.id)
    work_off(chores(house.client, house.config, house.objects))
    work = house.builder()
    while work.step():
        pass
    assert list(house.objects.list(PREFIX)) == []
    assert house.client.keys("im:archive*") == []


def test_what_a_builder_stored_and_never_published_is_swept(house: House) -> None:
    batch = house.ended(1)
    house.built(batch)
    orphan = f"{PREFIX}{batch.uid}/0.zip"
    house.objects.put(orphan, b"x", "application/zip")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(building, "ORPHAN_SECONDS", -60.0)
        house.builder().step()
    assert [stat.key for stat in house.objects.list(PREFIX)] == [house.archives.want(batch).key]


def test_archives_are_counted_and_timed(house: House) -> None:
    first, second = house.ended(70), house.ended(1)
    house.archives.want(first)
    house.archives.want(second)
    house.client.hincrby(Key.ARCHIVE + first.uid, "wanted_at", -100_000)
    census = take_census(house.client)
    assert (census.archives, census.of("archive")) == ({"waiting": 2, "building": 0, "ready": 0}, {})
    assert 100 <= census.archives_age < 1000
    work = house.builder()
    assert work.step()
    assert take_census(house.client).archives == {"waiting": 1, "building": 1, "ready": 0}
    work.finish()
    house.built(second)
    census = take_census(house.client)
    assert census.archives == {"waiting": 0, "building": 0, "ready": 2}
    assert census.archives_age == 0
    assert census.of("archive") == {"built": 2}, "a worker that has to leave has failed in nothing"
    assert census.timings["archive"].buckets[-1][1] == 2


def test_builds_in_vain_are_counted(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = house.ended(70)
    house.archives.want(batch)
    assert house.archives.claim(), "whoever begins here is never heard of again"
    house.client.zadd(Key.ARCHIVE_WORK, {batch.uid: 0})
    work = house.builder()
    assert work.step()
    assert take_census(house.client).of("archive") == {"failed": 1}
    with monkeypatch.context() as patch:
        patch.setattr(house.objects, "get", away)
        with pytest.raises(StorageUnavailable):
            work.step()
    assert take_census(house.client).of("archive") == {"failed": 2}
    check(house.built(batch), batch)


def away(*_: object) -> None:
    raise StorageUnavailable("The object folder failed to read: it is away")


# Over HTTP.


@pytest.fixture
def http(house: House) -> Iterator[httpx.Client]:
    data, url = house.config.data_dir, house.config.redis_url
    with ApiServer(data, url) as server, checked_client(server.url) as client:
        yield client


def local(house: House, count: int) -> Batch:
    return house.ended(count, owner="local")


def test_the_first_request_has_it_built_and_a_later_one_gets_it(house: House, http: httpx.Client) -> None:
    batch = local(house, 70)
    address = f"/v1/batches/{batch.id}/archive.zip"
    first = http.get(address)
    assert first.status_code == 202
    assert first.json() == {"status": "building", "done": 0, "total": 70}
    assert int(first.headers["Retry-After"]) >= 1
    work = house.builder()
    assert work.step()
    assert http.get(address).json()["done"] == building.STRETCH
    while work.step():
        pass
    answer = http.get(address)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/zip"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{batch.id}.zip"'
    check(answer.content, batch)
    again = http.get(address, headers={"If-None-Match": answer.headers["ETag"]})
    assert again.status_code == 304


def test_a_download_that_broke_off_goes_on_to_the_same_bytes(house: House, http: httpx.Client) -> None:
    batch = local(house, 40)
    whole = house.built(batch)
    address = f"/v1/batches/{batch.id}/archive.zip"
    with http.stream("GET", address) as broken:
        tag = broken.headers["ETag"]
        assert broken.headers["Accept-Ranges"] == "bytes"
        assert int(broken.headers["Content-Length"]) == len(whole)
    have = whole[:12_345]
    rest = http.get(address, headers={"Range": f"bytes={len(have)}-", "If-Range": tag})
    assert rest.status_code == 206
    assert rest.headers["Content-Range"] == f"bytes {len(have)}-{len(whole) - 1}/{len(whole)}"
    assert have + rest.content == whole
    assert http.get(address, headers={"Range": "bytes=5-9"}).content == whole[5:10]
    assert http.get(address, headers={"Range": "bytes=-7"}).content == whole[-7:]
    other = http.get(address, headers={"Range": "bytes=5-9", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, whole)
    weak = http.get(address, headers={"Range": "bytes=5-9", "If-Range": f"W/{tag}"})
    assert (weak.status_code, weak.content) == (200, whole)
    assert http.get(address, headers={"Range": "bytes=5-9", "If-None-Match": tag}).status_code == 304
    refused = http.get(address, headers={"If-Match": '"another"'})
    assert (refused.status_code, refused.json()["code"]) == (412, "precondition_failed")
    head = httpx.head(f"{http.base_url}{address}", headers={"Range": "bytes=5-9"}, timeout=60)
    assert (head.status_code, head.headers["Content-Length"]) == (200, str(len(whole)))
    beyond = http.get(address, headers={"Range": f"bytes={len(whole)}-"})
    assert beyond.status_code == 416
    assert beyond.headers["Content-Range"] == f"bytes */{len(whole)}"


@pytest.mark.parametrize("kept", [None, b"half"])
def test_an_archive_that_the_store_has_lost_is_built_anew_for_whoever_asks(
    house: House, http: httpx.Client, kept: bytes | None
) -> None:
    batch = local(house, 3)
    house.built(batch)
    key = house.archives.want(batch).key
    assert key
    house.objects.delete(key)
    if kept is not None:
        house.objects.put(key, kept, "application/zip")
    address = f"/v1/batches/{batch.id}/archive.zip"
    assert http.get(address).status_code == 202
    assert http.get(address).json() == {"status": "building", "done": 0, "total": 3}
    check(house.built(batch), batch)
    answer = http.get(address, headers={"Range": "bytes=4-"})
    assert (answer.status_code, len(answer.content)) == (206, house.archives.want(batch).size - 4)


def test_there_is_no_archive_of_what_is_not_there_or_has_not_ended(house: House, http: httpx.Client) -> None:
    assert http.get("/v1/batches/batch_none/archive.zip").status_code == 404
    others = house.ended(1, owner="bob")
    assert http.get(f"/v1/batches/{others.id}/archive.zip").status_code == 404
    waiting = new_batch(house.batches, house.objects, 2, owner="local", **PICTURES)
    answer = http.get(f"/v1/batches/{waiting.id}/archive.zip")
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert house.client.keys("im:archive*") == []


def test_on_s3_the_address_is_answered(
    redis_client: redis.Redis, s3: S3Server, config: Settings, tmp_path: Path
) -> None:
    settings = s3.settings(tmp_path, redis_url=config.redis_url, redis_timeout=60, lease_seconds=61)
    house = House(redis_client, settings)
    batch = local(house, 3)
    whole = house.built(batch)
    given = {
        "storage": "s3",
        "s3_endpoint": s3.endpoint,
        "s3_bucket": settings.s3_bucket,
        "s3_region": s3.region,
        "s3_access_key": s3.access_key,
        "s3_secret_key": s3.secret_key,
    }
    with ApiServer(tmp_path, config.redis_url, **given) as server, checked_client(server.url) as http:
        answer = http.get(f"/v1/batches/{batch.id}/archive.zip")
        assert answer.status_code == 302
        assert answer.headers["Cache-Control"] == "no-store"
    got = httpx.get(answer.headers["Location"], headers={"Range": "bytes=10-"}, timeout=60)
    assert whole[:10] + got.content == whole


def test_a_chores_worker_that_is_killed_while_it_builds_is_followed_by_another(tmp_path: Path) -> None:
    with Rig(tmp_path, storage="local", **SHORT_LEASE) as rig:
        house = House(rig.client, rig.config)
        batch = house.ended(200)
        [item] = house.batches.stretch(batch.uid, 150, 1)
        assert item.job.output
        picture, aside = rig.config.objects_dir / item.job.output.key, tmp_path / "aside"
        picture.rename(aside)
        os.mkfifo(picture)  # whoever reads it hangs
        first = rig.worker(Queue.CHORES)
        house.archives.want(batch)
        wait_for(lambda: house.archives.want(batch).done, "some of it to be built")
        first.kill()
        aside.replace(picture)
        left = house.archives.want(batch)
        rig.worker(Queue.CHORES)
        ready = wait_for(
            lambda: found if (found := house.archives.want(batch)).key else None, "the archive", 120
        )
        assert left.key is None, "it was killed too late for this test"
        assert ready.key
        check(house.objects.get(ready.key), batch)
        assert [stat.key for stat in house.objects.list(PREFIX)] == [ready.key]
