"""Strangers' picture files made into clean copies, each by a child process that may die of it.

This side never decodes: it has a child forked (`forkserver.py`) that runs `child.py`, feeds it the file,
takes what comes back within bounds of time and size, and says what went wrong in words that help. This
process' own Pillow is never imported.
"""

import hashlib
import json
import os
import selectors
import signal
import socket
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import FileIO
from typing import NoReturn

from shared.errors import Fault, InternalFault, PictureTooLarge, PictureUnreadable
from shared.pictures import decoders
from shared.pictures.forkserver import STATUS
from shared.settings import Settings

_FAULT_STATUS = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Ends that a file may bring about that was made for it.
_CRASHES = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGABRT, signal.SIGFPE)
#: Seconds that a child may take to be killed.
_LAST_SECONDS = 5.0
#: Ends that say something about the machine or its operator, not about the picture.
_SENT_AWAY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)


@dataclass(frozen=True)
class PictureLimits:
    """What a picture may cost.

    Attributes:
        bytes: of the file. pixels: width times height, by the file's header.
        seconds: of CPU for decoding. memory: bytes of address space for decoding (not enforced on macOS).
    """

    bytes: int
    pixels: int
    seconds: float
    memory: int

    @classmethod
    def of(cls, settings: Settings) -> "PictureLimits":
        """The limits that the settings name."""
        return cls(
            bytes=settings.picture_bytes,
            pixels=settings.picture_pixels,
            seconds=settings.decode_seconds,
            memory=settings.decode_memory,
        )

    @property
    def wall_seconds(self) -> float:
        """Wall clock after which the machine, not the picture, is to blame: CPU time is limited already."""
        return 4 * self.seconds + 10


@dataclass(frozen=True)
class CleanPicture:
    """A clean copy: upright 8-bit sRGB without transparency or metadata.

    Attributes:
        png: the file. sha256: hash of `png`, in hex. width: pixels. height: pixels.
    """

    png: bytes
    sha256: str
    width: int
    height: int


def _as_many_as_cores() -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(max(2, os.cpu_count() or 2))


def _renew_slots() -> None:
    """In a fork of this process: those that are taken are the other's."""
    global _slots  # noqa: PLW0603
    _slots = _as_many_as_cores()


#: Children at a time in one process: each may take `PictureLimits.memory`.
_slots = _as_many_as_cores()
os.register_at_fork(after_in_child=_renew_slots)


def clean(data: bytes, limits: PictureLimits) -> CleanPicture:
    """Make the clean copy of a picture file (JPEG, PNG, WebP, or the first frame of a GIF).

    Raises:
        PictureTooLarge: more bytes or pixels than allowed, or decoding takes too much.
        PictureUnreadable: no such file, a damaged one, or one that crashes the decoder.
        InternalFault: the child could not be run or did not get a processor; another attempt may succeed.
    """
    if not data:
        raise PictureUnreadable("The file is empty.")
    if len(data) > limits.bytes:
        raise PictureTooLarge(too_many_bytes(limits.bytes))
    with _slots:
        status, answer = _run(data, limits)
    if status == 0:
        return _checked(answer, limits)
    raise _fault(status, answer, limits)


def too_many_bytes(limit: int) -> str:
    """The detail of a file that is too large."""
    size = f"{limit / 2**20:.4g} MiB" if limit >= 2**20 else f"{limit / 2**10:.4g} KiB"
    return f"The file has more than {size}: compress it or scale it down."


def _run(data: bytes, limits: PictureLimits) -> tuple[int, bytes]:
    """The child's exit status and output."""
    bounds = (limits.pixels, max(1, round(limits.seconds)), limits.memory)
    with ExitStack() as mine:
        with ExitStack() as its:
            try:
                source, feed = _pipe(its, mine)
                answer, sink = _pipe(mine, its)
                watch, watched = socket.socketpair()
                mine.enter_context(watch)
                its.enter_context(watched)
            except OSError as error:
                raise decoders.not_started(error) from error
            decoders.HOUSE.fork(bounds, source.fileno(), sink.fileno(), watched.fileno())
        status, output = _Exchange(data, feed, answer, watch, limits).result()
    if -status in _CRASHES:
        # Whoever sends one such file after another would learn what a process of its own start draws anew.
        decoders.HOUSE.retire()
    return status, output


def _pipe(reader: ExitStack, writer: ExitStack) -> tuple[FileIO, FileIO]:
    reading, writing = os.pipe()
    return reader.enter_context(FileIO(reading)), writer.enter_context(FileIO(writing, "w"))


class _Exchange:
    """Feeds a child, and takes what it gives until it has ended."""

    def __init__(
        self, data: bytes, feed: FileIO, answer: FileIO, watch: socket.socket, limits: PictureLimits
    ) -> None:
        self._left, self._feed, self._answer, self._watch = memoryview(data), feed, answer, watch
        self._output = bytearray()
        self._most = 4 * limits.pixels + 2**20  # a PNG of noise needs 3 bytes a pixel and a little
        self._deadline = time.monotonic() + limits.wall_seconds
        for pipe in (feed, answer):
            os.set_blocking(pipe.fileno(), False)

    def result(self) -> tuple[int, bytes]:
        """Exit status and output. Whoever leaves closes `watch`, and so ends a child that lives.

        Raises:
            PictureUnreadable: it writes without end.
            InternalFault: it was not begun, went with its parent, or did not end in time.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(self._feed, selectors.EVENT_WRITE, self._write)
            selector.register(self._answer, selectors.EVENT_READ, self._read)
            selector.register(self._watch, selectors.EVENT_READ)
            while True:
                events = selector.select(max(self._deadline - time.monotonic(), 0))
                if not events:
                    self._give_up()
                if any(key.fileobj is self._watch for key, _ in events):
                    break
                for key, _ in events:
                    if not key.data():
                        selector.unregister(key.fileobj)
        while self._read():  # what it wrote last; a child of its own may still hold the other end
            pass
        if not (status := self._watch.recv(STATUS.size)):
            raise InternalFault("The decoder could not be started, or went with all others")
        return STATUS.unpack(status)[0], bytes(self._output)

    def _write(self) -> bool:
        """Feed it some more; False when there is no more, or it takes no more."""
        with suppress(BrokenPipeError):
            self._left = self._left[self._feed.write(self._left) or 0 :]
            if self._left:
                return True
        self._feed.close()
        return False

    def _read(self) -> bool:
        """Take what is there; False when there is nothing."""
        part = self._answer.read(2**16)
        self._output += part or b""
        if len(self._output) > self._most:
            raise PictureUnreadable("The picture cannot be read: its decoder does not end.")
        return bool(part)

    def _give_up(self) -> NoReturn:
        """Have it killed; where nobody does that, nobody can be asked for another one either."""
        self._watch.shutdown(socket.SHUT_WR)
        self._watch.settimeout(_LAST_SECONDS)
        try:
            self._watch.recv(STATUS.size)
        except OSError:
            decoders.HOUSE.end()
        raise InternalFault("Decoding the picture did not end in time")


def _checked(png: bytes, limits: PictureLimits) -> CleanPicture:
    """The child is not trusted: only a PNG's header (PNG, 11.2.2) of a fitting size passes."""
    width, height = (int.from_bytes(png[start : start + 4]) for start in (16, 20))
    fits = png.startswith(_PNG_SIGNATURE) and 0 < width * height <= limits.pixels
    if not fits:
        raise PictureUnreadable("The picture cannot be read: its decoder gave back something else.")
    return CleanPicture(png, hashlib.sha256(png).hexdigest(), width, height)


def _fault(status: int, answer: bytes, limits: PictureLimits) -> Fault:
    if status == _FAULT_STATUS:
        with suppress(ValueError, KeyError, TypeError):
            said = json.loads(answer)
            kind = {"too_large": PictureTooLarge, "unreadable": PictureUnreadable}[said["fault"]]
            return kind(str(said["detail"])[:500])
    if status == -signal.SIGXCPU:
        return PictureTooLarge(
            f"Decoding the picture takes more than {limits.seconds:g} s of CPU time: scale it down."
        )
    if -status in _SENT_AWAY:
        return InternalFault(f"The decoder was ended by {signal.Signals(-status).name}")
    return PictureUnreadable("The picture cannot be read: its decoder crashed on it.")
