"""Decoder processes, each for one picture; their parent is a process of its own, `forkserver.py`."""

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from functools import cache
from pathlib import Path

from shared.errors import InternalFault
from shared.pictures.forkserver import LIMITS

_SERVER, _CHILD = (Path(__file__).with_name(name) for name in ("forkserver.py", "child.py"))
#: What the dynamic loader may need to find Python's own library.
_KEPT_ENVIRONMENT = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "DYLD_FALLBACK_LIBRARY_PATH")
#: Seconds that a process may take to take a message, or to see that there are no more.
_PATIENCE = 5.0


class Decoders:
    """Where decoders come from; safe to share between threads.

    The process that they are forked from is begun when it is needed first, and again when it has ended.
    """

    def __init__(self) -> None:
        self._one_asks = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._former: list[subprocess.Popen[bytes]] = []

    def fork(self, limits: tuple[int, int, int], source: int, sink: int, watch: int) -> None:
        """Ask for a decoder. Where none begins, the descriptors are closed on its side.

        Args:
            limits: pixels (width times height), seconds of CPU, and bytes of address space.
            source: its standard input.
            sink: its standard output.
            watch: where its exit status is told (`forkserver.STATUS`), and it is ended by.

        Raises:
            InternalFault: there is no process to ask.
        """
        with self._one_asks:
            self._former = [process for process in self._former if process.poll() is None]
            for last in (False, True):
                if self._control is None or self._process is None or self._process.poll() is not None:
                    self._end(self._process)
                    self._process, self._control = _begun()
                try:
                    socket.send_fds(self._control, [LIMITS.pack(*limits)], [source, sink, watch])
                except OSError as error:  # it ended just now, or does not listen
                    self._end(self._process)
                    if last:
                        raise not_started(error) from error
                else:
                    return

    def retire(self) -> None:
        """Let the next decoder come from a new process; those that are there may end."""
        with self._one_asks:
            if self._control is not None:
                self._control.close()
            self._former += [self._process] if self._process else []
            self._process = self._control = None

    def end(self) -> None:
        """End the process and every decoder, for one that does not answer."""
        with self._one_asks:
            self._end(self._process)

    def close(self) -> None:
        """Wait until the decoders have ended that nobody waits for, and the process with them."""
        self.retire()
        with self._one_asks:
            for process in self._former:
                with suppress(subprocess.TimeoutExpired):
                    process.wait(_PATIENCE)
                self._end(process)
            self._former.clear()

    def forget(self) -> None:
        """In a fork of the process that they belong to: those are the other's."""
        if self._control is not None:
            self._control.close()
        self._one_asks, self._process, self._control, self._former = threading.Lock(), None, None, []

    def _end(self, process: "subprocess.Popen[bytes] | None") -> None:
        if process is not None:
            process.kill()
            process.wait()
        if process is self._process:
            if self._control is not None:
                self._control.close()
            self._process = self._control = None


HOUSE = Decoders()
"""Those of this process."""

os.register_at_fork(after_in_child=HOUSE.forget)


def _begun() -> tuple["subprocess.Popen[bytes]", socket.socket]:
    try:
        control, its = socket.socketpair()
    except OSError as error:
        raise not_started(error) from error
    control.settimeout(_PATIENCE)
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
            raise not_started(error) from error
    return process, control


def not_started(error: OSError) -> InternalFault:
    """A decoder was asked for in vain; another attempt may succeed."""
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
