"""Faults as answers: RFC 9457 problem documents, and nothing else, whatever goes wrong.

Faults themselves are defined in `shared.errors`. Every fault of a request is answered at once: code that
checks a request gathers them and raises one `Faults`.
"""

import logging
from collections.abc import Sequence
from contextlib import suppress
from http import HTTPStatus
from socket import socket

from flask import Flask, Response, g, request
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.exceptions import ClientDisconnected, HTTPException

from api import links, metrics
from api.views import FieldError, Problem
from shared.errors import (
    Fault,
    InternalFault,
    InvalidRequest,
    MalformedRequest,
    MethodNotAllowed,
    NotFound,
    RangeNotSatisfiable,
    StorageUnavailable,
    StoreUnavailable,
    TooLarge,
    Unauthorized,
    UnsupportedMediaType,
)
from shared.ids import new_id
from shared.requests.bodies import MOST_FAULTS

log = logging.getLogger(__name__)

PROBLEM_TYPE = "application/problem+json"
#: Seconds after which a caller may try again when a part of the service is away.
AWAY_SECONDS = 2
#: Bytes of a body that is too large that are read all the same.
MAX_DISCARDED = 2**26
#: Faults that one answer lists.
MAX_ERRORS = 1000

_OF_STATUS: dict[int, type[Fault]] = {
    404: NotFound,
    405: MethodNotAllowed,
    413: TooLarge,
    415: UnsupportedMediaType,
    416: RangeNotSatisfiable,
}


class Faults(Exception):  # noqa: N818 - as its parts
    """Several faults of one request, answered together."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__("; ".join(fault.detail for fault in faults))
        self.faults = tuple(faults)


def raise_all(faults: Sequence[Fault]) -> None:
    """Raise what was gathered, if anything was."""
    if faults:
        raise Faults(faults)


def answer(faults: Sequence[Fault]) -> Response:
    """The problem document for one fault or several of the request that is served."""
    metrics.note_problem(_kind(faults).code)
    return problem(faults, g.request_id)


def problem(faults: Sequence[Fault], request_id: str) -> Response:
    """The problem document for one fault or several of one request.

    Faults of one kind keep their code; different kinds are an `invalid_request`, told apart by their details.
    """
    kind = _kind(faults)
    detail = faults[0].detail if len(faults) == 1 else _several(len(faults))
    document = Problem(
        type=f"{links.base()}/docs#{kind.code}",
        title=kind.title,
        status=kind.status,
        detail=detail,
        code=kind.code,
        request_id=request_id,
        errors=[
            FieldError(pointer=fault.pointer, detail=fault.detail, line=fault.line)
            for fault in faults[:MAX_ERRORS]
            if fault.pointer is not None
        ],
    )
    body = document.model_dump_json(exclude_none=True)
    response = Response(body, status=kind.status, content_type=PROBLEM_TYPE)
    response.headers["Cache-Control"] = "no-store"
    if kind.status == HTTPStatus.SERVICE_UNAVAILABLE:
        response.headers["Retry-After"] = str(AWAY_SECONDS)
    if kind is Unauthorized:
        response.headers["WWW-Authenticate"] = 'Bearer realm="impasto"'
    return response


def _several(count: int) -> str:
    if count >= MOST_FAULTS:
        return f"{MOST_FAULTS} faults or more, of which `errors` lists the first {MAX_ERRORS}."
    if count > MAX_ERRORS:
        return f"{count} faults, of which `errors` lists the first {MAX_ERRORS}."
    return f"{count} faults, each listed in `errors`."


def _kind(faults: Sequence[Fault]) -> type[Fault]:
    """What the faults are together."""
    kinds = {type(fault) for fault in faults}
    return kinds.pop() if len(kinds) == 1 else InvalidRequest


def register(app: Flask) -> None:
    """Answer every error of the application with a problem document."""
    app.register_error_handler(Faults, lambda error: answer(error.faults))
    app.register_error_handler(Fault, _fault)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(ParseException, _misframed)
    app.register_error_handler(Exception, _anything)


def write_unreadable(connection: socket, status: int, reason: str, detail: str) -> None:
    """Answer a request that gunicorn could not read, in its own way of writing to the connection.

    Args:
        connection: the caller's.
        status: HTTP status.
        reason: its words.
        detail: what gunicorn found; may quote the request.
    """
    kind = MalformedRequest if status < HTTPStatus.INTERNAL_SERVER_ERROR else InternalFault
    document = Problem(
        type=f"/docs#{kind.code}",
        title=kind.title,
        status=status,
        detail=detail or reason,
        code=kind.code,
        request_id=new_id("req"),
    )
    body = document.model_dump_json().encode()
    head = (
        f"HTTP/1.1 {status} {reason}\r\nConnection: close\r\nContent-Type: {PROBLEM_TYPE}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)


def _fault(fault: Fault) -> Response:
    if isinstance(fault, StoreUnavailable | StorageUnavailable):
        log.warning("request %s: %s: %s", g.request_id, fault.code, fault.detail)
    return answer([fault])


def _http_exception(error: HTTPException) -> Response:
    """Flask's and Werkzeug's own errors: no route, wrong method, body too large, a broken form."""
    status = error.code or HTTPStatus.INTERNAL_SERVER_ERROR
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return _anything(error)
    response = answer([_OF_STATUS.get(status, MalformedRequest)(_detail(status, error))])
    for name in ("Allow", "Content-Range"):
        if value := error.get_response().headers.get(name):
            response.headers[name] = value
    if status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        _discard()
    return response


def _misframed(error: Exception) -> Response:
    """What gunicorn finds wrong with the chunks of a body, as it is read."""
    return answer([MalformedRequest(f"The body cannot be read: {error}.")])


def _discard() -> None:
    """Take a body that nobody wants: who closes a connection on what still comes in loses its own answer."""
    stream, taken = request.environ["wsgi.input"], 0
    with suppress(OSError, ParseException):
        while taken < MAX_DISCARDED and (block := stream.read(2**16)):
            taken += len(block)


def _detail(status: int, error: HTTPException) -> str:
    if isinstance(error, ClientDisconnected):
        return "The body did not come whole: it ended before its Content-Length, or stood still too long."
    match status:
        case HTTPStatus.NOT_FOUND:
            return f"There is no {request.path}; /docs lists what there is."
        case HTTPStatus.METHOD_NOT_ALLOWED:
            return f"{request.path} does not take {request.method}; the Allow header lists what it takes."
        case HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
            setting = f" ({g.limited_by})" if "limited_by" in g else ""
            return f"The body may have {request.max_content_length} bytes here{setting}."
        case _:
            return error.description or "The request cannot be read."


def _anything(error: Exception) -> Response:
    """An error of ours: the caller learns no more than where to look it up."""
    log.error("request %s: %s %s failed", g.request_id, request.method, request.path, exc_info=error)
    return answer([InternalFault("The service made an error; its log has it under this request_id.")])
