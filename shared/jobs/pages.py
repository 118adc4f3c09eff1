"""Page tokens: opaque to callers, for us the place of a page's last entry in the order of the list."""

import base64
import binascii

from shared.errors import InvalidRequest

MAX_PAGE = 1000
_VERSION = "1"


def page_size(limit: int) -> int:
    """How many entries a page has at most, of as many as were asked for."""
    return max(1, min(limit, MAX_PAGE))


def page_token_of(order: float) -> str:
    """The token of the page after the entry of this order."""
    return base64.urlsafe_b64encode(f"{_VERSION}:{int(order)}".encode()).decode().rstrip("=")


def page_start(token: str | None, first: str = "+inf") -> str:
    """The bound, as Redis writes it, behind which a page begins.

    Args:
        token: of the page; None for the first one.
        first: what that begins behind: `+inf` where the last entry comes first, else `-inf`.

    Raises:
        InvalidRequest: the token is none of ours.
    """
    if token is None:
        return first
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise _bad_token() from error
    version, _, order = text.partition(":")
    if version != _VERSION or not (order.isascii() and order.isdecimal()) or len(order) > 16:
        raise _bad_token()
    return f"({order}"


def _bad_token() -> InvalidRequest:
    return InvalidRequest("page_token is not one that a list returned")
