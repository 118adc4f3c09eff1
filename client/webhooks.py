"""For receivers of webhooks: is this request the service's, and of now?

    event = webhooks.verify(request.headers, request.get_data(), "whsec_...")

Standard Webhooks 1.0: the header `webhook-signature` has signatures, each a version and the base64 of
HMAC-SHA256 over `{webhook-id}.{webhook-timestamp}.{body}`. Give `verify` the body's bytes as they arrived;
JSON that was read and written again has another signature.
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from client.errors import WebhookError

#: Seconds that the sender's clock and the receiver's may differ by, the time on the way included.
TOLERANCE_SECONDS = 300.0
_HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
_PREFIX = "whsec_"
_VERSION = "v1"


@dataclass(frozen=True)
class WebhookEvent:
    """What a webhook told.

    Attributes:
        id: the same in every delivery of this event: remember it to act on it once.
        type: such as `job.succeeded`.
        timestamp: when this delivery was sent.
        data: the job or the batch, as a poll would show it.
        raw: the whole message.
    """

    id: str
    type: str
    timestamp: datetime
    data: Mapping[str, Any]
    raw: Mapping[str, Any]


class Headers(Protocol):
    """A request's headers, as any framework has them: a mapping will do, and so will werkzeug's."""

    def items(self) -> Iterable[tuple[str, str]]:
        """Names and values."""
        ...


def verify(
    headers: Headers,
    body: bytes | str,
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE_SECONDS,
) -> WebhookEvent:
    """Check that a request was signed with the secret, not long ago, and read it.

    Args:
        headers: the request's, in any case.
        body: the request's body as it arrived.
        secret: `whsec_` and base64, as the service gave it; several while they are being changed.
        tolerance: seconds that the time of sending may be away from now.

    Raises:
        WebhookError: it was not signed with the secret, is too old or from the future, or is no event. Answer
            with 400 and do nothing.
        ValueError: the secret is none; this is the receiver's own mistake.
    """
    secrets = [_key(one) for one in ([secret] if isinstance(secret, str) else secret)]
    if not secrets:
        raise ValueError("there is no secret to verify with")
    given = {name.lower(): value for name, value in headers.items()}
    missing = [name for name in _HEADERS if not given.get(name)]
    if missing:
        raise WebhookError(f"the header {missing[0]} is missing")
    message_id, timestamp = given["webhook-id"], given["webhook-timestamp"]
    data = body.encode() if isinstance(body, str) else body
    signed = b".".join((message_id.encode(), timestamp.encode(), data))
    expected = [hmac.digest(key, signed, hashlib.sha256) for key in secrets]
    # Every pair is compared, each in constant time: how long it takes tells nothing.
    matches = [
        hmac.compare_digest(one, found)
        for found in _signatures(given["webhook-signature"])
        for one in expected
    ]
    if not any(matches):
        raise WebhookError("no signature is of this secret")
    sent = _sent(timestamp, tolerance)
    return _event(message_id, sent, data)


def sign(secret: str, message_id: str, timestamp: int, body: bytes | str) -> str:
    """The value of `webhook-signature` for a message: for tests of a receiver.

    Args:
        secret: `whsec_` and base64.
        message_id: what `webhook-id` says.
        timestamp: Unix time, in whole seconds.
        body: the message.
    """
    data = body.encode() if isinstance(body, str) else body
    signed = b".".join((message_id.encode(), str(timestamp).encode(), data))
    return f"{_VERSION},{base64.b64encode(hmac.digest(_key(secret), signed, hashlib.sha256)).decode()}"


def _key(secret: str) -> bytes:
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except (binascii.Error, ValueError) as error:
        raise ValueError("a webhook secret is `whsec_` and base64") from error
    if not key:
        raise ValueError("the webhook secret is empty")
    return key


def _signatures(header: str) -> list[bytes]:
    """Those of our version; others are for other readers."""
    found = []
    for one in header.split():
        version, _, text = one.partition(",")
        if version == _VERSION:
            try:
                found.append(base64.b64decode(text, validate=True))
            except (binascii.Error, ValueError):
                continue
    return found


def _sent(timestamp: str, tolerance: float) -> datetime:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 13):
        raise WebhookError("the header webhook-timestamp is no Unix time")
    age = time.time() - int(timestamp)
    if age > tolerance:
        raise WebhookError(f"it was sent {age:.0f} s ago, which is too long")
    if age < -tolerance:
        raise WebhookError(f"it was sent {-age:.0f} s from now: one of the clocks is wrong")
    return datetime.fromtimestamp(int(timestamp), UTC)


def _event(message_id: str, sent: datetime, data: bytes) -> WebhookEvent:
    try:
        raw = json.loads(data)
        return WebhookEvent(message_id, raw["type"], sent, raw["data"], raw)
    except (ValueError, TypeError, KeyError) as error:
        raise WebhookError("it is signed, but no event: JSON with `type` and `data`") from error
