"""Taking a connection from gunicorn.

Gunicorn puts the socket into the request's environment. It is duplicated, and the descriptor that gunicorn
has is made another thing: one end of a pair whose other end is closed. To gunicorn that looks as if the
caller had gone: it cannot write (EPIPE, which it passes over), cannot shut the connection down, closes its
descriptor and counts one connection less. So neither its worker class nor anything inside it has to be
changed; what is relied on is the key `gunicorn.socket`, and that nothing is written before the application's
first piece.
"""

import os
import socket
import ssl
from collections.abc import Mapping
from functools import cache
from typing import Any

from api.waiting.connections import duplicate

KEY = "gunicorn.socket"
_VERSIONS = ("HTTP/1.0", "HTTP/1.1")


def can_be_taken(environ: Mapping[str, Any]) -> bool:
    """Whether the connection of a request is there to be taken: plain HTTP/1.x under gunicorn."""
    sock = environ.get(KEY)
    return (
        isinstance(sock, socket.socket)
        and not isinstance(sock, ssl.SSLSocket)
        and environ.get("HTTP_VERSION") != "2"
        and environ.get("SERVER_PROTOCOL") in _VERSIONS
    )


def take(environ: Mapping[str, Any]) -> socket.socket:
    """The connection of a request that `can_be_taken`; the server is left with a dead one.

    Raises:
        OSError: there is no descriptor left, or the connection is gone; the server has it still.
    """
    theirs: socket.socket = environ[KEY]
    dead = _dead()
    ours = duplicate(theirs)
    os.dup2(dead.fileno(), theirs.fileno(), inheritable=False)
    return ours


@cache
def _dead() -> socket.socket:
    """A socket to which nothing can be written, since its other end is closed."""
    end, other = socket.socketpair()
    other.close()
    return end
