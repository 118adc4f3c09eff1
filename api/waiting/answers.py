"""Giving a poll that waits its answer."""

from collections.abc import Sequence
from http import HTTPStatus

from flask import Response
from werkzeug.http import remove_entity_headers

from api import links
from api.problems import problem
from api.waiting.sinks import Headers, Sink
from shared.errors import Fault


class Answer:
    """Where a poll's answer goes, and what is said with it whatever it says.

    Args:
        sink: where to.
        base: address of the API as the caller sees it.
        headers: of every answer.
    """

    def __init__(self, sink: Sink, base: str, headers: Headers) -> None:
        self._sink, self._base, self._headers = sink, base, headers

    def give(self, response: Response) -> None:
        """Give it."""
        own = {name.lower() for name, _ in response.headers}
        headers = [*response.headers, *(pair for pair in self._headers if pair[0].lower() not in own)]
        body = b""
        if response.status_code == HTTPStatus.NOT_MODIFIED:
            remove_entity_headers(headers)
        else:
            body = response.get_data()
        # Flask may have said it already: twice is malformed for some readers (RFC 9112, section 6.3).
        headers = [pair for pair in headers if pair[0].lower() != "content-length"]
        if body:
            headers.append(("Content-Length", str(len(body))))
        self._sink.begin(response.status_code, headers)
        if body:
            self._sink.send(body)
        self._sink.end()

    def refuse(self, faults: Sequence[Fault]) -> None:
        """Give a problem."""
        name = next((value for name, value in self._headers if name.lower() == "x-request-id"), "")
        with links.seen_from(self._base):
            self.give(problem(faults, name))
