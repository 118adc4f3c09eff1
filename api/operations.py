"""Every operation of the API as OpenAPI needs it: one entry each, in the order the documentation shows them.

A test holds the entries to the application's routes, and real answers to the schemas named here.
"""

from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel

from api.deadlines import CANCEL_AFTER_HEADER, PATTERN
from api.delivery_views import DeliveryPageView, DeliveryView, SecretsView
from api.events import LAST_ID
from api.jobs import REPLAYED_HEADER
from api.preferences import APPLIED, HEADER, MOST_SECONDS
from api.queries import IDEMPOTENCY_HEADER
from api.views import (
    BackboneList,
    Health,
    JobPage,
    JobView,
    OutputAddress,
    PresetList,
    Readiness,
    UploadList,
    UploadView,
)
from shared.errors import (
    BackboneUnavailable,
    Conflict,
    Fault,
    IdempotencyMismatch,
    InternalFault,
    InvalidRequest,
    MalformedRequest,
    NotFound,
    OutputExpired,
    PictureTooLarge,
    PictureUnreadable,
    PreconditionFailed,
    Quarantined,
    RangeNotSatisfiable,
    StorageUnavailable,
    StoreUnavailable,
    TooLarge,
    TooManyWaiting,
    Unauthorized,
    UnsupportedMediaType,
    UntrustedHost,
    UploadNotFound,
    WebhookRefused,
)
from shared.jobs.delivery import DeliveryState
from shared.jobs.record import Status
from shared.requests.models import JobRequest, WebhookTest


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

_JOB_ID = Parameter("id", "path", "The job's ID.", {"type": "string", "pattern": "^[A-Za-z0-9._~-]{1,128}$"})
_KEY = Parameter(
    IDEMPOTENCY_HEADER,
    "header",
    "Any unique string: the same key with the same body gives the same job for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_CANCEL_AFTER = Parameter(
    CANCEL_AFTER_HEADER,
    "header",
    "When to end the job if it has not ended: seconds, or with units, as 90s, 5m, 2h or 1h30m. The same as "
    "`deadline_seconds` in the body; give one of them.",
    {"type": "string", "pattern": PATTERN},
)
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
_NONE_MATCH = Parameter("If-None-Match", "header", "An earlier answer's ETag.", {"type": "string"})
_RANGE = Parameter(
    "Range",
    "header",
    "One part of the picture, such as `bytes=0-1023`; what is not one valid range is ignored.",
    {"type": "string"},
)
_UNCHANGED = Answer(304, "Nothing has changed.", headers=("ETag", "Retry-After", APPLIED))
_ACCEPTED = Answer(
    202, "The job is accepted.", (JobView,), headers=("Location", "Retry-After", APPLIED, REPLAYED_HEADER)
)
#: Media types of results.
_RESULTS = ("image/png", "image/jpeg", "image/webp")
#: What the header Host alone can be wrong about.
_EVERYWHERE = (MalformedRequest, UntrustedHost)
_SUBMIT_FAULTS = (
    TooLarge,
    UnsupportedMediaType,
    InvalidRequest,
    BackboneUnavailable,
    Quarantined,
    UploadNotFound,
    PictureUnreadable,
    PictureTooLarge,
    WebhookRefused,
    StoreUnavailable,
    StorageUnavailable,
)

_DELIVERY_ID = Parameter("id", "path", "The message's ID.", {"type": "string"})

OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "/v1/jobs",
        "createJob",
        "Submit a job",
        (_ACCEPTED,),
        "The pictures are fetched and painted after the answer: poll the address in `Location`.",
        (_KEY, _CANCEL_AFTER, WAIT),
        JobRequest,
        (*_SUBMIT_FAULTS, IdempotencyMismatch),
    ),
    Operation(
        "put",
        "/v1/jobs/{id}",
        "putJob",
        "Submit a job under your own ID",
        (
            Answer(
                200,
                "The job was there already, from the same body.",
                (JobView,),
                headers=("Retry-After", APPLIED),
            ),
            Answer(202, "The job is accepted.", (JobView,), headers=("Location", "Retry-After", APPLIED)),
        ),
        "May be sent again at any time: the same body changes nothing, another is a conflict.",
        (_JOB_ID, _CANCEL_AFTER, WAIT),
        JobRequest,
        (*_SUBMIT_FAULTS, Conflict),
    ),
    Operation(
        "get",
        "/v1/jobs/{id}",
        "getJob",
        "Poll a job",
        (
            Answer(200, "The job as it stands.", (JobView,), headers=("ETag", "Retry-After", APPLIED)),
            _UNCHANGED,
        ),
        "A job that failed is a 200 with its `error` inside.",
        (_JOB_ID, _NONE_MATCH, WAIT),
        faults=(NotFound, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/jobs",
        "listJobs",
        "List jobs",
        (Answer(200, "Some jobs, newest first.", (JobPage,)),),
        parameters=(
            Parameter(
                "status", "query", "Only jobs of this status.", {"enum": list(Status), "type": "string"}
            ),
            Parameter(
                "limit",
                "query",
                "Jobs on a page; 1000 at most.",
                {"type": "integer", "minimum": 1, "default": 100},
            ),
            Parameter("page_token", "query", "`next_page_token` of the page before.", {"type": "string"}),
            Parameter("batch", "query", "Only jobs of this batch.", {"type": "string"}),
        ),
        faults=(InvalidRequest, StoreUnavailable),
    ),
    Operation(
        "post",
        "/v1/jobs/{id}/cancel",
        "cancelJob",
        "Cancel a job",
        (
            Answer(200, "The job is canceled.", (JobView,)),
            Answer(202, "The worker stops as soon as it can.", (JobView,), headers=("Retry-After",)),
        ),
        parameters=(_JOB_ID,),
        faults=(NotFound, Conflict, StoreUnavailable),
    ),
    Operation(
        "post",
        "/v1/jobs/{id}/retry",
        "retryJob",
        "Run an ended job again",
        (_ACCEPTED,),
        "Makes a new job on the same pictures and spec; its `retry_of` names the old one.",
        (_JOB_ID, _KEY),
        faults=(
            NotFound,
            Conflict,
            InvalidRequest,
            BackboneUnavailable,
            Quarantined,
            IdempotencyMismatch,
            StoreUnavailable,
        ),
    ),
    Operation(
        "delete",
        "/v1/jobs/{id}",
        "deleteJob",
        "Delete an ended job and its pictures",
        (Answer(204, "Everything of the job is gone."),),
        "A job that has not ended is canceled first: deleting never cancels.",
        (_JOB_ID,),
        faults=(NotFound, Conflict, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/jobs/{id}/events",
        "streamJob",
        "Be told of each change of a job",
        (
            Answer(200, "Server-sent events, until the job has ended.", media=("text/event-stream",)),
            Answer(204, "The job has ended, and its last event has been read."),
        ),
        "Events `job` say how the job is; `gap`, that some are no longer kept; `end`, that no more come.",
        (_JOB_ID, LAST_EVENT),
        faults=(NotFound, StoreUnavailable, TooManyWaiting),
    ),
    Operation(
        "get",
        "/v1/jobs/{id}/output",
        "getOutput",
        "Get the finished picture",
        (
            Answer(
                200,
                "The picture, or its address as JSON where that is preferred.",
                (OutputAddress,),
                _RESULTS,
                headers=("ETag",),
            ),
            Answer(
                206,
                "A range of the picture.",
                media=_RESULTS,
                headers=("ETag",),
            ),
            Answer(302, "The picture is kept at this address for a while.", headers=("Location",)),
            _UNCHANGED,
        ),
        "A range may be asked for. With `Accept: application/json` its address is answered instead.",
        (_JOB_ID, _NONE_MATCH, _RANGE),
        faults=(
            NotFound,
            OutputExpired,
            PreconditionFailed,
            RangeNotSatisfiable,
            StoreUnavailable,
            StorageUnavailable,
        ),
    ),
    Operation(
        "get",
        "/v1/jobs/{id}/preview",
        "getPreview",
        "Get the latest preview",
        (
            Answer(200, "The picture as far as it is painted.", media=("image/jpeg",), headers=("ETag",)),
            Answer(206, "A range of it.", media=("image/jpeg",), headers=("ETag",)),
            _UNCHANGED,
        ),
        parameters=(_JOB_ID, _NONE_MATCH, _RANGE),
        faults=(NotFound, PreconditionFailed, RangeNotSatisfiable, StoreUnavailable, StorageUnavailable),
    ),
    Operation(
        "post",
        "/v1/uploads",
        "createUpload",
        "Upload a picture",
        (Answer(201, "The picture is kept; several are answered as a list.", (UploadView, UploadList)),),
        "Multipart with one or more files in the field `file`, or one picture as the body.",
        body="picture",
        faults=(
            TooLarge,
            UnsupportedMediaType,
            InvalidRequest,
            PictureUnreadable,
            PictureTooLarge,
            StoreUnavailable,
            StorageUnavailable,
        ),
    ),
    Operation(
        "get",
        "/v1/webhooks/secret",
        "getWebhookSecret",
        "Get the secret of your webhooks",
        (Answer(200, "What they are signed with.", (SecretsView,)),),
        "Made by the first who asks, or by the first delivery.",
        faults=(StoreUnavailable,),
    ),
    Operation(
        "post",
        "/v1/webhooks/secret/rotate",
        "rotateWebhookSecret",
        "Sign webhooks with a new secret",
        (Answer(200, "The new secret, and those that sign beside it.", (SecretsView,)),),
        "The one before goes on signing for 24 hours, so that receivers can be told of the new one.",
        faults=(StoreUnavailable,),
    ),
    Operation(
        "get",
        "/v1/webhooks/deliveries",
        "listDeliveries",
        "List deliveries of webhooks",
        (Answer(200, "Some deliveries, the latest event first.", (DeliveryPageView,)),),
        "They are kept as long as the job or batch that they tell of.",
        (
            Parameter("job", "query", "Only those of the job with this ID.", {"type": "string"}),
            Parameter(
                "batch",
                "query",
                "Only those of the batch with this ID and of its jobs; pages may then be short.",
                {"type": "string"},
            ),
            Parameter(
                "state", "query", "Only those in this state.", {"enum": list(DeliveryState), "type": "string"}
            ),
            Parameter(
                "limit",
                "query",
                "Deliveries on a page; 1000 at most.",
                {"type": "integer", "minimum": 1, "default": 100},
            ),
            Parameter("page_token", "query", "`next_page_token` of the page before.", {"type": "string"}),
        ),
        faults=(NotFound, InvalidRequest, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/webhooks/deliveries/{id}",
        "getDelivery",
        "Get a delivery",
        (Answer(200, "The delivery, with each attempt.", (DeliveryView,)),),
        parameters=(_DELIVERY_ID,),
        faults=(NotFound, StoreUnavailable),
    ),
    Operation(
        "post",
        "/v1/webhooks/deliveries/{id}/redeliver",
        "redeliver",
        "Send a webhook once more",
        (Answer(202, "It is sent now, and after that by the whole schedule.", (DeliveryView,)),),
        "Whatever came of it. The `webhook-id` stays the same.",
        (_DELIVERY_ID,),
        faults=(NotFound, Conflict, StoreUnavailable),
    ),
    Operation(
        "post",
        "/v1/webhooks/test",
        "testWebhook",
        "Send a test event",
        (Answer(202, "It is sent once; poll it.", (DeliveryView,), headers=("Location",)),),
        "The address is held to the same rules as a job's.",
        body=WebhookTest,
        faults=(TooLarge, UnsupportedMediaType, InvalidRequest, WebhookRefused, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/backbones",
        "listBackbones",
        "List backbones",
        (
            Answer(
                200,
                "The catalogue and what else workers offer, and what of it is available now.",
                (BackboneList,),
            ),
        ),
        faults=(StoreUnavailable,),
    ),
    Operation(
        "get", "/v1/presets", "listPresets", "List presets", (Answer(200, "The named specs.", (PresetList,)),)
    ),
    Operation(
        "get", "/healthz", "health", "Whether the process lives", (Answer(200, "It does.", (Health,)),)
    ),
    Operation(
        "get",
        "/readyz",
        "readiness",
        "Whether jobs can be accepted",
        (Answer(200, "Job store and object store answer.", (Readiness,)),),
        faults=(StoreUnavailable, StorageUnavailable),
    ),
    Operation(
        "get",
        "/metrics",
        "metrics",
        "Numbers for Prometheus",
        (Answer(200, "Every metric, in Prometheus' text format.", media=("text/plain",)),),
        "Asks for a token of its own or an owner's, as the service is set up; 404 where it is switched off.",
        faults=(NotFound,),
    ),
    Operation(
        "get",
        "/openapi.json",
        "openapi",
        "This description",
        (Answer(200, "An OpenAPI 3.1 document.", media=("application/json",)),),
    ),
    Operation(
        "get", "/docs", "docs", "This description for people", (Answer(200, "A page.", media=("text/html",)),)
    ),
)


def faults_of(operation: Operation) -> tuple[type[Fault], ...]:
    """Every fault that an operation can answer with."""
    return (*_EVERYWHERE, *operation.faults, *((Unauthorized,) if operation.guarded else ()), InternalFault)
