"""Which files of the folder for paintings may be replaced, wherever a run was killed."""

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from client.ledger import Ledger
from client.paintings import Paintings


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def store(out: Path, data: bytes, *, killed: str = "") -> list[Path]:
    """One run that stores one painting; returns where it was downloaded to."""
    downloads: list[Path] = []

    def download(target: Path) -> None:
        downloads.append(target)
        if killed != "before":
            target.write_bytes(data)
        if killed:
            raise KeyboardInterrupt

    with Ledger(out / "ledger") as ledger:
        Paintings(out, ledger).store("below/a.png", sha256(data), download)
    return downloads


def test_a_painting_takes_the_place_of_an_earlier_one(tmp_path: Path) -> None:
    for data in (b"one", b"two", b"three"):
        assert store(tmp_path, data) == [tmp_path / "below" / "a.png"]
        assert (tmp_path / "below" / "a.png").read_bytes() == data


@pytest.mark.parametrize("killed", ["before", "after"])
@pytest.mark.parametrize("first", [True, False], ids=["the first", "a further one"])
@pytest.mark.parametrize("next_", [b"two", b"three"], ids=["the same", "another"])
def test_a_run_that_was_killed_around_a_painting_is_gone_on_with(
    tmp_path: Path, killed: str, first: bool, next_: bytes
) -> None:
    if not first:
        store(tmp_path, b"one")
    for _ in range(2):
        with suppress(KeyboardInterrupt):
            store(tmp_path, b"two", killed=killed)
    store(tmp_path, next_)
    assert (tmp_path / "below" / "a.png").read_bytes() == next_


def test_a_file_in_the_place_of_a_folder_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "below").write_bytes(b"mine")
    with (
        Ledger(tmp_path / "ledger") as ledger,
        pytest.raises(FileExistsError, match="below is in the way: it is no folder"),
    ):
        Paintings(tmp_path, ledger).look("below/a.png")
    assert (tmp_path / "below").read_bytes() == b"mine"


def test_a_painting_that_is_there_is_not_downloaded_again(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "a.png").write_bytes(b"one")
    assert store(tmp_path, b"one") == []
    assert store(tmp_path, b"two")


def kept(path: Path) -> tuple[int, ...]:
    """What a path is and holds; that it was read changes nothing."""
    found = path.lstat()
    return found.st_mode, found.st_ino, found.st_size, found.st_mtime_ns


@pytest.mark.parametrize(
    "make",
    [
        lambda path: path.write_bytes(b"mine"),
        lambda path: path.symlink_to("nowhere"),
        lambda path: path.mkdir(),
        os.mkfifo,
    ],
    ids=["file", "link", "folder", "fifo"],
)
@pytest.mark.parametrize("painted", [False, True], ids=["before any run", "after one"])
def test_what_no_run_has_made_stays_as_it_is(
    tmp_path: Path, make: Callable[[Path], object], painted: bool
) -> None:
    path = tmp_path / "below" / "a.png"
    path.parent.mkdir()
    if painted:
        store(tmp_path, b"one")
        path.unlink()
    make(path)
    before = kept(path)
    with pytest.raises(
        FileExistsError, match=r"below/a\.png is in the way: .* choose another folder with -o"
    ):
        store(tmp_path, b"two")
    assert kept(path) == before


def test_a_painting_that_somebody_has_touched_up_stays_as_it_is(tmp_path: Path) -> None:
    store(tmp_path, b"one")
    (tmp_path / "below" / "a.png").write_bytes(b"touched up")
    with pytest.raises(FileExistsError, match="was changed since"):
        store(tmp_path, b"two")
    assert (tmp_path / "below" / "a.png").read_bytes() == b"touched up"
