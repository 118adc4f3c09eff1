"""What is particular to the store in a folder."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.objects.local import LocalObjects


def test_objects_are_files_that_mirror_the_keys(tmp_path: Path) -> None:
    LocalObjects(tmp_path).put("outputs/u/1-a.png", b"picture", "image/png")
    assert (tmp_path / "outputs/u/1-a.png").read_bytes() == b"picture"


def test_a_folder_has_no_addresses(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    assert store.url("a/b", seconds=60, filename="b.png", content_type="image/png") is None


def test_nothing_is_left_behind_when_the_disk_is_full(tmp_path: Path) -> None:
    """A limit on file size fails a write in the same place as a full disk does."""
    program = """
import resource, signal, sys
from pathlib import Path
from shared.errors import StorageUnavailable
from shared.objects.local import LocalObjects
store = LocalObjects(Path(sys.argv[1]))
store.put("inputs/small", b"fits", "image/png")
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    store.put("inputs/large", bytes(100_000), "image/png")
except StorageUnavailable as fault:
    print(fault.detail)
"""
    command = [sys.executable, "-c", program, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "failed to store: File too large" in done.stdout
    assert [found.key for found in LocalObjects(tmp_path).list("")] == ["inputs/small"]
    assert list((tmp_path / ".incoming").iterdir()) == []


def test_a_write_that_was_killed_halfway_is_never_seen_and_swept_later(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("inputs/a", b"a", "image/png")
    leftover, recent = tmp_path / ".incoming/dead", tmp_path / ".incoming/alive"
    for path in (leftover, recent):
        path.write_bytes(b"half")
    long_ago = time.time() - 7200
    os.utime(leftover, (long_ago, long_ago))
    assert [found.key for found in store.list("")] == ["inputs/a"]
    LocalObjects(tmp_path)
    assert not leftover.exists()
    assert recent.exists()


def test_a_folder_that_cannot_be_written_is_storage_unavailable(tmp_path: Path) -> None:
    (tmp_path / "root").write_bytes(b"a file stands where the folder should")
    store = LocalObjects(tmp_path / "root")
    with pytest.raises(StorageUnavailable):
        store.check()
    with pytest.raises(StorageUnavailable):
        store.put("inputs/a", b"a", "image/png")


def test_empty_folders_go_with_their_last_object(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("checkpoints/u/1-a-1", b"x", "application/octet-stream")
    store.put("checkpoints/v/1-a-1", b"x", "application/octet-stream")
    store.delete("checkpoints/u/1-a-1")
    assert sorted(path.name for path in (tmp_path / "checkpoints").iterdir()) == ["v"]


def test_a_folder_is_pruned_and_made_again_without_a_fault(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    faults: list[StorageUnavailable] = []

    def come_and_go(name: str) -> None:
        try:
            for _ in range(100):
                store.put(f"a/b/c/{name}", b"x", "image/png")
                store.delete(f"a/b/c/{name}")
        except StorageUnavailable as fault:
            faults.append(fault)

    threads = [threading.Thread(target=come_and_go, args=(name,)) for name in "xyz"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert faults == []


def test_a_folder_is_not_an_object(tmp_path: Path) -> None:
    store = LocalObjects(tmp_path)
    store.put("outputs/u/1-a.png", b"x", "image/png")
    assert store.stat("outputs/u") is None
    with pytest.raises(LookupError):
        store.get("outputs/u")
