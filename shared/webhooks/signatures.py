"""Signatures of Standard Webhooks 1.0, `v1`: HMAC-SHA256 (RFC 2104) with a secret that the owner shares."""

import base64
import hashlib
import hmac
import secrets
from collections.abc import Sequence

PREFIX = "whsec_"
#: Random bytes of a secret; the specification asks for 24 to 64.
SECRET_BYTES = 32


def new_secret() -> str:
    """A new secret: `whsec_` and the base64 of random bytes."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def sign(message_id: str, at: int, body: bytes, keys: Sequence[str]) -> dict[str, str]:
    """The headers that a message is sent with.

    Args:
        message_id: the same for each attempt at one message.
        at: when this attempt is made, in seconds since the epoch.
        body: the message, as it is sent.
        keys: secrets to sign with; a receiver needs to know one of them.

    Returns:
        `webhook-id`, `webhook-timestamp` and `webhook-signature`: a signature a secret, separated by spaces.
    """
    signed = f"{message_id}.{at}.".encode() + body
    made = [f"v1,{_hmac(key, signed)}" for key in keys]
    return {"webhook-id": message_id, "webhook-timestamp": str(at), "webhook-signature": " ".join(made)}


def _hmac(key: str, signed: bytes) -> str:
    secret = base64.b64decode(key.removeprefix(PREFIX), validate=True)
    return base64.b64encode(hmac.digest(secret, signed, hashlib.sha256)).decode()
