"""HTTP with patience: sends requests, repeats what is worth repeating, turns refusals into `ApiError`.

Knows nothing of jobs. What a request says is put together in `client.api`, when to repeat it is decided in
`client.retries`; an asynchronous transport would share both.
"""

import ssl
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import httpx

from client.errors import ApiError, DamagedError, FieldError, UnreachableError
from client.files import write_checked
from client.retries import Retries, retry_after, worth_repeating

T = TypeVar("T")


class Transport:
    """A connection pool to one service.

    Args:
        url: the service's address.
        token: bearer token, sent to the service's own address and nowhere else.
        timeout: seconds to wait for a connection, and for each answer.
        retries: how persistent to be.

    Raises:
        ValueError: `url` is not an http(s) address.
    """

    def __init__(self, url: str, token: str | None, timeout: float, retries: Retries) -> None:
        self.url = httpx.URL(url.rstrip("/") + "/")
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ValueError(f"{url} is not an http(s) address")
        self._token = token
        self._retries = retries
        self._http = httpx.Client(
            timeout=timeout, headers={"User-Agent": "impasto-client"}, verify=_certificates()
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:  # noqa: ANN401 - httpx' own
        """Send a request and return its answer, repeating as `Retries` says.

        Args:
            method: HTTP method.
            path: below the service's address, or a whole address.
            options: as `httpx.Client.request` takes them.

        Raises:
            ApiError: the answer is an error and repeating did not help.
            UnreachableError: there was no answer.
        """

        def send() -> httpx.Response:
            url = self._absolute(path)
            headers = {**self._authorization(url), **options.get("headers", {})}
            response = self._http.request(method, url, **{**options, "headers": headers})
            if response.is_error or response.has_redirect_location:
                raise _Refused(response)
            return response

        return self._repeat(send)

    def save(
        self, url: str, path: Path, sha256: str, on_chunk: Callable[[int, int | None], None] | None = None
    ) -> None:
        """Download `url` to `path`, whole or not at all.

        The token does not follow a redirect to another host, such as the object store's.

        Args:
            url: an address, or a path below the service's.
            path: the file to write.
            sha256: what its bytes must hash to, or how that begins.
            on_chunk: called with the bytes received so far and the bytes in all, where those are known.

        Raises:
            ApiError, UnreachableError: as for `request`.
            DamagedError: what arrived has another SHA-256, more than once.
        """

        def send() -> None:
            address = self._absolute(url)
            headers = self._authorization(address)
            with self._http.stream("GET", address, headers=headers, follow_redirects=True) as response:
                if response.is_error:
                    response.read()
                    raise _Refused(response)
                write_checked(path, _watched(response, on_chunk), sha256)

        self._repeat(send)

    def _repeat(self, send: Callable[[], T]) -> T:
        failures = 0
        while True:
            try:
                return send()
            except _Refused as refused:
                headers = refused.response.headers
                error: Exception = problem(refused.response)
                again, asked = worth_repeating(refused.response.status_code, headers), retry_after(headers)
            except httpx.TransportError as fault:
                error, again, asked = UnreachableError(f"{self.url} does not answer: {fault}"), True, None
            except DamagedError as fault:
                error, again, asked = fault, True, None
            failures += 1
            delay = self._retries.delay(failures, asked) if again else None
            if delay is None:
                raise error
            time.sleep(delay)

    def _absolute(self, path: str) -> httpx.URL:
        return self.url.join(path)

    def _authorization(self, url: httpx.URL) -> dict[str, str]:
        ours = (url.scheme, url.host, url.port) == (self.url.scheme, self.url.host, self.url.port)
        return {"Authorization": f"Bearer {self._token}"} if self._token and ours else {}


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities we trust, read once a process: that takes longer than many a request."""
    return httpx.create_ssl_context()


class _Refused(Exception):  # noqa: N818 - never leaves this module
    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = response


def _watched(response: httpx.Response, on_chunk: Callable[[int, int | None], None] | None) -> Iterator[bytes]:
    length = response.headers.get("content-length")
    for chunk in response.iter_bytes():
        yield chunk
        if on_chunk:
            on_chunk(response.num_bytes_downloaded, int(length) if length else None)


def problem(response: httpx.Response) -> ApiError:
    """Read an error answer: an RFC 9457 problem, or whatever a proxy in between said."""
    status = response.status_code
    try:
        data = response.json()
    except ValueError:
        data = None
    if not isinstance(data, dict):
        return ApiError(
            status, "http_error", response.reason_phrase or "The request failed", response.text[:200]
        )
    return ApiError(
        status,
        data.get("code") or "http_error",
        data.get("title") or response.reason_phrase,
        data.get("detail") or "",
        [
            FieldError(fault.get("pointer") or "", fault.get("detail") or "")
            for fault in data.get("errors") or ()
        ],
        data.get("request_id"),
    )
