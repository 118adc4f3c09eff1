"""Rules for the fault proxy before an S3 server: they know one request from another.

Each picks requests by method and key, such as `puts("outputs/")`, and leaves the others alone. A request's
first chunk begins with its request line; what follows on the connection belongs to it until the next one.
"""

import threading
from collections.abc import Callable
from contextlib import suppress

from tests.support.proxy import Connection, Fate, Way

Wanted = Callable[[bytes], bool]


def requests(method: str, folder: str) -> Wanted:
    """Those of a method to objects in a folder, such as ("PUT", "outputs/")."""
    start, within = f"{method} /".encode(), f"/{folder}".encode()
    return lambda chunk: chunk.startswith(start) and within in chunk.partition(b"\r\n")[0]


def puts(*folders: str) -> Wanted:
    """Requests that store an object in one of these folders."""
    picked = [requests("PUT", folder) for folder in folders]
    return lambda chunk: any(one(chunk) for one in picked)


def gets(folder: str) -> Wanted:
    """Requests that read an object of a folder."""
    return requests("GET", folder)


class Answering:
    """Answers requests in the server's place, so many times; the server never hears of them.

    Attributes:
        times: how many are still to be answered.
    """

    def __init__(self, wanted: Wanted, status: int, times: int) -> None:
        self.times = times
        self._wanted = wanted
        self._answer = (
            f"HTTP/1.1 {status} Answered\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode()
        )
        self._answered: set[Connection] = set()
        self._guard = threading.Lock()

    def __call__(self, connection: Connection, way: Way, chunk: bytes) -> Fate:
        if way is Way.ANSWERED:
            return Fate.PASS
        with self._guard:
            if connection in self._answered:
                return Fate.DROP
            if not (self.times and self._wanted(chunk)):
                return Fate.PASS
            self.times -= 1
            self._answered.add(connection)
        with suppress(OSError):
            connection.client.sendall(self._answer)
        return Fate.DROP


class Holding:
    """Requests hang from their first byte on, until the rule is another.

    Attributes:
        held: set once one hangs.
    """

    def __init__(self, wanted: Wanted) -> None:
        self.held = threading.Event()
        self._wanted = wanted

    def __call__(self, connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG002
        if way is Way.ASKED and self._wanted(chunk):
            self.held.set()
            return Fate.HOLD
        return Fate.PASS


class Resetting:
    """Connections are reset once a request's head has gone through and its body is to follow, so many times.

    Attributes:
        times: how many are still to be reset.
    """

    def __init__(self, wanted: Wanted, times: int) -> None:
        self.times = times
        self._wanted = wanted
        self._begun: set[Connection] = set()
        self._guard = threading.Lock()

    def __call__(self, connection: Connection, way: Way, chunk: bytes) -> Fate:
        if way is Way.ANSWERED:
            return Fate.PASS
        with self._guard:
            if connection in self._begun:
                return Fate.CUT
            if self.times and self._wanted(chunk):
                self.times -= 1
                if chunk.partition(b"\r\n\r\n")[2]:  # the body has come with it
                    return Fate.CUT
                self._begun.add(connection)
        return Fate.PASS
