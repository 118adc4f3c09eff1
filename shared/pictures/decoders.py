"""Decoder processes, each for one picture; their parent is a process of its own, `forkserver.py`."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path

from shared.errors import InternalFault
from shared.pictures.forkserver import LIMITS

_SERVER, _CHILD = (Path(__file__).with_name(name) for name in ("forkserver.py", "child.py"))
#: What the dynamic loader may need to find Python's own library.
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")


class Decoders:
    """Where decoders come from; safe to share between threads.

    The process that they are forked from is begun when it is needed first, and again when it has ended.
    """

    def __init__(self) -> None:
        self._one_asks = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(
        self, pixels: int, seconds: int, memory: int, picture: socket.socket, watch: socket.socket
    ) -> None:
        """Ask for a decoder. Where none begins, both sockets are closed on its side.

        Args:
            pixels: width times height that it decodes at most.
            seconds: of CPU that it has.
            memory: bytes of address space that it has.
            picture: its standard input and output.
            watch: where its exit status is told (`forkserver.STATUS`), and it is ended by.

        Raises:
            InternalFault: there is no process to ask.
        """
        message = LIMITS.pack(pixels, seconds, memory)
        with self._one_asks:
            if self._control is None or self._process is None or self._process.poll() is not None:
                self.close()
                self._process, self._control = _begun()
            try:
                socket.send_fds(self._control, [message], [picture.fileno(), watch.fileno()])
            except OSError as error:
                raise _not_started(error) from error

    def close(self) -> None:
        """End the process, and every decoder."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
        self._process = self._control = None

    def forget(self) -> None:
        """In a fork of the process that they belong to: those are the other's."""
        if self._control is not None:
            self._control.close()
        self._one_asks, self._process, self._control = threading.Lock(), None, None


HOUSE = Decoders()
"""Those of this process."""

os.register_at_fork(after_in_child=HOUSE.forget)


def _begun() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    control, its = socket.socketpair()
    with its:
        try:
            process = subprocess.Popen(  # noqa: S603 - our own program
                _command(),
                stdin=its.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={name: os.environ[name] for name in _KEPT_ENVIRONMENT if name in os.environ},
                cwd="/",
                start_new_session=True,  # a Ctrl-C meant for the worker is the worker's to handle
            )
        except OSError as error:
            control.close()
            raise _not_started(error) from error
    return process, control


def _not_started(error: OSError) -> InternalFault:
    return InternalFault(f"The decoder could not be started: {error.strerror}")


@cache
def _libraries() -> str:
    """Where Pillow is installed, found without importing it."""
    spec = importlib.util.find_spec("PIL")
    if spec is None or spec.origin is None:
        raise InternalFault("Pillow is not installed")
    return str(Path(spec.origin).parent.parent)


def _command() -> list[str]:
    """`-I -S`: no environment, no site packages but Pillow's folder, which the program is told."""
    flags = ["-I", "-S", "-B", "-W", "ignore", "-X", "utf8"]
    return [sys.executable, *flags, str(_SERVER), str(_CHILD), _libraries()]
