"""Objects in a folder: the embedded default, for one machine.

The folder mirrors the keys. An object appears by a rename from `.incoming/`, so that it is there whole or
not at all, also after a power loss. Content types are not kept: whoever streams an object knows its type.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path

from shared.errors import StorageUnavailable
from shared.objects.base import (
    PROBE,
    PROBE_KEY,
    ObjectMissingError,
    ObjectStat,
    ObjectWriter,
    check_key,
    check_prefix,
)

#: A temporary file this old was left by a process that died.
_STALE_SECONDS = 3600.0
#: A folder can be pruned between its making and the rename into it; each further try makes it again.
_TRIES = 50
#: Bytes that `read` gives at a time.
_CHUNK = 256 * 1024


class LocalObjects:
    """An `ObjectStore` in a folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._incoming = self._root / ".incoming"
        with suppress(OSError):
            self._sweep()

    def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 - see the module's docstring
        """See `ObjectStore.put`."""
        path = self._path(key)
        with _translated("store"):
            temporary = self._write(data)
            try:
                self._publish(temporary, path)
            except OSError:
                temporary.unlink(missing_ok=True)
                raise

    def get(self, key: str) -> bytes:
        """See `ObjectStore.get`."""
        path = self._path(key)
        with _translated("read"):
            try:
                return path.read_bytes()
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise ObjectMissingError(key) from None

    def read(self, key: str, start: int = 0) -> Iterator[bytes]:
        """See `ObjectStore.read`."""
        path = self._path(key)
        with _translated("read"):
            try:
                file = path.open("rb")
            except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
                raise ObjectMissingError(key) from None
            with file:
                file.seek(start)
                while chunk := file.read(_CHUNK):
                    yield chunk

    def writer(self, key: str, content_type: str) -> ObjectWriter:  # noqa: ARG002 - as in `put`
        """See `ObjectStore.writer`."""
        path = self._path(key)
        with _translated("store"):
            self._incoming.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self._incoming)
        return _Writer(os.fdopen(handle, "wb"), Path(name), lambda temporary: self._publish(temporary, path))

    def drop_unfinished(self, prefix: str, keep: Callable[[str], bool] = lambda _: False) -> None:  # noqa: ARG002
        """See `ObjectStore.drop_unfinished`. Files of writers that died are swept by their age."""
        check_prefix(prefix)
        with suppress(OSError):
            self._sweep()

    def stat(self, key: str) -> ObjectStat | None:
        """See `ObjectStore.stat`."""
        path = self._path(key)
        with _translated("read"):
            try:
                found = path.stat()
            except (FileNotFoundError, NotADirectoryError):
                return None
            return None if path.is_dir() else ObjectStat(key, found.st_size, found.st_mtime)

    def delete(self, key: str) -> None:
        """See `ObjectStore.delete`. Folders left empty go too."""
        path = self._path(key)
        with _translated("delete"), suppress(FileNotFoundError, NotADirectoryError):
            path.unlink()
            self._prune(path.parent)

    def list(self, prefix: str) -> Iterator[ObjectStat]:
        """See `ObjectStore.list`."""
        folder = self._root / check_prefix(prefix).rpartition("/")[0]
        with _translated("list"):
            yield from self._walk(folder, prefix)

    def url(self, key: str, *, seconds: int, filename: str, content_type: str) -> str | None:  # noqa: ARG002
        """None: a folder has no address, the API streams its objects."""
        return None

    def check(self) -> None:
        """See `ObjectStore.check`."""
        self.put(PROBE_KEY, PROBE, "text/plain")
        if self.get(PROBE_KEY) != PROBE:
            raise StorageUnavailable("The object folder does not give back what was stored")

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _write(self, data: bytes) -> Path:
        self._incoming.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=self._incoming)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)

    def _publish(self, temporary: Path, path: Path) -> None:
        for tries_left in reversed(range(_TRIES)):
            try:
                _make_folder(path.parent)
                temporary.replace(path)
                break
            except (FileNotFoundError, FileExistsError):  # pruned at this moment
                if not tries_left:
                    raise
        with suppress(FileNotFoundError):  # deleted already
            _sync_folder(path.parent)

    def _prune(self, folder: Path) -> None:
        while folder != self._root:
            try:
                folder.rmdir()
            except FileNotFoundError:
                pass
            except OSError:
                return
            folder = folder.parent

    def _walk(self, folder: Path, prefix: str) -> Iterator[ObjectStat]:
        try:
            entries = list(os.scandir(folder))
        except (FileNotFoundError, NotADirectoryError):
            return
        for entry in entries:
            key = Path(entry.path).relative_to(self._root).as_posix()
            if key.startswith("."):
                continue
            if entry.is_dir(follow_symlinks=False):
                within = key + "/"
                if within.startswith(prefix) or prefix.startswith(within):
                    yield from self._walk(Path(entry.path), prefix)
            elif key.startswith(prefix):
                with suppress(FileNotFoundError):
                    found = entry.stat(follow_symlinks=False)
                    yield ObjectStat(key, found.st_size, found.st_mtime)

    def _sweep(self) -> None:
        """Remove what writers that died have left."""
        for entry in os.scandir(self._incoming):
            if entry.stat().st_mtime < time.time() - _STALE_SECONDS:
                Path(entry.path).unlink(missing_ok=True)


class _Writer:
    """An `ObjectWriter` into a temporary file."""

    def __init__(self, file: BufferedWriter, temporary: Path, publish: Callable[[Path], None]) -> None:
        self._file, self._temporary, self._publish = file, temporary, publish

    def write(self, data: bytes) -> None:
        with _translated("store"):
            self._file.write(data)

    def close(self) -> None:
        with _translated("store"):
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            self._publish(self._temporary)

    def abandon(self) -> None:
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise StorageUnavailable(f"The object folder failed to {what}: {reason}") from error


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents so that they survive a power loss."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
