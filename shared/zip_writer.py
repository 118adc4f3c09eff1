"""A ZIP file written front to back, with memory for one entry: PKWARE's APPNOTE 6.3.10 with ZIP64.

Entries are stored as they are (method 0): pictures are compressed already. An entry's size is known before it
is written, so that no descriptor follows it. What the directory at the end needs of each entry waits in a
temporary file, some 60 bytes and its name, so that a million of them are no matter of memory.
"""

import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

_LOCAL, _CENTRAL, _END = 0x04034B50, 0x02014B50, 0x06054B50
_END64, _LOCATOR64 = 0x06064B50, 0x07064B50
_VERSION, _UNIX = 45, 3 << 8
_ATTRIBUTES = 0o100644 << 16
_MOST_16, _MOST_32 = 0xFFFF, 0xFFFFFFFF
_CHUNK = 256 * 1024


class ZipWriter:
    """Writes entries, then the directory. Use it as a context manager: it gives back its temporary file.

    Args:
        write: takes the file's bytes, in order.

    Attributes:
        entries: written so far. size: bytes written so far.
    """

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self.entries = self.size = 0
        self._write = write
        self._directory = tempfile.TemporaryFile()  # noqa: SIM115 - it is closed with the writer

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._directory.close()

    def add(self, name: str, modified: float, data: bytes) -> None:
        """Write an entry that is held in memory.

        Args:
            name: ASCII, and no other entry's.
            modified: seconds since the epoch.
            data: less than 4 GiB.
        """
        self.add_from(name, modified, len(data), zlib.crc32(data), iter((data,)))

    def add_from(self, name: str, modified: float, size: int, crc: int, chunks: Iterator[bytes]) -> None:
        """Write an entry of this size (bytes, less than 4 GiB) and CRC-32, piece by piece; else as `add`.

        Raises:
            ValueError: the pieces are not of that size.
        """
        encoded, offset = name.encode("ascii"), self.size
        common = struct.pack("<HHHHIIIH", 0, 0, *_dos_time(modified), crc, size, size, len(encoded))
        self._put(struct.pack("<IH", _LOCAL, _VERSION) + common + struct.pack("<H", 0) + encoded)
        before = self.size
        for chunk in chunks:
            self._put(chunk)
        if self.size - before != size:
            raise ValueError(f"{name} has {self.size - before} bytes, not {size}")
        far = offset >= _MOST_32
        extra = struct.pack("<HHQ", 1, 8, offset) if far else b""
        self._directory.write(
            struct.pack("<IHH", _CENTRAL, _UNIX | _VERSION, _VERSION)
            + common
            + struct.pack("<HHHHII", len(extra), 0, 0, 0, _ATTRIBUTES, _MOST_32 if far else offset)
            + encoded
            + extra
        )
        self.entries += 1

    def finish(self) -> None:
        """Write the directory: the file is complete."""
        start, length = self.size, self._directory.tell()
        self._directory.seek(0)
        while chunk := self._directory.read(_CHUNK):
            self._put(chunk)
        end = self.size
        if self.entries >= _MOST_16 or start >= _MOST_32 or length >= _MOST_32:
            self._put(
                struct.pack(
                    "<IQHHIIQQQQ",
                    *(_END64, 44, _UNIX | _VERSION, _VERSION, 0, 0),
                    *(self.entries, self.entries, length, start),
                )
                + struct.pack("<IIQI", _LOCATOR64, 0, end, 1)
            )
        entries = min(self.entries, _MOST_16)
        self._put(
            struct.pack(
                "<IHHHHIIH", _END, 0, 0, entries, entries, min(length, _MOST_32), min(start, _MOST_32), 0
            )
        )

    def _put(self, data: bytes) -> None:
        self._write(data)
        self.size += len(data)


def _dos_time(seconds: float) -> tuple[int, int]:
    """Time and date as MS-DOS has them, in UTC, from 1980 on."""
    at = max(datetime.fromtimestamp(seconds, UTC), datetime(1980, 1, 1, tzinfo=UTC))
    return at.hour << 11 | at.minute << 5 | at.second // 2, at.year - 1980 << 9 | at.month << 5 | at.day
