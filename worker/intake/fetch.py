"""Fetch what a stranger names, without letting the stranger reach where only we can.

A name is resolved once, every address it gives is checked, and the connection goes to a checked address while
Host and TLS still carry the name: a second answer of the name server changes nothing. Redirects are followed
here, each checked like the first URL. Proxy variables, cookies and compression play no part.
"""

import logging
import queue
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus

import httpcore
import httpx

from shared.errors import FetchFailed, FetchUnreachable, PictureTooLarge
from shared.pictures.sandbox import too_many_bytes
from shared.settings import Settings
from worker.intake.addresses import Network, allowed, is_trusted, parse
from worker.intake.targets import Target, refused, target

log = logging.getLogger(__name__)

_IDLE_SECONDS = 10.0
_CONNECT_SECONDS = 5.0
_REDIRECTS = (301, 302, 303, 307, 308)
#: Answers that may be another one later: too early, too many, or the server's own trouble.
_LATER = (408, 425, 429)
_NO_SUCH_NAME = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
_HEADERS = [
    (b"User-Agent", b"impasto/0.1 (picture fetcher)"),
    (b"Accept", b"image/png, image/jpeg, image/webp, image/gif, image/*;q=0.5"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]
_AWAY = "The picture's server did not answer, or not in time."

#: Gives the addresses of a host as texts; raises `OSError`. It may block: the caller has a clock of its own.
Resolver = Callable[[str, int], Sequence[str]]


def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that the operating system knows for a name."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


@cache
def _tls() -> ssl.SSLContext:
    """Verifies certificates and names; `SSL_CERT_FILE` and `SSL_CERT_DIR` name other authorities."""
    return httpx.create_ssl_context()


@dataclass(frozen=True)
class FetchPolicy:
    """What may be fetched, and what it may cost.

    Attributes:
        bytes: most bytes of a body. seconds: wall clock for everything. redirects: most that are followed.
        ports: allowed on public addresses. trusted: networks where any address and port is allowed.
        resolve: gives a name's addresses. tls: verifies servers.
    """

    bytes: int
    seconds: float
    redirects: int = 3
    ports: frozenset[int] = frozenset({80, 443})
    trusted: tuple[Network, ...] = ()
    resolve: Resolver = system_resolver
    tls: ssl.SSLContext = field(default_factory=_tls)

    @classmethod
    def of(cls, settings: Settings) -> "FetchPolicy":
        """The policy that the settings name."""
        return cls(
            bytes=settings.picture_bytes,
            seconds=settings.fetch_seconds,
            redirects=settings.fetch_redirects,
            ports=settings.fetch_ports,
            trusted=settings.trusted_networks,
        )


def fetch(url: str, policy: FetchPolicy) -> bytes:
    """The bytes that an http or https URL gives.

    Raises:
        FetchRefused: the URL or an address it leads to is not allowed; one message for every reason.
        FetchFailed: the server says no, sends something odd or redirects too often.
        FetchUnreachable: the server does not answer in time or breaks off; another attempt may succeed.
        PictureTooLarge: more than `policy.bytes`.
    """
    deadline = time.monotonic() + policy.seconds
    here = target(url)
    for _ in range(policy.redirects + 1):
        answer = _request(here, policy, deadline)
        if isinstance(answer, bytes):
            return answer
        here = target(answer.location, base=here)
    raise FetchFailed(f"The server redirects more than {policy.redirects} times.")


@dataclass(frozen=True)
class _Redirect:
    location: str


def _request(here: Target, policy: FetchPolicy, deadline: float) -> bytes | _Redirect:
    addresses = _checked_addresses(here, policy, deadline)
    backend = _PinnedBackend(addresses, deadline)
    # The pool's own timeouts stay off: every wait is bounded by the backend.
    headers = [(b"Host", here.authority.encode()), *_HEADERS]
    request = httpcore.Request(
        "GET",
        httpcore.URL(
            scheme=here.scheme.encode(), host=here.host.encode(), port=here.port, target=here.path.encode()
        ),
        headers=headers,
    )
    try:
        with httpcore.ConnectionPool(ssl_context=policy.tls, network_backend=backend) as pool:
            response = pool.handle_request(request)
            try:
                return _read(response, policy.bytes)
            finally:
                response.close()
    except (httpcore.TimeoutException, httpcore.NetworkError) as error:
        raise FetchUnreachable(_AWAY) from error
    except httpcore.ProtocolError as error:
        raise FetchUnreachable("The picture's server broke off or does not speak HTTP.") from error


def _checked_addresses(here: Target, policy: FetchPolicy, deadline: float) -> list[str]:
    """Addresses that may be connected to; one that may not be refuses them all.

    A private network's names are not even looked up, unless there are networks that are trusted: whether
    such a name exists is nobody's business.
    """
    if here.local_name and not policy.trusted:
        raise refused()
    found = [here.host] if here.address is not None else _resolved(here, policy.resolve, deadline)
    for text in found:
        address = parse(text)
        if address is None or not allowed(address, policy.trusted):
            log.warning("refused to fetch from %s (%s)", here.host, text)
            raise refused()
        if here.port not in policy.ports and not is_trusted(address, policy.trusted):
            log.warning("refused to fetch from port %d of %s", here.port, here.host)
            raise refused()
    if not found:
        raise FetchFailed("No server has this name.")
    return found


def _resolved(here: Target, resolve: Resolver, deadline: float) -> list[str]:
    """Resolve within the deadline: `getaddrinfo` has no timeout, so it runs in a thread that may be left."""
    results: queue.SimpleQueue[Sequence[str] | BaseException] = queue.SimpleQueue()

    def look_up() -> None:
        try:
            results.put(resolve(here.host, here.port))
        except (OSError, UnicodeError) as error:
            results.put(error)

    threading.Thread(target=look_up, daemon=True, name="resolver").start()
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise FetchUnreachable(_AWAY) from None
    if isinstance(result, socket.gaierror) and result.errno not in _NO_SUCH_NAME:
        raise FetchUnreachable(_AWAY) from result
    if isinstance(result, BaseException):
        raise FetchFailed("No server has this name.") from result
    return list(result)


def _read(response: httpcore.Response, limit: int) -> bytes | _Redirect:
    headers = {name.lower(): value for name, value in response.headers}
    if response.status in _REDIRECTS and b"location" in headers:
        return _Redirect(headers[b"location"].decode("utf-8", "replace"))
    if response.status != HTTPStatus.OK:
        detail = f"The picture's server answered {response.status}."
        if response.status >= HTTPStatus.INTERNAL_SERVER_ERROR or response.status in _LATER:
            raise FetchUnreachable(detail)
        raise FetchFailed(detail)
    encoding = headers.get(b"content-encoding", b"identity").strip().lower()
    if encoding not in (b"identity", b""):
        raise FetchFailed("The picture's server sent it compressed although that was not asked for.")
    announced = headers.get(b"content-length", b"")
    if announced.isdigit() and int(announced) > limit:
        raise PictureTooLarge(too_many_bytes(limit))
    body = bytearray()
    for chunk in response.iter_stream():
        body += chunk
        if len(body) > limit:
            raise PictureTooLarge(too_many_bytes(limit))
    return bytes(body)


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
