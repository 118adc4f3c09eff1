"""HTTP with patience, without a socket: builds requests, repeats what may be repeated, reads refusals.

Knows nothing of jobs. All of it are plans (`client.plans`), the same for a blocking and an asynchronous
client.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from client.errors import (
    ApiError,
    DamagedError,
    FieldError,
    ImpastoError,
    UnreachableError,
    UnsendableError,
)
from client.files import Download
from client.plans import END, Close, Flow, Give, Next, Open, Pause, Plan, Read, Send, Work
from client.retries import Retries, repeatable, retry_after, worth_repeating

T = TypeVar("T")

#: Seconds until a file that is being made is asked for again, where the service does not say.
_MADE_SECONDS = 2.0
#: What a header can carry (RFC 9110, 5.5), less the bytes beyond ASCII that it calls obsolete.
_HEADER_VALUE = re.compile(r"([!-~]([\t -~]*[!-~])?)?")

OnChunk = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Call:
    """A request as it is told to `Core`.

    Attributes:
        method: HTTP method.
        path: below the service's address, or a whole address.
        headers, params, json: as httpx takes them.
        files: multipart parts by field: file name and bytes.
        body: the body as it is; made anew for each attempt where it is a function.
        longer: seconds that the answer may take beyond the usual.
        again: whether the request may be sent twice; None where method and headers tell.
    """

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)
    params: Mapping[str, str | int] | None = None
    json: Any = None
    files: Mapping[str, tuple[str, bytes]] | None = None
    body: bytes | Callable[[], httpx.SyncByteStream] | None = None
    longer: float = 0.0
    again: bool | None = None


class Core:
    """What every call to one service shares.

    Args:
        url: the service's address.
        token: bearer token, sent to the service's own address and nowhere else.
        timeout: seconds to wait for a connection, and for each answer.
        retries: how persistent to be.

    Raises:
        ValueError: `url` is not an http(s) address.
        UnsendableError: no header can carry the token.
    """

    def __init__(self, url: str, token: str | None, timeout: float, retries: Retries) -> None:
        self.url = httpx.URL(url.rstrip("/") + "/")
        if self.url.scheme not in ("http", "https") or not self.url.host:
            raise ValueError(f"{url} is not an http(s) address")
        self._token = _carried("token", token) if token else None
        self._timeout = timeout
        self.retries = retries

    def request(self, call: Call) -> Plan[httpx.Response]:
        """Send a request and return its answer, repeating as `Retries` says.

        Raises:
            ApiError: the answer is an error and repeating did not help.
            UnreachableError: there was no answer.
        """
        again = repeatable(call.method, call.headers) if call.again is None else call.again
        return self.repeat(lambda: self.once(call), again=again)

    def once(self, call: Call) -> Plan[httpx.Response]:
        """Send a request and return its answer: one attempt, for `repeat`."""
        response: httpx.Response = yield Send(self.build(call))
        if response.is_error or response.has_redirect_location:
            raise Refused(response)
        return response

    def remove(self, path: str) -> Plan[None]:
        """DELETE what is at `path`. Where it is gone at a further attempt, an earlier one has removed it."""
        tries = 0

        def attempt() -> Plan[None]:
            nonlocal tries
            tries += 1
            try:
                yield from self.once(Call("DELETE", path))
            except Refused as refused:
                if tries == 1 or refused.response.status_code != httpx.codes.NOT_FOUND:
                    raise

        return self.repeat(attempt, again=True)

    def save(
        self,
        url: str,
        path: Path,
        sha256: str | None,
        on_chunk: OnChunk | None = None,
        *,
        keep: bool = False,
    ) -> Plan[None]:
        """Download `url` to `path`, whole or not at all; what breaks off goes on where it was (RFC 9110, 14).

        The token does not follow a redirect to another host, such as the object store's. Where the file is
        still being made (202), it is asked for again when the answer says.

        Args:
            url: an address, or a path below the service's.
            path: the file to write.
            sha256: what its bytes must hash to, or how that begins; None where nobody has said it.
            on_chunk: called with the bytes received so far and the bytes in all, where those are known.
            keep: leave a part that has arrived for the next call, in this process or another.

        Raises:
            ApiError, UnreachableError: as for `request`.
            DamagedError: what arrived has another SHA-256, more than once.
        """
        download = Download(path, sha256, keep=keep)

        def attempt() -> Plan[float | None]:
            headers = {"Accept-Encoding": "identity", **download.headers()}
            call = Call("GET", url, headers)
            response: httpx.Response = yield Send(self.build(call), stream=True, follow_redirects=True)
            try:
                if response.status_code == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and download.received:
                    download.discard()
                    raise DamagedError(f"{path.name} has changed on its way")
                if response.is_error:
                    yield Read(response)
                    raise Refused(response)
                if response.status_code == httpx.codes.ACCEPTED:
                    asked = retry_after(response.headers)
                    return _MADE_SECONDS if asked is None else min(asked, self.retries.patience_seconds)
                download.begin(response.status_code, response.headers)
                source = yield Open(response)
                while (chunk := (yield Next(source))) is not END:
                    download.write(chunk)
                    if on_chunk:
                        on_chunk(download.received, download.total)
            finally:
                yield Close(response)
            yield Work(download.finish)
            return None

        try:
            while (pause := (yield from self.repeat(attempt, again=True))) is not None:
                yield Pause(pause)
        finally:
            download.close()

    def repeat(self, attempt: Callable[[], Plan[T]], *, again: bool) -> Plan[T]:
        """Try until it goes well, or `Retries` says that it is enough.

        Args:
            attempt: one try; raises `Refused`, `httpx.TransportError` or `DamagedError`.
            again: whether it is harmless where the service has already done what was asked. What was refused
                as too much for now, and what never left this machine, is repeated in any case.
        """
        failures, began = 0, time.monotonic()
        while True:
            try:
                return (yield from attempt())
            except Refused as refused:
                headers, status = refused.response.headers, refused.response.status_code
                error: ImpastoError = problem(refused.response)
                worth, asked = worth_repeating(status, headers, again=again), retry_after(headers)
            except httpx.TransportError as fault:
                error = UnreachableError(f"{self.url} does not answer: {fault}")
                worth, asked = again or isinstance(fault, UNSENT), None
            except DamagedError as fault:
                error, worth, asked = fault, True, None
            failures += 1
            delay = self.retries.delay(failures, asked, time.monotonic() - began) if worth else None
            if delay is None:
                raise error
            yield Pause(delay)

    def build(self, call: Call) -> httpx.Request:
        """The request for a call, with the token where it belongs.

        Raises:
            UnsendableError: a header, such as the caller's Idempotency-Key, has what none can carry.
        """
        headers = {name: _carried(name, value) for name, value in call.headers.items()}
        url = self.url.join(call.path)
        body = call.body() if callable(call.body) else None
        request = httpx.Request(
            call.method,
            url,
            headers={"Accept": "*/*", **self._authorization(url), **headers},
            params=call.params,
            json=call.json,
            files=call.files,
            content=call.body if isinstance(call.body, bytes) else None,
            stream=body,
        )
        if body is not None:
            # httpx names the host only where it has made the body.
            request.headers["Host"] = url.netloc.decode("ascii")
        limits = httpx.Timeout(self._timeout, read=self._timeout + call.longer)
        request.extensions["timeout"] = limits.as_dict()
        return request

    def _authorization(self, url: httpx.URL) -> dict[str, str]:
        ours = (url.scheme, url.host, url.port) == (self.url.scheme, self.url.host, self.url.port)
        return {"Authorization": f"Bearer {self._token}"} if self._token and ours else {}


def _carried(what: str, value: str) -> str:
    """A header's value as it was given, where one can carry it. The message keeps the value to itself."""
    if _HEADER_VALUE.fullmatch(value):
        return value
    if not value.isascii():
        fault = "has a character that is not ASCII"
    elif value != value.strip():
        fault = "begins or ends with a space or a line break"
    else:
        fault = "has a line break or another control character in it"
    raise UnsendableError(f"the {what} {fault}, which no HTTP header can carry")


def segment(name: str) -> str:
    """An ID as one segment of a path, percent-encoded (RFC 3986, 3.3).

    Raises:
        UnsendableError: no path can name it: it is empty, `.` or `..`, is no text, or has a slash, which
            servers decode before they look for the resource.
    """
    if name in ("", ".", "..") or "/" in name:
        raise UnsendableError(f"{name!r} is no ID: a path cannot name it")
    try:
        return quote(name, safe="")
    except UnicodeEncodeError:
        raise UnsendableError(f"{name!r} is no ID: it is not Unicode text") from None


#: Faults of a request of which the service has not seen a byte.
UNSENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


class Refused(Exception):  # noqa: N818 - turned into an `ApiError` before a caller sees it
    """An answer that is an error; its body has been read."""

    def __init__(self, response: httpx.Response) -> None:
        super().__init__()
        self.response = response


def read_json(response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    """The JSON of an answer.

    Raises:
        ImpastoError: it is none, so this is another service.
    """
    try:
        return response.json()
    except ValueError as error:
        raise ImpastoError(f"{response.url} answers, but not as Impasto does") from error


def pages(
    core: Core,
    path: str,
    field: str,
    params: Mapping[str, str | int | None],
    read: Callable[[Mapping[str, Any]], Any],
) -> Flow:
    """Go through a list that the service hands out in pages, asking for each as it is needed.

    Args:
        core: the service.
        path: the list's address.
        field: where a page has its entries.
        params: what narrows the list; None for what is not given.
        read: makes an entry of its JSON.
    """
    given = {name: value for name, value in params.items() if value is not None}
    while True:
        page = read_json((yield from core.request(Call("GET", path, params=given))))
        for entry in page[field]:
            yield Give(read(entry))
        if not page.get("next_page_token"):
            return
        given["page_token"] = page["next_page_token"]


def problem(response: httpx.Response) -> ApiError:
    """Read an error answer: an RFC 9457 problem, or whatever a proxy in between said."""
    status = response.status_code
    try:
        data = response.json()
    except ValueError:
        data = None
    if not isinstance(data, dict):
        title = response.reason_phrase or "The request failed"
        return ApiError(status, "http_error", title, response.text[:200])
    return ApiError(
        status,
        data.get("code") or "http_error",
        data.get("title") or response.reason_phrase,
        data.get("detail") or "",
        [
            FieldError(fault.get("pointer") or "", fault.get("detail") or "", fault.get("line"))
            for fault in data.get("errors") or ()
        ],
        data.get("request_id"),
    )
