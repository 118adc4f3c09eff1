"""Clean copies kept: the real job store and object store together."""

from pathlib import Path

import pytest
import redis

from shared.jobs.store import JobStore
from shared.objects import open_objects
from shared.objects.local import LocalObjects
from shared.pictures import CleanPicture, keep
from shared.settings import Settings

PICTURE = CleanPicture(b"png bytes", "a" * 64, 6, 4)


@pytest.fixture
def config(valkey: str, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, redis_url=valkey)


def test_a_copy_is_stored_once_and_described(redis_client: redis.Redis, config: Settings) -> None:
    store, objects = JobStore(redis_client, config), open_objects(config)
    picture = keep(PICTURE, store, objects, source="https://example.org/a.jpg", weight=0.5)
    assert objects.get(f"inputs/{PICTURE.sha256}") == b"png bytes"
    assert (picture.source, picture.weight) == ("https://example.org/a.jpg", 0.5)
    assert (picture.key, picture.sha256) == (f"inputs/{PICTURE.sha256}", PICTURE.sha256)
    assert (picture.width, picture.height) == (6, 4)
    file = config.objects_dir / "inputs" / PICTURE.sha256
    before = file.stat().st_ino
    keep(PICTURE, store, objects)
    assert file.stat().st_ino == before


def test_a_copy_of_the_wrong_size_is_written_again(redis_client: redis.Redis, config: Settings) -> None:
    objects = open_objects(config)
    objects.put(f"inputs/{PICTURE.sha256}", b"half", "image/png")
    keep(PICTURE, JobStore(redis_client, config), objects)
    assert objects.get(f"inputs/{PICTURE.sha256}") == b"png bytes"


def test_the_reference_is_held_before_the_copy_is_written(
    redis_client: redis.Redis, config: Settings
) -> None:
    store = JobStore(redis_client, config)

    class Watching(LocalObjects):
        def put(self, key: str, data: bytes, content_type: str) -> None:
            assert redis_client.zscore("im:unused", PICTURE.sha256) is not None
            super().put(key, data, content_type)

    keep(PICTURE, store, Watching(config.objects_dir))
