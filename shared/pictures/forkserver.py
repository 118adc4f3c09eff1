"""The process that decoders are forked from: the program `child.py`, loaded once and run in a fork a picture.

To start Python and to import Pillow takes longer than to decode most pictures. This process does both and
then nothing but fork, so that no picture finds anything of another. It knows nothing of the service, as the
decoder does, and is started without its environment. What all decoders have in common is where things lie in
memory, which a process of its own start would draw anew.

Standard input is a socket, each message of which asks for one decoder: `LIMITS`, and two descriptors. The
first is the decoder's standard input and output. On the other its exit status is told, as `STATUS`; when
the asking end of it is closed before that, the decoder is killed. Ends when the socket does.
"""

import gc
import os
import selectors
import signal
import socket
import struct
import sys
from collections.abc import Callable
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
        for source, handle in ((control, self._fork), (self._woken, self._reap)):
            self._selector.register(source, selectors.EVENT_READ, handle)

    def serve(self) -> None:
        """Until the asking side is gone; whatever still decodes is killed then."""
        try:
            while True:
                for key, _ in self._selector.select():
                    key.data()
        except EOFError:
            for pid in self._watches:
                os.kill(pid, signal.SIGKILL)

    def _fork(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, LIMITS.size, 2, socket.MSG_WAITALL)
        if len(message) < LIMITS.size or len(descriptors) < 2:
            raise EOFError
        picture, watch = descriptors
        try:
            pid = os.fork()
        except OSError:  # no room for a process: whoever asked sees that both are closed
            os.close(watch)
        else:
            if pid == 0:
                self._become(picture, LIMITS.unpack(message))
            self._watches[pid] = socket.socket(fileno=watch)
            self._selector.register(watch, selectors.EVENT_READ, partial(self._abandon, pid))
        os.close(picture)

    def _become(self, picture: int, limits: tuple[int, int, int]) -> NoReturn:
        """What a fork is from here on; nothing of this process is open in it."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.dup2(picture, 0)
            os.dup2(picture, 1)
            os.closerange(3, _DESCRIPTORS)
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
    Forkserver(socket.socket(fileno=0), decoder.main).serve()


if __name__ == "__main__":
    main()
