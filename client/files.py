"""Files that are either whole or not there, and known by their SHA-256."""

import hashlib
import os
import re
import secrets
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

from client.errors import DamagedError

_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


class Download:
    """A file on its way: its bytes go to a hidden file beside the target, which takes its name at the end.

    A reader never meets half a file, and an error leaves what was there before. What has arrived when the
    connection breaks off is kept for the next attempt, if the server's answers can be told apart: by a strong
    ETag (RFC 9110, 13.1.5).

    Args:
        target: the file to write.
        sha256: what its bytes must hash to, or how that begins; None where nobody has said it.
        keep: leave what has arrived beside the target for a later process.

    Attributes:
        received: bytes so far.
        total: bytes in all, once the server has said it.
    """

    def __init__(self, target: Path, sha256: str | None, *, keep: bool = False) -> None:
        self._target, self._sha256, self._keep = target, sha256, keep
        mark = "" if keep else f".{secrets.token_hex(4)}"
        self._part = target.with_name(f".{target.name}{mark}.part")
        self._tag_file = self._part.with_suffix(".etag")
        self._file: BinaryIO | None = None
        self.received, self.total = 0, None
        self._tag = ""
        if keep and self._part.is_file() and self._tag_file.is_file():
            self._tag = self._tag_file.read_text(encoding="utf-8")
            self.received = self._part.stat().st_size

    total: int | None

    def headers(self) -> dict[str, str]:
        """What asks for the rest, where something has arrived that can be gone on with."""
        if self.received and self._tag:
            return {"Range": f"bytes={self.received}-", "If-Range": self._tag}
        return {}

    def begin(self, status: int, headers: Mapping[str, str]) -> None:
        """An answer has come: take up where the last one broke off, or begin anew, as it says.

        Raises:
            DamagedError: it is another part than was asked for.
        """
        length = headers.get("content-length")
        if status == HTTPStatus.PARTIAL_CONTENT:
            found = _CONTENT_RANGE.fullmatch(headers.get("content-range", ""))
            if not found or int(found[1]) != self.received:
                self.discard()
                raise DamagedError(f"{self._target.name}: the server sent another part than was asked for")
            self.total = int(found[2]) if found[2] != "*" else None
        else:
            self.discard()
            self.total = int(length) if length else None
            tag = headers.get("etag", "")
            self._tag = "" if tag.startswith("W/") else tag
            if self._keep and self._tag:
                self._tag_file.write_text(self._tag, encoding="utf-8")
        self.close_file()
        self._file = self._part.open("ab")

    @property
    def _opened(self) -> BinaryIO:
        if self._file is None:
            raise RuntimeError("begin comes before write and finish")
        return self._file

    def write(self, chunk: bytes) -> None:
        """Bytes have come."""
        self._opened.write(chunk)
        self.received += len(chunk)

    def finish(self) -> None:
        """Put the file in place, once it is what it must be.

        Raises:
            DamagedError: the bytes have another SHA-256, or are not all.
        """
        self._opened.flush()
        os.fsync(self._opened.fileno())
        self.close_file()
        if self.total is not None and self.received != self.total:
            raise DamagedError(f"{self._target.name} is {self.received} bytes long, expected {self.total}")
        if self._sha256 is not None:
            found = sha256_of(self._part)
            if not found.startswith(self._sha256):
                self.discard()
                raise DamagedError(
                    f"{self._target.name} is damaged or another file: SHA-256 {found}, "
                    f"expected {self._sha256}"
                )
        self._part.replace(self._target)
        self._tag_file.unlink(missing_ok=True)

    def discard(self) -> None:
        """Forget what has arrived."""
        self.close_file()
        self._part.unlink(missing_ok=True)
        self._tag_file.unlink(missing_ok=True)
        self.received, self._tag = 0, ""

    def close_file(self) -> None:
        """Let go of the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def close(self) -> None:
        """No further attempt follows: leave nothing behind but what is to be kept."""
        self.close_file()
        if not (self._keep and self._tag):
            self._part.unlink(missing_ok=True)
            self._tag_file.unlink(missing_ok=True)


def write_checked(path: Path, chunks: Iterable[bytes], sha256: str) -> None:
    """Write bytes to `path` in one step, once their SHA-256 is known to begin as it should.

    Raises:
        DamagedError: the bytes have another SHA-256.
        OSError: the folder cannot be written to.
    """
    download = Download(path, sha256)
    try:
        download.begin(HTTPStatus.OK, {})
        for chunk in chunks:
            download.write(chunk)
        download.finish()
    finally:
        download.close()


def write_text(path: Path, text: str) -> None:
    """Write a small file in one step: whole and on the disk, or as it was."""
    data = text.encode()
    write_checked(path, (data,), hashlib.sha256(data).hexdigest())


def sha256_of(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
