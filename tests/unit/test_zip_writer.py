"""ZIP files as others read them."""

import io
import os
import random
import shutil
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest

from shared import zip_writer
from shared.zip_writer import ZipWriter


def written(entries: dict[str, bytes]) -> io.BytesIO:
    file = io.BytesIO()
    with ZipWriter(lambda data: void(file.write(data))) as writer:
        for name, data in entries.items():
            writer.add(name, 1_770_000_001.0, data)
        writer.finish()
        assert writer.size == file.tell()
        assert writer.entries == len(entries)
    return file


def void(_: object) -> None:
    """A write that returns nothing."""


ENTRIES = {"bridge.png": os.urandom(70_000), "empty.jpg": b"", "item~000002.webp": b"x" * 9}


def test_pythons_zipfile_reads_what_was_written() -> None:
    with zipfile.ZipFile(written(ENTRIES)) as archive:
        assert archive.testzip() is None
        assert {info.filename: archive.read(info) for info in archive.infolist()} == ENTRIES
        first = archive.infolist()[0]
        assert first.compress_type == zipfile.ZIP_STORED
        assert first.date_time == (2026, 2, 2, 2, 40, 0)
        assert first.external_attr >> 16 == 0o100644


def test_an_archive_of_nothing_is_one() -> None:
    with zipfile.ZipFile(written({})) as archive:
        assert archive.namelist() == []


def test_an_entry_can_come_in_pieces_and_must_be_as_long_as_it_said() -> None:
    file = io.BytesIO()
    with ZipWriter(lambda data: void(file.write(data))) as writer:
        writer.add_from("list", 0.0, 4, zlib.crc32(b"abcd"), iter((b"a", b"bcd")))
        writer.finish()
        with pytest.raises(ValueError, match="3 bytes, not 4"):
            writer.add_from("short", 0.0, 4, 0, iter((b"abc",)))
    with zipfile.ZipFile(file) as archive:
        assert archive.read("list") == b"abcd"
        assert archive.infolist()[0].date_time[:3] == (1980, 1, 1)


def test_more_entries_than_the_old_format_counts_are_read() -> None:
    names = {f"{number}": b"" for number in range(66_000)}
    with zipfile.ZipFile(written(names)) as archive:
        assert len(archive.infolist()) == 66_000
        assert archive.read("65999") == b""


def test_places_that_the_old_format_cannot_say_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zip_writer, "_MOST_32", 50_000)
    entries = {f"{number}.png": random.Random(number).randbytes(20_000) for number in range(9)}
    data = written(entries).getvalue()
    # What stands in for "look behind" is another number in this test.
    monkeypatch.undo()
    fixed = data.replace((50_000).to_bytes(4, "little"), b"\xff\xff\xff\xff")
    with zipfile.ZipFile(io.BytesIO(fixed)) as archive:
        assert {info.filename: archive.read(info) for info in archive.infolist()} == entries


@pytest.mark.skipif(shutil.which("unzip") is None, reason="there is no unzip here")
def test_unzip_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    path.write_bytes(written(ENTRIES).getvalue())
    assert subprocess.run(["unzip", "-t", str(path)], capture_output=True, check=False).returncode == 0
