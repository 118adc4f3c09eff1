"""What `ObjectStore` promises, held against both stores."""

import os
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.objects import ObjectMissingError, ObjectStore, open_objects
from shared.objects.s3 import S3Objects
from shared.settings import Settings


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "local":
        return open_objects(Settings(data_dir=tmp_path))
    return open_objects(request.getfixturevalue("s3").settings(tmp_path))


def test_what_is_put_can_be_got(store: ObjectStore) -> None:
    data = os.urandom(100_000)
    store.put("inputs/abc", data, "image/png")
    assert store.get("inputs/abc") == data


def test_an_empty_object_and_a_large_one_come_back_whole(store: ObjectStore) -> None:
    large = os.urandom(9 * 2**20)
    store.put("outputs/u/1-a.png", large, "image/png")
    store.put("inputs/empty", b"", "image/png")
    assert store.get("outputs/u/1-a.png") == large
    assert store.get("inputs/empty") == b""


def test_a_second_put_replaces_the_first(store: ObjectStore) -> None:
    store.put("previews/u", b"old and longer", "image/png")
    store.put("previews/u", b"new", "image/png")
    assert store.get("previews/u") == b"new"


def test_getting_what_is_not_there_says_so(store: ObjectStore) -> None:
    with pytest.raises(ObjectMissingError):
        store.get("inputs/none")
    store.put("inputs/some", b"x", "image/png")
    with pytest.raises(ObjectMissingError):
        store.get("inputs/none")


def test_stat_gives_size_and_age_or_none(store: ObjectStore) -> None:
    assert store.stat("inputs/abc") is None
    store.put("inputs/abc", b"12345", "image/png")
    found = store.stat("inputs/abc")
    assert found is not None
    assert (found.key, found.size) == ("inputs/abc", 5)
    assert abs(found.modified - time.time()) < 60


def test_deleting_removes_and_may_be_repeated(store: ObjectStore) -> None:
    store.put("checkpoints/u/1-a-1", b"x", "application/octet-stream")
    store.delete("checkpoints/u/1-a-1")
    store.delete("checkpoints/u/1-a-1")
    store.delete("checkpoints/never/was")
    assert store.stat("checkpoints/u/1-a-1") is None


def test_list_gives_what_starts_with_the_prefix(store: ObjectStore) -> None:
    keys = {"checkpoints/u1/1-a-1", "checkpoints/u1/1-a-2", "checkpoints/u10/1-a-1", "inputs/x"}
    assert list(store.list("")) == []
    for key in keys:
        store.put(key, key.encode(), "application/octet-stream")
    assert {found.key for found in store.list("checkpoints/u1/")} == {
        "checkpoints/u1/1-a-1",
        "checkpoints/u1/1-a-2",
    }
    assert {found.key for found in store.list("checkpoints/u1")} == keys - {"inputs/x"}
    assert {found.key for found in store.list("checkpoints/u1/1-a-2")} == {"checkpoints/u1/1-a-2"}
    assert {found.key for found in store.list("")} == keys
    assert {found.size for found in store.list("inputs/")} == {len("inputs/x")}
    assert list(store.list("archives/")) == []


def test_a_key_that_is_not_ours_is_refused(store: ObjectStore) -> None:
    for key in (
        "",
        "/abs",
        "../up",
        "a/../b",
        "a//b",
        "a/",
        "a/.hidden",
        "a b",
        "a\n",
        "a\\b",
        "é",
        "k" * 300,
    ):
        for call in (store.get, store.stat, store.delete):
            with pytest.raises(ValueError, match="not an object key"):
                call(key)
        with pytest.raises(ValueError, match="not an object key"):
            store.put(key, b"x", "image/png")


def test_readers_see_the_old_object_or_the_new_one_whole(store: ObjectStore) -> None:
    versions = [bytes([number]) * 300_000 for number in range(4)]
    store.put("previews/u", versions[0], "image/png")
    done = threading.Event()

    def write() -> None:
        for _ in range(4):
            for version in versions:
                store.put("previews/u", version, "image/png")
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while not done.is_set():
        assert store.get("previews/u") in versions
    writer.join()


def test_writers_in_one_folder_do_not_disturb_one_another(store: ObjectStore) -> None:
    faults: list[BaseException] = []

    def come_and_go(name: str) -> None:
        try:
            for round_ in range(6):
                key = f"checkpoints/u/{name}-{round_}"
                store.put(key, name.encode(), "application/octet-stream")
                assert store.get(key) == name.encode()
                store.delete(key)
        except BaseException as error:  # noqa: BLE001 - handed to the test's own thread
            faults.append(error)

    # Alone: a server may lose what it has when others make its bucket at the same moment.
    come_and_go("first")
    threads = [threading.Thread(target=come_and_go, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []
    assert list(store.list("")) == []


def test_a_store_that_works_passes_its_check(store: ObjectStore) -> None:
    store.check()
    store.check()


def test_what_is_written_bit_by_bit_is_there_once_it_is_closed(store: ObjectStore) -> None:
    pieces = [os.urandom(size) for size in (3, 700_000, 9 * 2**20, 1, 8 * 2**20, 20 * 2**20)]
    store.put("archives/b/1.zip", b"an earlier one", "application/zip")
    writer = store.writer("archives/b/1.zip", "application/zip")
    for piece in pieces:
        writer.write(piece)
        assert store.get("archives/b/1.zip") == b"an earlier one"
    writer.close()
    assert store.get("archives/b/1.zip") == b"".join(pieces)
    stat = store.stat("archives/b/1.zip")
    assert stat
    assert stat.size == sum(map(len, pieces))


@pytest.mark.parametrize("size", [0, 5, 8 * 2**20])
def test_a_writer_takes_any_size(store: ObjectStore, size: int) -> None:
    writer = store.writer("archives/b/1.zip", "application/zip")
    writer.write(bytes(size))
    writer.close()
    assert store.get("archives/b/1.zip") == bytes(size)


def test_a_writer_that_is_given_up_leaves_nothing(store: ObjectStore) -> None:
    for size in (5, 9 * 2**20):
        writer = store.writer("archives/b/1.zip", "application/zip")
        writer.write(bytes(size))
        writer.abandon()
        writer.abandon()
        assert list(store.list("")) == []


def test_what_a_dead_writer_left_can_be_dropped(store: ObjectStore) -> None:
    store.put("archives/b/done.zip", b"x", "application/zip")
    dead = store.writer("archives/b/1.zip", "application/zip")
    dead.write(bytes(9 * 2**20))
    store.drop_unfinished("archives/b/")
    store.drop_unfinished("archives/none/")
    assert [stat.key for stat in store.list("")] == ["archives/b/done.zip"]
    with pytest.raises(StorageUnavailable) if isinstance(store, S3Objects) else nullcontext():
        dead.close()
    dead.abandon()


def test_an_object_is_read_bit_by_bit_from_any_byte(store: ObjectStore) -> None:
    data = os.urandom(3 * 2**20 + 7)
    store.put("archives/b/1.zip", data, "application/zip")
    for start in (0, 1, 2**20, len(data) - 1, len(data)):
        chunks = list(store.read("archives/b/1.zip", start))
        assert b"".join(chunks) == data[start:]
        assert all(len(chunk) <= 2**20 for chunk in chunks)
    with pytest.raises(ObjectMissingError):
        next(store.read("archives/b/none.zip"))
