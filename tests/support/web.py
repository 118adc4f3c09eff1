"""A real HTTP server on loopback for tests: files, and any misbehaviour that a test writes down."""

import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

#: Answers one request; it may write to `exchange.wfile` whatever it likes.
Answer = Callable[["Exchange"], None]


@dataclass(frozen=True)
class Seen:
    """A request that the server has received."""

    method: str
    path: str
    headers: dict[str, str]


class Web:
    """The server. Use it as a context manager; `url` is its address without a slash at the end.

    Attributes:
        seen: the requests so far.
        context: the TLS context, of a server that has one.
        closing: set when the server stops; an answer that drips or hangs waits on it instead of sleeping.
    """

    def __init__(self, tls: ssl.SSLContext | None = None, port: int = 0) -> None:
        self.seen: list[Seen] = []
        self.closing = threading.Event()
        self._routes: dict[str, Answer] = {}
        self._default: Answer = missing
        self._server = _Server(("127.0.0.1", port), _handler(self))
        self.context = tls
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port: int = self._server.server_address[1]
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join(10)
        self._server.server_close()

    def file(self, path: str, data: bytes, content_type: str = "image/png") -> str:
        """Serve `data` under `path`; returns its URL."""
        return self.route(path, content(data, content_type))

    def route(self, path: str, answer: Answer) -> str:
        """Answer requests for `path` so; returns its URL."""
        self._routes[path] = answer
        return self.url + path

    def otherwise(self, answer: Answer) -> None:
        """Answer so whatever has no route of its own."""
        self._default = answer

    def answer(self, exchange: "Exchange") -> None:
        """Note the request and answer it."""
        exchange.read = None  # a connection may bring several requests
        self.seen.append(Seen(exchange.command, exchange.path, dict(exchange.headers.items())))
        self._routes.get(exchange.path.partition("?")[0], self._default)(exchange)


class Exchange(BaseHTTPRequestHandler):
    """One request and the way to answer it."""

    protocol_version = "HTTP/1.1"
    web: Web
    read: bytes | None = None

    @property
    def body(self) -> bytes:
        """The request's body."""
        if self.read is None:
            self.read = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        return self.read

    def reply(self, status: int, body: bytes = b"", **headers: str) -> None:
        """A well-formed answer, once the request's body is read.

        `Content_Length="7"` overrides that header; `_` stands for `-`.
        """
        _ = self.body
        self.send_response(status)
        values = {"Content-Length": str(len(body)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        for name, value in values.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it
        """Tests read `Web.seen` instead."""


def content(data: bytes, content_type: str = "image/png") -> Answer:
    """An answer with these bytes."""
    return lambda exchange: exchange.reply(200, data, Content_Type=content_type)


def status(code: int, body: bytes = b"", **headers: str) -> Answer:
    """An answer with this status."""
    return lambda exchange: exchange.reply(code, body, **headers)


def redirect(to: str, code: int = 302) -> Answer:
    """A redirect."""
    return status(code, Location=to)


def missing(exchange: Exchange) -> None:
    """404."""
    exchange.reply(404, b"nothing here", Content_Type="text/plain")


def in_turn(*answers: Answer) -> Answer:
    """The first answer to the first request and so on; the last one to all that follow."""
    left = list(answers)
    lock = threading.Lock()

    def answer(exchange: Exchange) -> None:
        with lock:
            chosen = left.pop(0) if len(left) > 1 else left[0]
        chosen(exchange)

    return answer


def drip(data: bytes, every: float, announced: int | None = None) -> Answer:
    """An answer whose body comes a byte at a time."""

    def answer(exchange: Exchange) -> None:
        exchange.send_response(200)
        exchange.send_header("Content-Length", str(len(data) if announced is None else announced))
        exchange.end_headers()
        for index in range(len(data)):
            exchange.wfile.write(data[index : index + 1])
            if exchange.web.closing.wait(every):
                return

    return answer


def hang(exchange: Exchange) -> None:
    """No answer at all, until the server stops."""
    exchange.web.closing.wait()
    exchange.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that leaves early is what many tests are about."""


def _handler(web: Web) -> type[Exchange]:
    def answer(self: Exchange) -> None:
        self.web.answer(self)

    return type("Handler", (Exchange,), {"web": web, **dict.fromkeys(_METHODS, answer)})


_METHODS = ("do_GET", "do_HEAD", "do_PUT", "do_POST", "do_DELETE")
