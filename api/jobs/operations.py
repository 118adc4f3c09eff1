"""The operations of jobs as OpenAPI needs them; see `api.operations`."""

from api.jobs.deadlines import CANCEL_AFTER_HEADER, PATTERN
from api.jobs.views import JobPage, JobView, OutputAddress
from api.operations import LAST_EVENT, NONE_MATCH, PAGE_TOKEN, WAIT, Answer, Operation, Parameter
from api.preferences import APPLIED
from api.queries import IDEMPOTENCY_HEADER, REPLAYED_HEADER
from shared.errors import (
    BackboneUnavailable,
    Conflict,
    IdempotencyMismatch,
    InvalidRequest,
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
    UnsupportedMediaType,
    UploadNotFound,
    WebhookRefused,
)
from shared.jobs.record import Status
from shared.requests.models import JobRequest

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
_SUBMIT_FAULTS = (
    TooLarge,
    UnsupportedMediaType,
    InvalidRequest,
    BackboneUnavailable,
    PreconditionFailed,
    Quarantined,
    UploadNotFound,
    PictureUnreadable,
    PictureTooLarge,
    WebhookRefused,
    StoreUnavailable,
    StorageUnavailable,
)

JOB_OPERATIONS: tuple[Operation, ...] = (
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
        (_JOB_ID, NONE_MATCH, WAIT),
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
            PAGE_TOKEN,
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
            PreconditionFailed,
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
        "A job that has not ended is canceled first: deleting never cancels. One that a retry of its batch "
        "still reads, which is `validating` then, is a conflict as well.",
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
        (_JOB_ID, NONE_MATCH, _RANGE),
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
        parameters=(_JOB_ID, NONE_MATCH, _RANGE),
        faults=(NotFound, PreconditionFailed, RangeNotSatisfiable, StoreUnavailable, StorageUnavailable),
    ),
)
