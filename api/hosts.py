"""Which names this API answers to.

A page on any site can have its own name resolve to 127.0.0.1 (DNS rebinding), and a browser then lets that
page read what is served there. Where tokens are asked for, the page has none. Without them only names that
nobody else can point here are answered to: loopback, and the host of `public_url`.
"""

import re
from functools import lru_cache
from ipaddress import ip_address
from urllib.parse import urlsplit

from flask import Flask, request

from api.services import services
from shared.errors import MalformedRequest, UntrustedHost

#: A name or an address, and a port (RFC 9110, section 7.2).
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_LAST_PORT = 65_535
#: Most requests come by few names; a caller may send any, so no more are remembered.
_REMEMBERED = 256


def register(app: Flask) -> None:
    """Look at every request's Host before anything is served."""
    app.before_request(_check)


@lru_cache(_REMEMBERED)
def _name(host: str) -> str | None:
    """The name or address in a Host header, without brackets and port; None where that cannot be read."""
    parts = _HOST.fullmatch(host)
    if not parts or (parts[2] and not 1 <= int(parts[2]) <= _LAST_PORT):
        return None
    return parts[1].strip("[]").lower()


@lru_cache(_REMEMBERED)
def loopback(host: str) -> bool:
    """Whether a name or an address, without brackets, is this machine's own and cannot be another's."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _check() -> None:
    given = request.headers.get("Host", "")
    name = _name(given)
    if name is None:
        raise MalformedRequest("The header Host is needed, with a name or an address and perhaps a port.")
    settings = services().settings
    if settings.api_tokens or loopback(name):
        return
    if not settings.public_url or name != urlsplit(settings.public_url).hostname:
        raise UntrustedHost(
            f"Without tokens this API does not answer to {given[:255]}: call it as 127.0.0.1 or localhost, "
            "set IMPASTO_PUBLIC_URL to its address, or set IMPASTO_API_TOKENS."
        )
