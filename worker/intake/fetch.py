"""Fetch what a stranger names: redirects are followed one by one, each checked as the first URL is."""

import time
from dataclasses import dataclass
from http import HTTPStatus

import httpcore

from shared.errors import FetchFailed, FetchUnreachable, PictureTooLarge
from shared.pictures.sandbox import too_many_bytes
from shared.settings import Settings
from shared.web.targets import target
from worker.web.connection import Reach, answered

_REDIRECTS = (301, 302, 303, 307, 308)
#: Answers that may be another one later: too early, too many, or the server's own trouble.
_LATER = (408, 425, 429)
_HEADERS = [
    (b"User-Agent", b"impasto/0.1 (picture fetcher)"),
    (b"Accept", b"image/png, image/jpeg, image/webp, image/gif, image/*;q=0.5"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]


@dataclass(frozen=True, kw_only=True)
class FetchPolicy(Reach):
    """What may be fetched, and what it may cost.

    Attributes:
        bytes: most bytes of a body. redirects: most that are followed.
    """

    bytes: int
    redirects: int = 3
    peer: str = "The picture's server"

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
        with answered(here, policy, deadline, _HEADERS) as response:
            answer = _read(response, policy.bytes)
        if isinstance(answer, bytes):
            return answer
        here = target(answer.location, base=here)
    raise FetchFailed(f"The server redirects more than {policy.redirects} times.")


@dataclass(frozen=True)
class _Redirect:
    location: str


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
