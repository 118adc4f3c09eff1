"""Where an answer goes that is given later: our own socket, or a queue that the server's thread reads."""

import queue
from collections.abc import Iterator, Sequence
from http import HTTPStatus
from typing import Protocol

Headers = Sequence[tuple[str, str]]


class Sink(Protocol):
    """Takes one answer: its head, its body in pieces, its end. For any one thread; never blocks."""

    @property
    def open(self) -> bool:
        """Whether somebody still listens."""

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer."""

    def send(self, data: bytes) -> None:
        """A piece of its body."""

    def end(self) -> None:
        """There is no more."""


def status_line(status: int) -> str:
    """A status with its words, as WSGI has it."""
    return f"{status} {HTTPStatus(status).phrase}"


class QueueSink:
    """For servers that keep their connections to themselves: one of their threads waits for each piece.

    Args:
        comment: sent when nothing else was for `comment_seconds`; none for an answer that is not a stream.
    """

    #: Pieces that may wait to be read; beyond that the reader is too slow and its answer ends.
    MOST = 256

    def __init__(self, comment: bytes | None, comment_seconds: float) -> None:
        self._pieces: queue.SimpleQueue[tuple[int, Headers] | bytes | None] = queue.SimpleQueue()
        self._comment, self._comment_seconds = comment, comment_seconds
        self._open = True

    @property
    def open(self) -> bool:
        """Whether somebody still listens."""
        return self._open

    def begin(self, status: int, headers: Headers) -> None:
        """The head of the answer."""
        self._pieces.put((status, headers))

    def send(self, data: bytes) -> None:
        """A piece of its body."""
        if self._pieces.qsize() < self.MOST:
            self._pieces.put(data)
        else:
            self.end()

    def end(self) -> None:
        """There is no more."""
        self._open = False
        self._pieces.put(None)

    def head(self) -> tuple[int, Headers]:
        """Wait for the head; what comes before it is nothing."""
        piece = self._pieces.get()
        if isinstance(piece, tuple):
            return piece
        raise AssertionError("an answer began without a head")

    def body(self) -> Iterator[bytes]:
        """Wait for each piece in turn. Closing it tells that nobody listens any more."""
        try:
            while True:
                try:
                    piece = self._pieces.get(timeout=self._comment_seconds if self._comment else None)
                except queue.Empty:
                    piece = self._comment
                if piece is None:
                    return
                if isinstance(piece, bytes):
                    yield piece
        finally:
            self._open = False
