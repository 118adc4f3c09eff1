"""A TCP proxy that misbehaves: latency, cut connections, black holes, between any two processes on loopback.

What happens to the bytes is decided by a rule that can be changed while connections are open:

    with FaultProxy(valkey.port) as proxy:
        ... processes use proxy.url("redis", "/0") ...
        proxy.rule = black_hole        # nothing passes, nothing is closed
        proxy.cut_all()                # every open connection is reset
        proxy.rule = pass_on           # healed

A rule sees each chunk in its own thread of its own connection, so it may wait. Rules with a memory (a count
of bytes, a random generator) are shared by all connections and guard themselves.
"""

import random
import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from enum import Enum
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024
CONNECT_SECONDS = 5.0


class Way(Enum):
    """Which way a chunk goes."""

    ASKED = "from the client to the server"
    ANSWERED = "from the server to the client"


class Fate(Enum):
    """What becomes of a chunk."""

    PASS = "goes on"
    HOLD = "waits until the rule is another, and is judged again"
    CUT = "is lost, and its connection is reset"
    DROP = "is lost, and its connection stays"


Rule = Callable[["Connection", Way, bytes], Fate]


class Connection:
    """One client's connection and the one made for it to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client, self.server = client, server
        self.closed = threading.Event()

    def reset(self) -> None:
        """Close both at once, without a farewell."""
        self.closed.set()
        for end in (self.client, self.server):
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            # A thread may be reading from it: the reset goes out when it is shut down, not when it is closed.
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()


class FaultProxy:
    """Listens on a free loopback port and passes on to another. Use it as a context manager.

    Attributes:
        port: where clients connect.
        accepting: set it to False to reset every new connection at once.
    """

    def __init__(self, target: int) -> None:
        self.accepting = True
        self._target = ("127.0.0.1", target)
        self._rule: Rule = pass_on
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._connections: set[Connection] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, name="fault-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self.rule = pass_on
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(10)
        self.cut_all()

    def url(self, scheme: str, path: str = "") -> str:
        """The address that a client is given."""
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    @property
    def rule(self) -> Rule:
        """What decides of each chunk; `pass_on` at first."""
        return self._rule

    @rule.setter
    def rule(self, rule: Rule) -> None:
        with self._changed:
            self._rule = rule
            self._changed.notify_all()

    @property
    def connections(self) -> int:
        """How many are open."""
        with self._lock:
            return len(self._connections)

    def cut_all(self) -> None:
        """Reset every connection that is open now."""
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            self._end(connection)

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._open, args=(client,), daemon=True).start()

    def _open(self, client: socket.socket) -> None:
        try:
            server = socket.create_connection(self._target, CONNECT_SECONDS)
        except OSError:
            server = socket.socket()
            Connection(client, server).reset()
            return
        server.settimeout(None)
        connection = Connection(client, server)
        if not self.accepting:
            connection.reset()
            return
        for end in (client, server):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._connections.add(connection)
        if self._closing.is_set():  # all that were known by then have been cut
            self._end(connection)
            return
        ways = ((Way.ASKED, client, server), (Way.ANSWERED, server, client))
        for way, source, sink in ways:
            threading.Thread(target=self._pump, args=(connection, way, source, sink), daemon=True).start()

    def _pump(self, connection: Connection, way: Way, source: socket.socket, sink: socket.socket) -> None:
        try:
            while chunk := source.recv(CHUNK):
                fate = self._fate(connection, way, chunk)
                if fate is Fate.CUT:
                    break
                if fate is Fate.PASS:
                    sink.sendall(chunk)
            else:
                # One side has said all it has to say; the other may go on.
                sink.shutdown(socket.SHUT_WR)
                return
        except OSError:
            pass
        self._end(connection)

    def _fate(self, connection: Connection, way: Way, chunk: bytes) -> Fate:
        """What becomes of a chunk in the end."""
        while True:
            rule = self._rule
            fate = rule(connection, way, chunk)
            if fate is not Fate.HOLD:
                return fate
            with self._changed:
                while self._rule is rule and not connection.closed.is_set():
                    self._changed.wait()
            if connection.closed.is_set():
                return Fate.CUT

    def _end(self, connection: Connection) -> None:
        with self._lock:
            self._connections.discard(connection)
        connection.reset()
        with self._changed:
            self._changed.notify_all()


def pass_on(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
    """As if there were no proxy."""
    return Fate.PASS


def black_hole(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
    """Nothing arrives and nothing is closed, until the rule is another: then it arrives late."""
    return Fate.HOLD


def cut(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
    """Whoever says anything is cut off."""
    return Fate.CUT


def delayed(seconds: float, jitter: float = 0.0, seed: int = 0) -> Rule:
    """Each chunk arrives so much later, and up to `jitter` seconds more."""
    generator, guard = random.Random(seed), threading.Lock()

    def rule(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
        with guard:
            extra = generator.uniform(0, jitter)
        connection.closed.wait(seconds + extra)
        return Fate.PASS

    return rule


def cut_after(size: int, way: Way) -> Rule:
    """So many bytes go on that way, over all connections; whoever sends the next is cut off, each time."""
    left, guard = size, threading.Lock()

    def rule(connection: Connection, going: Way, chunk: bytes) -> Fate:  # noqa: ARG001
        nonlocal left
        if going is not way:
            return Fate.PASS
        with guard:
            left -= len(chunk)
            return Fate.PASS if left >= 0 else Fate.CUT

    return rule


def cut_when(wanted: Callable[[Way, bytes], bool], times: int = 1) -> Rule:
    """Cut the connections on which such chunks appear, so many times."""
    left, guard = times, threading.Lock()

    def rule(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
        nonlocal left
        with guard:
            if left and wanted(way, chunk):
                left -= 1
                return Fate.CUT
        return Fate.PASS

    return rule
