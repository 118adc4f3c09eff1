"""The process that decoders are forked from: the program `child.py`, loaded once and run in a fork a picture.

To start Python and to import Pillow takes longer than to decode most pictures. This process does both and
then nothing but fork, so that no picture finds anything of another. It knows nothing of the service, as the
decoder does, and is started without its environment.

Standard input is a socket, each message of which asks for one decoder: `LIMITS`, and three descriptors. The
first two are the decoder's standard input and output, pipes, through which nothing but bytes can come. On the
third, a socket, its exit status is told, as `STATUS`; when its other end writes no more before that, the
decoder is killed. When standard input ends, no more are begun; those that are there may end.
"""

import ctypes
import gc
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib.machinery import SourceFileLoader
from types import ModuleType
from typing import NoReturn

#: Most pixels, seconds of CPU, bytes of memory.
LIMITS = struct.Struct("!QQQ")
#: As `subprocess` has it: the negated number of the signal that ended it.
STATUS = struct.Struct("!i")

Decode = Callable[[int, int, int], int]
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
_PDEATHSIG = 1  # prctl(2)
#: More descriptors than there can be here: a few, and one for each decoder.
_DESCRIPTORS = 1024


class Forkserver:
    """See above.

    Args:
        control: where messages come from.
        decode: what a fork does: takes the limits, and returns its exit status.
    """

    def __init__(self, control: socket.socket, decode: Decode) -> None:
        self._control, self._decode = control, decode
        self._watches: dict[int, socket.socket] = {}
        self._woken, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        self._selector = selectors.DefaultSelector()
        for source, handle in ((control, self._ask), (self._woken, self._reap)):
            self._selector.register(source, selectors.EVENT_READ, handle)
        self._asked = True

    def serve(self) -> None:
        """Until nobody can ask any more, and every decoder has ended."""
        while self._asked or self._watches:
            for key, _ in self._selector.select():
                key.data()

    def _ask(self) -> None:
        """One message. One whose descriptors found no room here is answered by closing those that did."""
        message, descriptors, _, _ = socket.recv_fds(self._control, LIMITS.size, 3, socket.MSG_WAITALL)
        try:
            if not message:
                self._selector.unregister(self._control)
                self._asked = False
            elif len(message) == LIMITS.size and len(descriptors) == 3:
                self._fork(descriptors, LIMITS.unpack(message))
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def _fork(self, descriptors: Sequence[int], limits: tuple[int, int, int]) -> None:
        *pipes, watch = descriptors
        with suppress(OSError):  # no room for a process: whoever asked sees that all are closed
            own = socket.socket(fileno=os.dup(watch))
            try:
                pid = os.fork()
            except OSError:
                own.close()
                raise
            if pid == 0:
                self._become(pipes, limits)
            self._watches[pid] = own
            self._selector.register(own, selectors.EVENT_READ, partial(self._abandon, pid))

    def _become(self, pipes: Sequence[int], limits: tuple[int, int, int]) -> NoReturn:
        """What a fork is from here on; nothing of this process is open in it."""
        status = 1
        try:
            parent = os.getppid()
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for standard, descriptor in enumerate(pipes):
                os.dup2(descriptor, standard)
            os.closerange(3, _DESCRIPTORS)
            if _LIBC is not None:  # no decoder outlives this process
                _LIBC.prctl(_PDEATHSIG, signal.SIGKILL)
            if os.getppid() == parent:
                status = self._decode(*limits)
        finally:
            os._exit(status)

    def _abandon(self, pid: int) -> None:
        """Nobody waits for this one any more. Until it has been reaped its number is given to no other."""
        if pid in self._watches:
            os.kill(pid, signal.SIGKILL)
            self._selector.unregister(self._watches[pid])

    def _reap(self) -> None:
        os.read(self._woken, 4096)
        while self._watches:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:
                return
            with self._watches.pop(pid) as watch:
                with suppress(KeyError):
                    self._selector.unregister(watch)
                with suppress(OSError):  # nobody may listen any more
                    watch.send(STATUS.pack(os.waitstatus_to_exitcode(status)))


def main() -> None:
    """Arguments: the decoder's program, whose `main` takes the limits; folder that Pillow is in."""
    program, libraries = sys.argv[1:]
    sys.path.append(libraries)  # `-S` has kept Python from looking for it
    loader = SourceFileLoader("decoder", program)
    decoder = ModuleType(loader.name)
    decoder.__file__ = program
    loader.exec_module(decoder)
    gc.freeze()  # what is loaded stays, and shared with every fork
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # whoever began this may have blocked some
    Forkserver(socket.socket(fileno=0), decoder.main).serve()


if __name__ == "__main__":
    main()
