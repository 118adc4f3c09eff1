"""Requests sent to a server over connections that stay open, by processes that do little else.

Each connection sends one request after the other: the next one when the answer to the last is there. A
process serves several connections from one loop on raw sockets, so that what sends costs a small part of what
answers; `Loaded.sender_seconds` says how much.
"""

import itertools
import json
import multiprocessing
import resource
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass

#: Connections that one process serves.
CONNECTIONS = 16
#: Answers that one process waits for at least, however long that takes: there are no percentiles of fewer.
LEAST = 2
#: Statuses that are no mistake.
FINE = (b"200", b"202", b"304")


@dataclass(frozen=True)
class Loaded:
    """What came of sending for a while.

    Attributes:
        seconds: for how long answers were counted.
        latencies: seconds from each request to its whole answer.
        sender_seconds: processor time of the sending processes.
    """

    seconds: float
    latencies: list[float]
    sender_seconds: float

    @property
    def per_second(self) -> float:
        """Requests answered."""
        return len(self.latencies) / self.seconds


def message(method: str, port: int, path: str, *headers: str, body: object = None) -> bytes:
    """A request's bytes."""
    lines = [f"{method} {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", *headers]
    data = b"" if body is None else json.dumps(body).encode()
    if data:
        lines += ["Content-Type: application/json", f"Content-Length: {len(data)}"]
    return "\r\n".join([*lines, "", ""]).encode() + data


def load(port: int, messages: Sequence[bytes], seconds: float, connections: int) -> Loaded:
    """Send the messages in turn over so many connections for so long.

    Longer only until each process has `LEAST` answers.

    Raises:
        RuntimeError: an answer is not one of `FINE`.
    """
    shares = [
        len(range(start, connections, _processes(connections))) for start in range(_processes(connections))
    ]
    jobs = [(port, messages[start:] + messages[:start], seconds, share) for start, share in enumerate(shares)]
    with multiprocessing.get_context("fork").Pool(len(shares)) as pool:
        found = pool.starmap(_send, jobs)
    latencies = [latency for one, _, _ in found for latency in one]
    return Loaded(max(took for _, took, _ in found), latencies, sum(spent for _, _, spent in found))


def _processes(connections: int) -> int:
    return -(-connections // CONNECTIONS)


def exchange(port: int, request: bytes) -> tuple[str, bytes]:
    """One request on a connection of its own: head and body of the answer."""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(request)
        data = b""
        while not _whole(data):
            data += _some(connection)
    head, _, body = data.partition(b"\r\n\r\n")
    return head.decode("latin-1"), body


def _send(
    port: int, messages: Sequence[bytes], seconds: float, connections: int
) -> tuple[list[float], float, float]:
    """Latencies of what was answered in the time, that time, and the processor time that it took here."""
    requests = itertools.cycle(messages)
    latencies: list[float] = []
    began = _processor_time()
    with selectors.DefaultSelector() as waiting:
        for _ in range(connections):
            connection = socket.create_connection(("127.0.0.1", port))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            waiting.register(connection, selectors.EVENT_READ)
        start = time.perf_counter()
        took = seconds
        sent: dict[socket.socket, float] = {}
        parts: dict[socket.socket, bytes] = {}
        for key in list(waiting.get_map().values()):
            _ask(key.fileobj, next(requests), sent)
        while sent:
            for key, _ in waiting.select():
                connection = key.fileobj
                data = parts.pop(connection, b"") + _some(connection)
                if not _whole(data):
                    parts[connection] = data
                    continue
                now = time.perf_counter()
                if data[9:12] not in FINE:
                    raise RuntimeError(data[:1000].decode("latin-1"))
                latency = now - sent.pop(connection)
                if now < start + seconds or len(latencies) < LEAST:
                    took = max(took, now - start)
                    latencies.append(latency)
                    _ask(connection, next(requests), sent)
        for key in list(waiting.get_map().values()):
            key.fileobj.close()
    return latencies, took, _processor_time() - began


def _ask(connection: socket.socket, request: bytes, sent: dict[socket.socket, float]) -> None:
    sent[connection] = time.perf_counter()
    connection.sendall(request)


def _whole(data: bytes) -> bool:
    """Whether an answer has come to its end."""
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        return False
    _, name, rest = head.lower().partition(b"content-length:")
    return len(body) >= int(rest.partition(b"\r\n")[0]) if name else True


def _some(connection: socket.socket) -> bytes:
    data = connection.recv(65_536)
    if not data:
        raise ConnectionError("the server closed the connection")
    return data


def _processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
