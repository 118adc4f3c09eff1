"""Ports for the processes of one machine."""

import errno
import secrets
import socket
from contextlib import suppress

#: Below what Linux (32768), macOS and Windows (49152) give out of themselves.
_PORTS = range(10_240, 32_768)
#: Until something else than a taken port must be wrong.
_TRIES = 200
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nothing listens on now, below those that systems give out of themselves.

    One that the system gives out may be another's connection or listener before whoever asked for it listens.
    None is given twice.

    Raises:
        OSError: so many in a row were taken that something else must be wrong.
    """
    for _ in range(_TRIES):
        port = secrets.choice(_PORTS)
        if port in _given:
            continue
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            _given.add(port)
            return port
    raise OSError(errno.EADDRINUSE, f"none of {_TRIES} ports is free")
