"""Archives on an S3 server that are larger than one part: sent in parts, resumed by range, left half-way."""

import hashlib
import io
import random
import zipfile
from pathlib import Path

import httpx
import pytest
import redis

from shared.jobs.archives import PREFIX, ArchiveStore
from shared.jobs.batch_record import Batch
from shared.jobs.batches import BatchStore
from shared.jobs.keys import Key
from shared.jobs.record import Output, Queue
from shared.jobs.store import JobStore
from shared.objects import ObjectStore
from shared.objects.parts import PART_BYTES
from shared.objects.s3 import S3Objects
from shared.settings import Settings
from tests.support.batches import chores, new_batch, work_off
from tests.support.jobs import claim_paint, clean, output
from tests.support.proxy import pass_on
from tests.support.rig import SHORT_LEASE, Rig
from tests.support.s3 import S3Server
from tests.support.s3_faults import Holding
from tests.support.waiting import wait_for
from worker.chores import archives as building
from worker.chores.archives import ArchiveWork

#: Bytes of a picture: those of one step of a builder fill a part.
PICTURE = PART_BYTES // building.STRETCH + 30_000
DATA = random.Random(7).randbytes(PICTURE)


class House:
    """A store on S3, and workers' parts played by hand."""

    def __init__(self, client: redis.Redis, config: Settings) -> None:
        self.client, self.config = client, config
        self.objects = S3Objects(config)
        self.batches, self.archives = BatchStore(client, config), ArchiveStore(client, config)

    def ended(self, count: int, content: str = "bridge") -> Batch:
        """A batch whose items all have the one picture of a content, and whose archive is wanted."""
        batch = new_batch(
            self.batches,
            self.objects,
            count,
            fresh=False,
            skip_intake=True,
            content=clean(content),
            styles=(clean("starry"),),
        )
        work_off(chores(self.client, self.config, self.objects))
        store = JobStore(self.client, self.config)
        claim = claim_paint(store)
        made = Output(output(claim).key, hashlib.sha256(DATA).hexdigest(), PICTURE, 64, 48, "image/png")
        self.objects.put(made.key, DATA, made.content_type)
        store.finish(claim, made, seconds={}, evaluations=3, loss={})

        def ended_by_now() -> Batch | None:
            store.reap()
            return found if (found := self.now(batch)).status.terminal else None

        ended = wait_for(ended_by_now, "every item to have the picture")
        self.archives.want(ended)
        return ended

    def now(self, batch: Batch) -> Batch:
        found = self.batches.by_uid(batch.uid)
        assert found
        return found

    def builder(self) -> ArchiveWork:
        return ArchiveWork(self.archives, self.batches, self.objects)

    @property
    def unfinished(self) -> list[str]:
        """Keys of the uploads in parts that were begun and neither completed nor aborted."""
        found = self.objects._client.list_multipart_uploads(Bucket=self.config.s3_bucket, Prefix=PREFIX)
        return [upload["Key"] for upload in found.get("Uploads", ())]


@pytest.fixture
def house(redis_client: redis.Redis, valkey: str, s3: S3Server, tmp_path: Path) -> House:
    return House(redis_client, s3.settings(tmp_path, redis_url=valkey, redis_timeout=60, lease_seconds=61))


def check(objects: ObjectStore, key: str | None, count: int) -> bytes:
    """Assert that an archive has so many pictures, whole; returns its bytes."""
    assert key
    data = b"".join(objects.read(key))
    assert len(data) > PART_BYTES
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")]
        assert len(names) == count
        assert all(archive.read(name) == DATA for name in names)
    return data


def test_an_archive_of_several_parts_can_be_gone_on_with_where_a_download_broke_off(house: House) -> None:
    batch = house.ended(130)
    work = house.builder()
    assert work.step()
    assert house.unfinished == [f"{PREFIX}{batch.uid}/{fence_of(house, batch)}.zip"]
    assert list(house.objects.list(PREFIX)) == [], "nobody is shown half of it"
    while work.step():
        pass
    assert house.unfinished == []
    archive = house.archives.want(batch)
    whole = check(house.objects, archive.key, 130)
    assert archive.size == len(whole) > 2 * PART_BYTES

    url = house.objects.url(
        archive.key or "", seconds=600, filename="night.zip", content_type="application/zip"
    )
    assert url
    have = PART_BYTES + 12_345
    with httpx.stream("GET", url, timeout=60) as broken:
        assert int(broken.headers["Content-Length"]) == len(whole)
        tag = broken.headers["ETag"]
    assert not tag.startswith("W/")
    rest = httpx.get(url, headers={"Range": f"bytes={have}-", "If-Range": tag}, timeout=60)
    assert rest.status_code == 206
    assert rest.headers["Content-Range"] == f"bytes {have}-{len(whole) - 1}/{len(whole)}"
    assert whole[:have] + rest.content == whole
    last = httpx.get(url, headers={"Range": "bytes=-22"}, timeout=60)
    assert (last.status_code, last.content) == (206, whole[-22:])
    beyond = httpx.get(url, headers={"Range": f"bytes={len(whole)}-"}, timeout=60)
    assert beyond.status_code == 416


def fence_of(house: House, batch: Batch) -> str:
    fence = house.client.hget(Key.ARCHIVE + batch.uid, "fence")
    assert fence
    return fence


def test_whoever_leaves_takes_back_the_parts_that_were_sent(house: House) -> None:
    house.ended(70)
    work = house.builder()
    assert work.step()
    assert len(house.unfinished) == 1
    work.finish()
    assert house.unfinished == []


def test_parts_of_whoever_is_never_followed_are_swept_and_those_under_way_are_not(house: House) -> None:
    deleted, live = house.ended(70), house.ended(70, "harbour")
    dead, at_work = house.builder(), house.builder()
    assert dead.step()
    assert at_work.step()
    assert len(house.unfinished) == 2
    house.batches.delete("ann", deleted.id)
    work_off(chores(house.client, house.config, house.objects))
    house.builder().step()  # forgets the archive of the batch that is gone, and sweeps
    house.builder().step()
    assert house.unfinished == [f"{PREFIX}{live.uid}/{fence_of(house, live)}.zip"]
    while at_work.step():
        pass
    check(house.objects, house.archives.want(live).key, 70)
    dead.finish()


def second_parts(chunk: bytes) -> bool:
    """Requests that send the second part of an upload."""
    return chunk.startswith(b"PUT /") and b"partNumber=2" in chunk.partition(b"\r\n")[0]


def test_parts_of_a_worker_that_is_killed_are_aborted_by_its_follower(tmp_path: Path, s3: S3Server) -> None:
    with Rig(tmp_path, s3=s3, **SHORT_LEASE) as rig:
        house = House(rig.client, rig.config)
        batch = house.ended(200)
        rig.s3_proxy.rule = hanging = Holding(second_parts)
        first = rig.worker(Queue.CHORES)
        assert hanging.held.wait(60), "the first part was sent"
        first.freeze()
        left = house.unfinished
        first.kill()
        rig.s3_proxy.cut_all()  # so that nothing of the first arrives later
        rig.s3_proxy.rule = pass_on
        assert house.archives.want(batch).key is None, "it was killed too late for this test"
        assert len(left) == 1
        assert house.unfinished == left, "who is killed aborts nothing"
        rig.worker(Queue.CHORES)
        ready = wait_for(
            lambda: found if (found := house.archives.want(batch)).key else None, "the archive", 120
        )
        check(house.objects, ready.key, 200)
        assert house.unfinished == []
        assert [stat.key for stat in house.objects.list(PREFIX)] == [ready.key] != left
