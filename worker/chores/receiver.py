"""One attempt to deliver: a guarded POST, and what the receiver made of it.

A redirect is an answer like any other that is not 2xx: it is never followed, wherever it leads. Of the
answer's body only the beginning is read, for the owner's log.
"""

import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus

import httpcore

from shared.errors import Fault, FetchRefused
from shared.jobs.delivery import Attempt
from shared.settings import Settings
from shared.web.targets import target
from worker.web.connection import Headers, Reach, answered

_HEADERS: Headers = [
    (b"User-Agent", b"impasto/0.1 (webhooks)"),
    (b"Content-Type", b"application/json"),
    (b"Accept-Encoding", b"identity"),
    (b"Connection", b"close"),
]
_EXCERPT_CHARACTERS, _EXCERPT_BYTES, _EXCERPT_SECONDS = 200, 1024, 2.0
#: Seconds that a receiver can ask for at most before the next attempt.
LONGEST_WAIT = 36_000.0
_REFUSED = "The receiver's address, or one that its name leads to, is one that nothing may be sent to."


@dataclass(frozen=True)
class Answer:
    """What came of an attempt.

    Attributes:
        attempt: for the log.
        retry_after: seconds that the receiver asked to be left alone for, bounded; 0 where it did not.
    """

    attempt: Attempt
    retry_after: float = 0.0

    @property
    def taken(self) -> bool:
        """Whether the receiver has the message: it answered 2xx."""
        return self.attempt.status is not None and 200 <= self.attempt.status < 300

    @property
    def gone(self) -> bool:
        """Whether the receiver wants to be told no more: it answered 410."""
        return self.attempt.status == HTTPStatus.GONE


def reach_of(settings: Settings) -> Reach:
    """Where webhooks may go, by the settings: where intake may fetch from."""
    return Reach(
        seconds=settings.webhook_seconds,
        ports=settings.fetch_ports,
        trusted=settings.trusted_networks,
        peer="The receiver",
    )


def post(url: str, body: bytes, headers: dict[str, str], reach: Reach) -> Answer:
    """Send a message once. What goes wrong is in the answer."""
    began, at = time.monotonic(), round(time.time() * 1000)

    def attempt(**came: str | int | None) -> Attempt:
        return Attempt(at=at, ms=round((time.monotonic() - began) * 1000), **came)  # type: ignore[arg-type]

    own = [(name.encode(), value.encode()) for name, value in headers.items()]
    try:
        with answered(
            target(url), reach, began + reach.seconds, [*_HEADERS, *own], method="POST", body=body
        ) as response:
            came = attempt(status=response.status, excerpt=_excerpt(response))
            return Answer(came, _retry_after(response))
    except FetchRefused as fault:
        return Answer(attempt(error=fault.code, detail=_REFUSED))
    except Fault as fault:
        return Answer(attempt(error=fault.code, detail=fault.detail))


def _excerpt(response: httpcore.Response) -> str | None:
    """The beginning of the body on one line; of one that comes slowly, what has come after some seconds.

    A receiver that answers and then says nothing holds the attempt until it counts as idle.
    """
    body, until = bytearray(), time.monotonic() + _EXCERPT_SECONDS
    try:
        for chunk in response.iter_stream():
            body += chunk
            if len(body) >= _EXCERPT_BYTES or time.monotonic() > until:
                break
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.ProtocolError):
        pass  # the status is what counts
    text = body[:_EXCERPT_BYTES].decode("utf-8", "replace")
    return re.sub(r"[\s\x00-\x1f\x7f-\x9f]+", " ", text).strip()[:_EXCERPT_CHARACTERS] or None


def _retry_after(response: httpcore.Response) -> float:
    """Seconds that the header asks for (RFC 9110, 10.2.3), as a number or as a date."""
    value = {name.lower(): value for name, value in response.headers}.get(b"retry-after", b"")
    text = value.decode("ascii", "replace").strip()
    if text.isdecimal():
        seconds = float(text[:9])
    else:
        try:
            then = parsedate_to_datetime(text)
        except (ValueError, OverflowError):
            return 0.0
        if then.tzinfo is None:
            then = then.replace(tzinfo=UTC)
        seconds = (then - datetime.now(UTC)).total_seconds()
    return min(max(seconds, 0.0), LONGEST_WAIT)
