"""Reading server-sent events in tests, from a socket of one's own."""

import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from tests.support.waiting import wait_for


@dataclass(frozen=True)
class Event:
    """One event as it came."""

    name: str
    id: str | None
    data: dict[str, Any]


class Stream:
    """One stream under way, read by a thread of its own. Use it as a context manager.

    Attributes:
        head: status line and headers, in lower case.
        ended: set once the server has closed the connection.
    """

    def __init__(
        self, url: str, path: str, headers: Mapping[str, str] | None = None, *, version: str = "1.1"
    ) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self._socket = socket.create_connection((address.hostname, address.port), timeout=60)
        lines = [f"GET {path} HTTP/{version}", f"Host: {address.netloc}"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        self.send("\r\n".join([*lines, "", ""]).encode())
        self.raw = b""
        self._read_to = 0
        self._events: list[Event] = []
        self.ended = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        wait_for(lambda: b"\r\n\r\n" in self.raw or self.ended.is_set(), "the head of the stream")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Say something to the server."""
        self._socket.sendall(data)

    def close(self) -> None:
        """Go away."""
        with suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(10)
        self._socket.close()

    @property
    def head(self) -> str:
        return self.raw.partition(b"\r\n\r\n")[0].decode("latin-1").lower()

    @property
    def status(self) -> int:
        return int(self.head.split()[1])

    @property
    def events(self) -> list[Event]:
        """Every whole event so far."""
        head_ends = self.raw.find(b"\r\n\r\n")
        if head_ends < 0:
            return []
        start = max(self._read_to, head_ends + 4)
        *blocks, _ = self.raw[start:].split(b"\n\n")
        for block in blocks:
            self._read_to = start = start + len(block) + 2
            lines = [line for line in block.decode().splitlines() if ": " in line and line[0] != ":"]
            fields = dict(line.split(": ", 1) for line in lines)
            if "event" in fields:
                self._events.append(Event(fields["event"], fields.get("id"), json.loads(fields["data"])))
        return self._events

    def wait_for(self, name: str, seconds: float = 60.0, **data: Any) -> Event:
        """The first event of this name whose data says so, once it is there."""

        def there() -> Event | None:
            ended = self.ended.is_set()  # before looking: what came last is seen then
            for event in self.events:
                if event.name == name and data.items() <= event.data.items():
                    return event
            assert not ended, f"it ended without {name} {data}: {self.raw[-2000:]!r}"
            return None

        return wait_for(there, f"an event {name} {data}", seconds)

    def _read(self) -> None:
        with suppress(OSError):
            while data := self._socket.recv(65_536):
                self.raw += data
        self.ended.set()
