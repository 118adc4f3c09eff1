"""A name for every request: taken from `X-Request-Id` or made here, in every answer, problem and log line.

The job that it makes keeps it, so that a worker's lines about the job show it as well. Of a `traceparent`
(W3C Trace Context) the trace's ID stands in the request's lines.
"""

import re

from flask import Flask, Response, g, request

from shared import logs
from shared.ids import new_id

HEADER = "X-Request-Id"
#: What a caller's own may look like: it goes into logs and headers.
_ALLOWED = re.compile(r"[A-Za-z0-9._~-]{1,128}")
#: Version 00; later ones may have more behind it. Its second part, not all zeros, is the trace's ID.
_TRACE = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(?:-.*)?")


def register(app: Flask) -> None:
    """Name every request before anything else looks at it."""
    app.before_request(_name)
    app.after_request(_emit)
    app.teardown_request(_forget)


def _name() -> None:
    headers = request.headers
    given = headers.get(HEADER, "")
    name = given if _ALLOWED.fullmatch(given) else new_id("req")
    g.request_id = name
    trace = _TRACE.fullmatch(headers.get("traceparent", ""))
    logs.begin(request_id=name, trace_id=trace and trace[1])


def _emit(response: Response) -> Response:
    # Nothing else sets these, so there is no need to look whether they are there.
    response.headers.add(HEADER, g.request_id)
    response.headers.add("X-Content-Type-Options", "nosniff")
    return response


def _forget(_: BaseException | None) -> None:
    """What the thread says until its next request is not about this one."""
    logs.begin()
