"""The response of a route that answers later."""

import logging
import time
from collections.abc import Callable, Iterable
from typing import Any

from flask import Response

from api.services import services
from api.waiting import handover
from api.waiting.connections import COMMENT, COMMENT_SECONDS
from api.waiting.sinks import Headers, QueueSink, Sink, status_line
from api.waiting.waiters import Waiter

log = logging.getLogger(__name__)

#: Makes the waiter, given where its answer goes and the headers that every answer of the application has.
Begin = Callable[[Sink, Headers], Waiter]


class Held(Response):
    """An answer that a waiter gives. Its own status counts for a stream only.

    Args:
        begin: makes the waiter.
        stream: whether the answer begins at once, and goes on.
    """

    def __init__(self, begin: Begin, *, stream: bool) -> None:
        super().__init__()
        self.headers.remove("Content-Type")
        self.headers["Cache-Control"] = "private, no-cache"
        self._begin = begin
        self._stream = stream

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        """Take the connection over; where the server keeps it, wait in the server's thread."""
        hub = services().hub
        hub.start()
        headers = [pair for pair in self.headers if pair[0].lower() != "content-length"]
        if handover.can_be_taken(environ):
            try:
                sock = handover.take(environ)
            except OSError as error:
                log.warning("a connection could not be taken over: %s", error)
            else:
                connection = hub.connections.adopt(sock, environ["SERVER_PROTOCOL"], stream=self._stream)
                self._hold(connection, headers)
                start_response(status_line(200), [])  # nobody hears it
                return ()
        sink = QueueSink(COMMENT if self._stream else None, COMMENT_SECONDS)
        self._hold(sink, headers)
        status, given = sink.head()
        start_response(status_line(status), list(given))
        return sink.body()

    def _hold(self, sink: Sink, headers: Headers) -> None:
        if self._stream:
            sink.begin(self.status_code, headers)
        services().hub.hold(self._begin(sink, headers))


def deadline_in(seconds: float) -> float:
    """When a poll that waits is answered at the latest, by the monotonic clock."""
    return time.monotonic() + seconds
