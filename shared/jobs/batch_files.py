"""A batch's lines as objects: parts of so many lines each, so that any line is found by its number.

    batches/<uid>/items/<part>.ndjson    what its jobs are made from: checked and resolved

and of one that is checked after its caller's answer

    batches/<uid>/head/000000.ndjson     what was said beside the items
    batches/<uid>/lines/<part>.ndjson    the items as they were sent, each behind the number of its line
    batches/<uid>/errors/<part>.ndjson   what is wrong with them

Parts are written once and whole; writing one again, after a crash, writes the same.
"""

import json
from collections.abc import Iterator
from enum import StrEnum

from shared.objects import ObjectMissingError, ObjectStore

#: Lines of a part; its last one may have fewer.
PART_LINES = 1000
CONTENT_TYPE = "application/x-ndjson"
PREFIX = "batches/"


class Kind(StrEnum):
    """The files of a batch."""

    ITEMS = "items"
    HEAD = "head"
    LINES = "lines"
    ERRORS = "errors"


class BatchFile:
    """One file of a batch. Every method may raise `StorageUnavailable`."""

    def __init__(self, objects: ObjectStore, uid: str, kind: Kind) -> None:
        self._objects, self._uid, self._kind = objects, uid, kind

    def write(self, part: int, lines: list[bytes]) -> None:
        """Store a part; a line has no newline."""
        self._objects.put(self._key(part), b"".join(line + b"\n" for line in lines), CONTENT_TYPE)

    def read(self, part: int) -> list[bytes]:
        """A part's lines; none where there is no such part."""
        try:
            return self._objects.get(self._key(part)).split(b"\n")[:-1]
        except ObjectMissingError:
            return []

    def line(self, number: int) -> bytes | None:
        """One line, counted from 0."""
        part, place = divmod(number, PART_LINES)
        lines = self.read(part)
        return lines[place] if place < len(lines) else None

    def each(self, parts: int) -> Iterator[bytes]:
        """The parts' bytes as they are, the first so many."""
        for part in range(parts):
            try:
                yield self._objects.get(self._key(part))
            except ObjectMissingError:
                continue

    def _key(self, part: int) -> str:
        return f"{PREFIX}{self._uid}/{self._kind}/{part:06d}.ndjson"


class ItemNames:
    """What the caller calls items that are no jobs; a part of the file is read once."""

    def __init__(self, file: BatchFile) -> None:
        self._file = file
        self._part: tuple[int, list[bytes]] = (-1, [])

    def of(self, index: int) -> str | None:
        """The custom ID of an item, counted from 0."""
        part, place = divmod(index, PART_LINES)
        if self._part[0] != part:
            self._part = (part, self._file.read(part))
        lines = self._part[1]
        if place >= len(lines):
            return None
        name: str | None = json.loads(lines[place])["record"].get("custom_id")
        return name


class Writer:
    """Writes a file line by line.

    Attributes:
        count: lines so far.
    """

    def __init__(self, file: BatchFile) -> None:
        self._file = file
        self._lines: list[bytes] = []
        self.count = 0

    def add(self, line: bytes) -> None:
        """One line more; a part that is full is stored."""
        self._lines.append(line)
        self.count += 1
        if len(self._lines) == PART_LINES:
            self._flush()

    def close(self) -> None:
        """Store what is left."""
        if self._lines:
            self._flush()

    def _flush(self) -> None:
        self._file.write((self.count - 1) // PART_LINES, self._lines)
        self._lines = []


def numbered(line: int, data: bytes) -> bytes:
    """What was sent as this line, with its number."""
    return b"%d\t%b" % (line, data)


def unnumbered(data: bytes) -> tuple[int, bytes]:
    """The number and the line."""
    number, _, line = data.partition(b"\t")
    return int(number), line


def parts_of(lines: int) -> int:
    """How many parts so many lines make."""
    return -(-lines // PART_LINES)


def remove(objects: ObjectStore, uid: str) -> None:
    """Delete every file of a batch."""
    for stat in objects.list(f"{PREFIX}{uid}/"):
        objects.delete(stat.key)
