"""What a run over a folder has done so far, in a small file that a killed run leaves readable.

Each line is one JSON array: a version, what it is about, and facts that hold from then on. Lines are only
ever appended, each in one write; a last line that was cut off is left out. Opening the file writes it anew,
one line for each subject, in one step. One process has it at a time.
"""

import json
import os
import sys
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from client.errors import ImpastoError
from client.files import write_text

if sys.platform != "win32":  # which has no such lock
    import fcntl

#: Of the file's form. A file of another is not read.
VERSION = 1


class Ledger:
    """The file, and what it says. Use it as a context manager. Any thread may note something.

    Args:
        path: the file; it and its folder are made where they are missing.
        only: the one kind of subject that is kept of what the file says; all where none is given.

    Raises:
        ImpastoError: another process has it, or it is none of ours.
    """

    def __init__(self, path: Path, only: str | None = None) -> None:
        self.path = path
        self._facts: dict[tuple[str, str], dict[str, Any]] = {}
        self._mutex = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._guard = os.open(path.with_name(path.name + ".lock"), os.O_CREAT | os.O_RDWR, 0o644)
        try:
            self._take()
            self._read()
            if only:
                self._facts = {about: facts for about, facts in self._facts.items() if about[0] == only}
            self._write_anew()
            self._file = os.open(path, os.O_WRONLY | os.O_APPEND)
        except BaseException:
            os.close(self._guard)
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let another process have it."""
        self.sync()
        os.close(self._file)
        os.close(self._guard)

    def get(self, kind: str, name: str) -> Mapping[str, Any]:
        """What is known about a subject; nothing where it is new."""
        with self._mutex:
            return dict(self._facts.get((kind, name), {}))

    def all(self, kind: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every subject of a kind."""
        with self._mutex:
            found = [(name, dict(facts)) for (its, name), facts in self._facts.items() if its == kind]
        return iter(found)

    def note(self, kind: str, name: str, **facts: Any) -> None:  # noqa: ANN401 - JSON
        """Facts hold from now on; None takes one back."""
        with self._mutex:
            line = _line(kind, name, facts)
            written = os.write(self._file, line)
            if written != len(line):
                # What is noted later, once there is room again, is not to follow half a line.
                os.ftruncate(self._file, os.fstat(self._file).st_size - written)
                raise OSError(f"{self.path} could not be written to: is the disk full?")
            self._add(kind, name, facts)

    def forget(self, kind: str, name: str) -> None:
        """Nothing is known about a subject any more."""
        self.note(kind, name, **dict.fromkeys(self.get(kind, name)))

    def sync(self) -> None:
        """Have everything noted so far on the disk."""
        os.fsync(self._file)

    def _take(self) -> None:
        if sys.platform != "win32":
            try:
                fcntl.flock(self._guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise ImpastoError(f"another run is at work in {self.path.parent}") from error

    def _read(self) -> None:
        if not self.path.exists():
            return
        lines = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line:
                continue
            try:
                version, kind, name, facts = json.loads(line)
            except (ValueError, TypeError) as error:
                if number == len(lines):
                    continue  # cut off in the middle of a write: it was not noted
                raise ImpastoError(f"{self.path}, line {number}: this is none of our files") from error
            if version != VERSION:
                raise ImpastoError(f"{self.path} is of version {version}; this program writes {VERSION}")
            self._add(kind, name, facts)

    def _write_anew(self) -> None:
        lines = (_line(kind, name, facts) for (kind, name), facts in self._facts.items())
        write_text(self.path, b"".join(lines).decode())

    def _add(self, kind: str, name: str, facts: Mapping[str, Any]) -> None:
        known = self._facts.setdefault((kind, name), {})
        for key, value in facts.items():
            if value is None:
                known.pop(key, None)
            else:
                known[key] = value
        if not known:
            del self._facts[kind, name]


def _line(kind: str, name: str, facts: Mapping[str, Any]) -> bytes:
    # A name may hold bytes that are no UTF-8: they have become lone surrogates, which only ASCII can write.
    return json.dumps([VERSION, kind, name, facts], separators=(",", ":")).encode() + b"\n"
