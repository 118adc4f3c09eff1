"""Strangers' picture files made into clean copies, each by a child process that may die of it.

This side never decodes: it has a child forked (`forkserver.py`) that runs `child.py`, feeds it the file,
takes what comes back within bounds of time and size, and says what went wrong in words that help. This
process' own Pillow is never imported.
"""

import hashlib
import json
import os
import signal
import socket
import threading
from contextlib import suppress
from dataclasses import dataclass

from shared.errors import Fault, InternalFault, PictureTooLarge, PictureUnreadable
from shared.pictures import decoders
from shared.pictures.forkserver import STATUS
from shared.settings import Settings

_FAULT_STATUS = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Children at a time in one process: each may take `PictureLimits.memory`.
_SLOTS = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
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
    with _SLOTS:
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
    most = 4 * limits.pixels + 2**20  # a PNG of noise needs 3 bytes a pixel and a little
    (mine, its), (watch, watched) = socket.socketpair(), socket.socketpair()
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        _hang_up(watch)
        _hang_up(mine)

    timer = threading.Timer(limits.wall_seconds, end)
    feeder = threading.Thread(target=_feed, args=(mine, data), daemon=True)
    with mine, watch:
        with its, watched:
            decoders.HOUSE.fork(limits.pixels, max(1, round(limits.seconds)), limits.memory, its, watched)
        timer.start()
        feeder.start()
        try:
            answer = _read(mine, most)
            if len(answer) > most:
                raise PictureUnreadable("The picture cannot be read: its decoder does not end.")
            status = watch.recv(STATUS.size)
        finally:
            timer.cancel()
            _hang_up(watch)
            _hang_up(mine)
            feeder.join()
    if overdue.is_set():
        raise InternalFault("Decoding the picture did not end in time")
    if not status:
        raise InternalFault("The decoder could not be started, or went with all others")
    return STATUS.unpack(status)[0], answer


def _read(source: socket.socket, most: int) -> bytes:
    """All that comes, or a little more than `most`."""
    answer = bytearray()
    with suppress(ConnectionError):  # the child may end before it has read everything
        while len(answer) <= most and (part := source.recv(2**16)):
            answer += part
    return bytes(answer)


def _hang_up(one: socket.socket) -> None:
    with suppress(OSError):  # the other side may have done so
        one.shutdown(socket.SHUT_RDWR)


def _feed(child: socket.socket, data: bytes) -> None:
    with suppress(OSError):  # the child may end before it has read everything
        child.sendall(data)
        child.shutdown(socket.SHUT_WR)


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
