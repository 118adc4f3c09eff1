"""One guarded request: to an address that was checked, within a deadline, and nowhere else.

A name is resolved once, every address it gives is checked, and the connection goes to a checked address while
Host and TLS still carry the name: a second answer of the name server changes nothing. Redirects are answers
like others: whoever follows one makes another request. Proxy variables, cookies and compression play no part.
"""

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import httpcore
import httpx

from shared.errors import FetchFailed, FetchUnreachable
from shared.web.addresses import Network, allowed, is_trusted, parse
from shared.web.targets import Target, refused

log = logging.getLogger(__name__)

_IDLE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))

#: Gives the addresses of a host as texts; raises `OSError`. It may block: the caller has a clock of its own.
Resolver = Callable[[str, int], Sequence[str]]
Headers = list[tuple[bytes, bytes]]


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that the operating system knows for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@cache
def _tls() -> ssl.SSLContext:
    """Verifies certificates and names; `SSL_CERT_FILE` and `SSL_CERT_DIR` name other authorities."""
    return httpx.create_ssl_context()


@dataclass(frozen=True, kw_only=True)
class Reach:
    """Where requests may go.

    Attributes:
        seconds: wall clock for everything, name resolution included.
        ports: allowed on public addresses. trusted: networks where any address and port is allowed.
        resolve: gives a name's addresses. tls: verifies servers.
        peer: what messages call the server.
    """

    seconds: float
    ports: frozenset[int] = frozenset({80, 443})
    trusted: tuple[Network, ...] = ()
    resolve: Resolver = system_resolver
    tls: ssl.SSLContext = field(default_factory=_tls)
    peer: str = "The server"

    @property
    def away(self) -> str:
        """The message about a server that does not answer."""
        return f"{self.peer} did not answer, or not in time."


@contextmanager
def answered(
    here: Target, reach: Reach, deadline: float, headers: Headers, method: str = "GET", body: bytes = b""
) -> Iterator[httpcore.Response]:
    """Make one request; the answer's body is read, or left, by the block.

    Args:
        here: what to ask for.
        reach: where that may lead.
        deadline: when everything is to be over, by the monotonic clock.
        headers: of the request, but for `Host`.
        method: HTTP method.
        body: of the request; with one, `Content-Length` is added.

    Raises:
        FetchRefused: an address it leads to is not allowed; one message for every reason.
        FetchFailed: no server has this name, or its certificate is not valid for it.
        FetchUnreachable: the server does not answer in time or breaks off; another attempt may succeed.
    """
    backend = _PinnedBackend(_checked_addresses(here, reach, deadline), deadline)
    length = [(b"Content-Length", str(len(body)).encode())] if body else []
    request = httpcore.Request(
        method,
        httpcore.URL(
            scheme=here.scheme.encode(), host=here.host.encode(), port=here.port, target=here.path.encode()
        ),
        headers=[(b"Host", here.authority.encode()), *headers, *length],
        content=body,
    )
    try:
        # The pool's own timeouts stay off: every wait is bounded by the backend.
        with httpcore.ConnectionPool(ssl_context=reach.tls, network_backend=backend) as pool:
            response = pool.handle_request(request)
            try:
                yield response
            finally:
                response.close()
    except (httpcore.TimeoutException, httpcore.NetworkError) as error:
        raise FetchUnreachable(reach.away) from error
    except httpcore.ProtocolError as error:
        raise FetchUnreachable(f"{reach.peer} broke off or does not speak HTTP.") from error


def _checked_addresses(here: Target, reach: Reach, deadline: float) -> list[str]:
    """Addresses that may be connected to; one that may not be refuses them all.

    A private network's names are not even looked up, unless there are networks that are trusted: whether
    such a name exists is nobody's business.
    """
    if here.local_name and not reach.trusted:
        raise refused()
    found = [here.host] if here.address is not None else _resolved(here, reach, deadline)
    for text in found:
        address = parse(text)
        if address is None or not allowed(address, reach.trusted):
            log.warning("refused to connect to %s (%s)", here.host, text)
            raise refused()
        if here.port not in reach.ports and not is_trusted(address, reach.trusted):
            log.warning("refused to connect to port %d of %s", here.port, here.host)
            raise refused()
    if not found:
        raise FetchFailed("No server has this name.")
    return found


def _resolved(here: Target, reach: Reach, deadline: float) -> list[str]:
    """Resolve within the deadline: `getaddrinfo` has no timeout, so it runs in a thread that may be left."""
    results: queue.SimpleQueue[Sequence[str] | BaseException] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(reach.resolve(here.host, here.port))
        except (OSError, UnicodeError) as error:
            results.put(error)

    threading.Thread(target=look_up, daemon=True, name="resolver").start()
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise FetchUnreachable(reach.away) from None
    if isinstance(result, socket.gaierror) and result.errno not in _NO_SUCH_NAME:
        raise FetchUnreachable(reach.away) from result
    if isinstance(result, BaseException):
        raise FetchFailed("No server has this name.") from result
    return list(result)


class _PinnedBackend(httpcore.NetworkBackend):
    """Connects to the given addresses, whatever host is asked for, and to nothing else."""

    def __init__(self, addresses: Sequence[str], deadline: float) -> None:
        self._addresses = addresses
        self._deadline = deadline
        self._sockets = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,  # noqa: ARG002 - it was resolved and checked before
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - the deadline decides
        local_address: str | None = None,  # noqa: ARG002
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.NetworkStream:
        failure: Exception = httpcore.ConnectError("no address")
        for address in self._addresses:
            try:
                left = _left(self._deadline, _CONNECT_SECONDS, httpcore.ConnectTimeout)
                stream = self._sockets.connect_tcp(address, port, left, socket_options=socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
            else:
                return _TimedStream(stream, self._deadline)
        raise failure


class _TimedStream(httpcore.NetworkStream):
    """A connection on which no wait outlasts the deadline, nor the idle time."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: float) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002
        return self._stream.read(max_bytes, _left(self._deadline, _IDLE_SECONDS, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002
        self._stream.write(buffer, _left(self._deadline, _IDLE_SECONDS, httpcore.WriteTimeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002
    ) -> httpcore.NetworkStream:
        left = _left(self._deadline, _CONNECT_SECONDS, httpcore.ConnectTimeout)
        try:
            secured = self._stream.start_tls(ssl_context, server_hostname, left)
        except httpcore.ConnectError as error:
            if isinstance(error.__cause__, ssl.SSLCertVerificationError):
                raise FetchFailed("The server's certificate is not valid for this address.") from error
            raise
        return _TimedStream(secured, self._deadline)

    def get_extra_info(self, info: str) -> object:
        return self._stream.get_extra_info(info)


def _left(deadline: float, most: float, timed_out: type[Exception]) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise timed_out("the deadline has passed")
    return min(left, most)
