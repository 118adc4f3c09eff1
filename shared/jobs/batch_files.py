"""A batch's lines as objects: parts of so many lines each, so that any line is found by its number.

    batches/<uid>/items/<part>.ndjson    what its jobs are made from: checked and resolved

and of one that is checked after its caller's answer

    batches/<uid>/head/000000.ndjson     what was said beside the items
    batches/<uid>/lines/<part>.ndjson    the items as they were sent, each behind the number of its line
    batches/<uid>/errors/<part>.ndjson   what is wrong with them

Parts are written once and whole; writing one again, after a crash, writes the same. Behind its lines a part
that is read here has a seal, their SHA-256, so that what was damaged is not taken for what a caller has sent.
"""

import hashlib
import json
from collections.abc import Iterator
from enum import StrEnum

from shared.objects import ObjectMissingError, ObjectStore

#: Lines of a part; its last one may have fewer.
PART_LINES = 1000
CONTENT_TYPE = "application/x-ndjson"
PREFIX = "batches/"
#: No line begins so.
_SEAL = b"#sha256:"


class LinesLostError(Exception):
    """A part of a file is gone, or is not what was stored.

    Attributes:
        key: the object. part: its number.
    """

    def __init__(self, key: str, part: int, what: str) -> None:
        super().__init__(f"{key} {what}")
        self.key, self.part = key, part


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
        data = b"".join(line + b"\n" for line in lines)
        if self._kind is not Kind.ERRORS:  # which is given out as it is
            data += _seal(data) + b"\n"
        self._objects.put(self.key(part), data, CONTENT_TYPE)

    def read(self, part: int, total: int | None = None) -> list[bytes]:
        """A part's lines.

        Args:
            part: its number.
            total: lines of the whole file, where that is known: the part must have its share of them.

        Raises:
            LinesLostError: there is no such part, or it is not what was stored.
        """
        try:
            *lines, rest = self._objects.get(self.key(part)).split(b"\n")
        except ObjectMissingError:
            raise self.lost(part, "is not there") from None
        # Early parts have no seal; one within a line has lost the newline before it.
        seal = lines.pop() if lines and lines[-1].startswith(_SEAL) else None
        glued = seal is None and lines and _SEAL in lines[-1]
        if (
            rest
            or glued
            or not (lines or seal)
            or (seal and seal != _seal(b"".join(line + b"\n" for line in lines)))
        ):
            raise self.lost(part, "is not what was stored")
        if total is not None and len(lines) != (wanted := min(PART_LINES, total - part * PART_LINES)):
            raise self.lost(part, f"has {len(lines)} lines, not {wanted}")
        return lines

    def lost(self, part: int, what: str) -> LinesLostError:
        """What to raise of a part that cannot be read."""
        return LinesLostError(self.key(part), part, what)

    def each(self, parts: int) -> Iterator[bytes]:
        """The parts' bytes as they are, the first so many."""
        for part in range(parts):
            try:
                yield self._objects.get(self.key(part))
            except ObjectMissingError:
                continue

    def key(self, part: int) -> str:
        """The object that a part is."""
        return f"{PREFIX}{self._uid}/{self._kind}/{part:06d}.ndjson"


class ItemNames:
    """What the caller calls items that are no jobs; a part of the file is read once."""

    def __init__(self, file: BatchFile) -> None:
        self._file = file
        self._part: tuple[int, list[bytes]] = (-1, [])

    def of(self, index: int) -> str | None:
        """The custom ID of an item, counted from 0; None too where its line is lost."""
        part, place = divmod(index, PART_LINES)
        if self._part[0] != part:
            self._part = (part, self._lines(part))
        lines = self._part[1]
        if place >= len(lines):
            return None
        try:
            name: str | None = json.loads(lines[place])["record"].get("custom_id")
        except (ValueError, KeyError, TypeError):
            return None
        return name

    def _lines(self, part: int) -> list[bytes]:
        try:
            return self._file.read(part)
        except LinesLostError:
            return []


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


def _seal(data: bytes) -> bytes:
    return _SEAL + hashlib.sha256(data).hexdigest().encode()


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
