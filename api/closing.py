"""Closing connections whose callers may still send: gunicorn waits for each where it accepts all of them."""

import socket
import threading
from collections.abc import Callable
from contextlib import suppress

#: Connections that are waited for at a time; more are closed at once, and may lose the end of their answer.
AT_A_TIME = 64


class Closer:
    """Closes at once where the caller has gone, and else in a thread of its own.

    Args:
        linger: closes a connection once its caller has, or after some seconds (RFC 9112, section 9.6).
    """

    def __init__(self, linger: Callable[[socket.socket], None]) -> None:
        self._linger = linger
        self._room = threading.BoundedSemaphore(AT_A_TIME)

    def __call__(self, connection: socket.socket) -> None:
        """Close a connection; does not wait."""
        if _has_gone(connection) or not self._room.acquire(blocking=False):
            with suppress(OSError):
                connection.close()
            return
        threading.Thread(target=self._wait, args=(connection,), name="closing", daemon=True).start()

    def _wait(self, connection: socket.socket) -> None:
        try:
            self._linger(connection)
        finally:
            self._room.release()


def _has_gone(connection: socket.socket) -> bool:
    """Tell the caller that nothing more comes; whether it has told the same."""
    try:
        connection.shutdown(socket.SHUT_WR)
        connection.settimeout(0)
        return not connection.recv(1)
    except BlockingIOError:
        return False
    except OSError:
        return True
