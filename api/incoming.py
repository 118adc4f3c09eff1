"""Bodies of requests as they come in: how much of one is taken, and of what kind."""

from typing import TypeVar

from flask import g, request
from pydantic import BaseModel

from shared.errors import UnsupportedMediaType
from shared.requests.bodies import Parsed, parse
from shared.settings import PREFIX, Settings

JSON_BYTES = 2**20
M = TypeVar("M", bound=BaseModel)


def read(kind: type[M]) -> Parsed[M]:
    """Read the request's body.

    Raises:
        UnsupportedMediaType: it does not say that it is JSON.
        MalformedRequest: it is not JSON; says where.
        RequestEntityTooLarge: by Werkzeug, when it has more than a MiB.
    """
    if not request.is_json:
        raise UnsupportedMediaType("Send JSON, with the header `Content-Type: application/json`.")
    return parse(kind, whole(JSON_BYTES))


def allowed(settings: Settings, name: str) -> int:
    """The bytes that a setting allows the request's body; a refusal names it."""
    g.limited_by = PREFIX + name.upper()
    limit: int = getattr(settings, name)
    return limit


def take(limit: int) -> None:
    """Let the request's body be read: so many bytes at most, and no fewer than it said that it has."""
    request.max_content_length = limit
    if request.content_length is not None:
        # Gunicorn says that what it hands over ends by itself. It does where the caller has gone, too.
        request.environ.pop("wsgi.input_terminated", None)


def whole(limit: int) -> bytes:
    """The request's body.

    Raises:
        RequestEntityTooLarge: by Werkzeug, when it has more than `limit` bytes.
        ClientDisconnected: by Werkzeug, when it ends before it is as long as it said.
    """
    take(limit)
    data = request.get_data(cache=False)
    if request.content_length is None:
        request.stream.read(1)  # Werkzeug has cut a body without a length: it says so now
    return data
