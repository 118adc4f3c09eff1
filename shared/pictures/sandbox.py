"""Strangers' picture files made into clean copies, by a child process that may die of them.

This side never decodes: it starts `child.py`, feeds it the file, takes what comes back within bounds of time
and size, and says what went wrong in words that help. The parent's own Pillow is never imported.
"""

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from shared.errors import Fault, InternalFault, PictureTooLarge, PictureUnreadable
from shared.settings import Settings

_CHILD = Path(__file__).with_name("child.py")
_FAULT_STATUS = 3
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Children at a time in one process: each may take `PictureLimits.memory`.
_SLOTS = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
#: Ends that say something about the machine or its operator, not about the picture.
_SENT_AWAY = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL)
#: What the dynamic loader may need to find Python's own library.
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")


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
    try:
        child = subprocess.Popen(  # noqa: S603 - our own program
            _command(limits),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
            cwd="/",
            start_new_session=True,  # a Ctrl-C meant for the worker is the worker's to handle
        )
    except OSError as error:
        raise InternalFault(f"The decoder could not be started: {error.strerror}") from error
    overdue = threading.Event()

    def end() -> None:
        overdue.set()
        child.kill()

    timer = threading.Timer(limits.wall_seconds, end)
    feeder = threading.Thread(target=_feed, args=(child, data), daemon=True)
    with child:
        timer.start()
        feeder.start()
        try:
            assert child.stdout is not None  # noqa: S101 - it is a pipe
            answer = child.stdout.read(most + 1)
            if len(answer) > most:
                raise PictureUnreadable("The picture cannot be read: its decoder does not end.")
            child.wait()
        finally:
            timer.cancel()
            child.kill()
            feeder.join()
    if overdue.is_set():
        raise InternalFault("Decoding the picture did not end in time")
    return child.returncode, answer


@cache
def _libraries() -> str:
    """Where Pillow is installed, found without importing it."""
    spec = importlib.util.find_spec("PIL")
    if spec is None or spec.origin is None:
        raise InternalFault("Pillow is not installed")
    return str(Path(spec.origin).parent.parent)


def _command(limits: PictureLimits) -> list[str]:
    """`-I -S`: no environment, no site packages but Pillow's folder, which the program is told."""
    arguments = [limits.pixels, max(1, round(limits.seconds)), limits.memory]
    flags = ["-I", "-S", "-B", "-W", "ignore", "-X", "utf8"]
    return [sys.executable, *flags, str(_CHILD), _libraries(), *map(str, arguments)]


def _feed(child: "subprocess.Popen[bytes]", data: bytes) -> None:
    assert child.stdin is not None  # noqa: S101 - it is a pipe
    with suppress(OSError):  # the child may end before it has read everything
        child.stdin.write(data)
    with suppress(OSError):
        child.stdin.close()


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
