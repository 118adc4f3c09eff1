"""A name for every request: taken from `X-Request-Id` or made here, in every answer, problem and log line."""

import re

from flask import Flask, Response, g, request

from shared.ids import new_id

HEADER = "X-Request-Id"
#: What a caller's own may look like: it goes into logs and headers.
_ALLOWED = re.compile(r"[A-Za-z0-9._~-]{1,128}")


def register(app: Flask) -> None:
    """Name every request before anything else looks at it."""
    app.before_request(_name)
    app.after_request(_emit)


def _name() -> None:
    given = request.headers.get(HEADER, "")
    g.request_id = given if _ALLOWED.fullmatch(given) else new_id("req")


def _emit(response: Response) -> Response:
    response.headers[HEADER] = g.request_id
    response.headers.setdefault("X-Content-Type-Options", "nosniff")
    return response
