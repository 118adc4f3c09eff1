"""The sockets of callers that wait: one thread writes to all of them and notices who has gone.

A caller that reads too slowly is dropped: what is kept for one is bounded in bytes and in time. A caller that
closes its half of the connection counts as gone. Bytes that come in, such as a request sent behind the one
that waits, are thrown away: every answer says `Connection: close`, so its sender knows that it was not heard
(RFC 9112, section 9.6).
"""

import logging
import os
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate

from api.waiting.sinks import Headers, status_line

log = logging.getLogger(__name__)

#: Sent on a stream so often, so that what is between keeps the connection and a caller that is gone is found.
COMMENT = b":\n\n"
COMMENT_SECONDS = 15.0
#: What may wait to be written to one caller, and for how long nothing of it may go.
MOST_BYTES, MOST_SECONDS = 1024 * 1024, 30.0
#: How long a caller may take to close its half once it was answered, and what it may send meanwhile.
LINGER_SECONDS, LINGER_BYTES = 2.0, 64 * 1024
_RECEIVED = 4096


class Connection:
    """One caller that waits; a `Sink`."""

    __slots__ = (
        "_connections",
        "_ended",
        "_version",
        "buffer",
        "ending",
        "received",
        "socket",
        "stream",
        "stuck_since",
    )

    def __init__(
        self, connections: "Connections", sock: socket.socket, version: str, *, stream: bool
    ) -> None:
        self._connections = connections
        self._version = version
        self.socket: socket.socket | None = sock
        self.stream = stream
        self.buffer: bytearray | None = None
        self.stuck_since = 0.0
        self.ending = self._ended = False
        self.received = 0

    @property
    def open(self) -> bool:
        """Whether somebody still listens."""
        return self.socket is not None and not self._ended

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer, whose end is the connection's."""
        lines = [
            f"{self._version} {status_line(status)}",
            "Server: gunicorn",
            f"Date: {formatdate(usegmt=True)}",
        ]
        lines += ["Connection: close", *(f"{name}: {value}" for name, value in headers)]
        self.send("\r\n".join([*lines, "", ""]).encode("latin-1"))

    def send(self, data: bytes) -> None:
        """A piece of its body."""
        self._connections.post(self, data)

    def end(self) -> None:
        """There is no more."""
        self._ended = True
        self._connections.post(self, None)


class Connections:
    """The thread, and the connections that it has.

    Args:
        on_tick: called by the thread about once a second.
    """

    def __init__(self, on_tick: Callable[[], None] = lambda: None) -> None:
        self._selector: selectors.BaseSelector
        self._wake_reader: socket.socket
        self._wake_writer: socket.socket
        self._inbox: deque[tuple[Connection, bytes | None]] = deque()
        self._woken = False
        self._all: set[Connection] = set()
        self._comments: deque[tuple[float, Connection]] = deque()
        self._lingering: deque[tuple[float, Connection]] = deque()
        self._stuck: set[Connection] = set()
        self._on_tick = on_tick
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connections", daemon=True)

    def __len__(self) -> int:
        """Callers that wait, and those whose answer is on its way."""
        return len(self._all)

    def start(self) -> None:
        """Begin, in a thread."""
        self._selector = selectors.DefaultSelector()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.settimeout(0)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._thread.start()

    def stop(self, seconds: float) -> None:
        """Give what was posted so long to get to its callers, then close every connection."""
        deadline = time.monotonic() + seconds
        while self._all and time.monotonic() < deadline:
            time.sleep(0.02)
        self._stopping.set()
        self._wake()
        self._thread.join(LINGER_SECONDS)

    def adopt(self, sock: socket.socket, version: str, *, stream: bool) -> Connection:
        """Take a connection over; it waits from now on.

        Args:
            sock: its socket, nobody else's any more.
            version: what to answer in, `HTTP/1.1` or `HTTP/1.0`.
            stream: whether it is sent comments while there is nothing else.
        """
        sock.settimeout(0)
        with suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux: who does not acknowledge a comment is gone
                milliseconds = round(1000 * MOST_SECONDS)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)
        connection = Connection(self, sock, version, stream=stream)
        self._all.add(connection)
        self.post(connection, b"")
        return connection

    def post(self, connection: Connection, data: bytes | None) -> None:
        """Have this written to a connection; None ends it."""
        self._inbox.append((connection, data))
        self._wake()

    def _wake(self) -> None:
        if not self._woken:
            self._woken = True
            with suppress(BlockingIOError):
                self._wake_writer.send(b"\0")

    def _run(self) -> None:
        ticked = time.monotonic()
        while not self._stopping.is_set():
            try:
                self._turn()
                if time.monotonic() - ticked >= 1.0:
                    ticked = time.monotonic()
                    self._on_tick()
            except Exception:
                log.exception("waiting callers: a turn failed")
        for connection in tuple(self._all):
            self._close(connection)
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _turn(self) -> None:
        """Wait for what happens next, at most a second, and see to it."""
        for key, events in self._selector.select(self._until_due()):
            if key.data is None:
                with suppress(BlockingIOError):
                    self._wake_reader.recv(_RECEIVED)
                continue
            if events & selectors.EVENT_WRITE:
                self._flush(key.data)
            if events & selectors.EVENT_READ:
                self._receive(key.data)
        self._woken = False
        for _ in range(len(self._inbox)):
            self._take(*self._inbox.popleft())
        if self._inbox:
            self._wake()
        self._see_to_what_is_due()

    def _until_due(self) -> float:
        now = time.monotonic()
        dues = [due[0][0] - now for due in (self._comments, self._lingering) if due]
        return max(0.0, min([1.0, *dues]))

    def _take(self, connection: Connection, data: bytes | None) -> None:
        """Something was posted."""
        sock = connection.socket
        if sock is None or connection.ending:
            return
        if data == b"":  # it was adopted
            self._selector.register(sock, selectors.EVENT_READ, connection)
            if connection.stream:
                self._comments.append((time.monotonic() + COMMENT_SECONDS, connection))
        elif data is None:
            connection.ending = True
            if not connection.buffer:
                self._linger(connection)
        else:
            self._write(connection, data)

    def _write(self, connection: Connection, data: bytes) -> None:
        if connection.buffer is None:
            connection.buffer = bytearray()
        connection.buffer += data
        if len(connection.buffer) > MOST_BYTES:
            self._close(connection)
        elif len(connection.buffer) == len(data):
            self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Write what the socket takes."""
        sock, buffer = connection.socket, connection.buffer
        if sock is None or not buffer:
            return
        try:
            sent = sock.send(buffer)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._close(connection)
            return
        if sent == len(buffer):
            connection.buffer = None
            if connection in self._stuck:
                self._stuck.discard(connection)
                self._selector.modify(sock, selectors.EVENT_READ, connection)
            if connection.ending:
                self._linger(connection)
            return
        del buffer[:sent]
        if sent or connection not in self._stuck:
            connection.stuck_since = time.monotonic()
        if connection not in self._stuck:
            self._stuck.add(connection)
            self._selector.modify(sock, selectors.EVENT_READ | selectors.EVENT_WRITE, connection)

    def _receive(self, connection: Connection) -> None:
        """Nothing that comes is of interest, but for its end."""
        sock = connection.socket
        if sock is None:
            return
        try:
            data = sock.recv(_RECEIVED)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        connection.received += len(data)
        if not data or connection.received > LINGER_BYTES:
            self._close(connection)

    def _linger(self, connection: Connection) -> None:
        """All is written. Closing now could reset the connection before it is read, if bytes came behind."""
        sock = connection.socket
        if sock is None:
            return
        try:
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            self._close(connection)
            return
        self._lingering.append((time.monotonic() + LINGER_SECONDS, connection))

    def _close(self, connection: Connection) -> None:
        sock, connection.socket = connection.socket, None
        connection.buffer = None
        self._all.discard(connection)
        self._stuck.discard(connection)
        if sock is not None:
            with suppress(KeyError, ValueError):
                self._selector.unregister(sock)
            with suppress(OSError):
                sock.close()

    def _see_to_what_is_due(self) -> None:
        now = time.monotonic()
        while self._lingering and self._lingering[0][0] <= now:
            self._close(self._lingering.popleft()[1])
        while self._comments and self._comments[0][0] <= now:
            _, connection = self._comments.popleft()
            if connection.open:
                if not connection.buffer:
                    self._write(connection, COMMENT)
                self._comments.append((now + COMMENT_SECONDS, connection))
        for connection in [one for one in self._stuck if now - one.stuck_since > MOST_SECONDS]:
            self._close(connection)


def duplicate(sock: socket.socket) -> socket.socket:
    """Another socket object of the same connection."""
    return socket.socket(sock.family, sock.type, sock.proto, fileno=os.dup(sock.fileno()))
