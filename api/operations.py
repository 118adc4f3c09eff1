"""What OpenAPI needs to know of an operation of the API, and what many operations have in common.

Each room has one entry an operation, in the order that the documentation shows them: `operations.py` in the
folders of jobs, webhooks and batches, `service_operations.py` for the rest. A test holds the entries to the
application's routes, and real answers to the schemas that they name.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from api.events import LAST_ID
from api.preferences import APPLIED, HEADER, MOST_SECONDS
from api.queries import REPLAYED_HEADER
from shared.errors import (
    Fault,
    InternalFault,
    MalformedRequest,
    Unauthorized,
    UntrustedHost,
)


@dataclass(frozen=True)
class Parameter:
    """Something outside the body that the caller may send."""

    name: str
    where: Literal["path", "query", "header"]
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """What an operation answers when it went well.

    Attributes:
        status: HTTP status. description: one sentence.
        views: the JSON document, or the alternatives.
        media: media types of a body that is not JSON; beside `views` where the caller may choose.
        headers: names of headers, described in `HEADERS`.
    """

    status: int
    description: str
    views: tuple[type[BaseModel], ...] = ()
    media: tuple[str, ...] = ()
    headers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Operation:
    """One method of one path.

    Attributes:
        body: the JSON document that it takes, or pictures.
        faults: those that it can answer with, beside what every operation can.
        lines: True where the body may come as NDJSON too.
    """

    method: Literal["get", "post", "put", "delete"]
    path: str
    name: str
    summary: str
    answers: tuple[Answer, ...]
    description: str = ""
    parameters: tuple[Parameter, ...] = ()
    body: type[BaseModel] | Literal["picture"] | None = None
    faults: tuple[type[Fault], ...] = ()
    lines: bool = False

    @property
    def guarded(self) -> bool:
        """Whether it asks for a token where tokens are set."""
        return self.path.startswith("/v1/") or self.path == "/metrics"


HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "Location": (
        "Address of the job, the batch, the picture, or the delivery.",
        {"type": "string", "format": "uri"},
    ),
    "Retry-After": ("Seconds until another poll may show something new.", {"type": "integer", "minimum": 1}),
    "ETag": ("Send it back as `If-None-Match` to be told 304 while nothing has changed.", {"type": "string"}),
    APPLIED: ("`wait=n` when the request waits, or has waited.", {"type": "string"}),
    REPLAYED_HEADER: ("`true` when an earlier request has made this job or batch.", {"type": "string"}),
}

WAIT = Parameter(
    HEADER,
    "header",
    f"`wait=n`: wait up to n seconds ({MOST_SECONDS} at most) for it to end; with `If-None-Match`, for "
    "it to change.",
    {"type": "string", "examples": ["wait=30"]},
)
LAST_EVENT = Parameter(
    LAST_ID, "header", "The `id` of the last event that was read; those after it follow.", {"type": "string"}
)
NONE_MATCH = Parameter("If-None-Match", "header", "An earlier answer's ETag.", {"type": "string"})
PAGE_TOKEN = Parameter("page_token", "query", "`next_page_token` of the page before.", {"type": "string"})
#: What the header Host alone can be wrong about.
_EVERYWHERE = (MalformedRequest, UntrustedHost)


def faults_of(operation: Operation) -> tuple[type[Fault], ...]:
    """Every fault that an operation can answer with."""
    return (*_EVERYWHERE, *operation.faults, *((Unauthorized,) if operation.guarded else ()), InternalFault)
