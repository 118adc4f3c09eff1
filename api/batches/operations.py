"""The operations of batches as OpenAPI needs them; see `api.operations`."""

from api.batches.incoming import NDJSON
from api.batches.views import ArchiveView, BatchList, BatchView, ItemPage
from api.operations import LAST_EVENT, NONE_MATCH, PAGE_TOKEN, WAIT, Answer, Operation, Parameter
from api.preferences import APPLIED
from api.queries import IDEMPOTENCY_HEADER, REPLAYED_HEADER
from api.waiting.sse import CONTENT_TYPE as EVENT_STREAM
from shared.errors import (
    BackboneUnavailable,
    Conflict,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    PictureTooLarge,
    PictureUnreadable,
    PreconditionFailed,
    RangeNotSatisfiable,
    StorageUnavailable,
    StoreUnavailable,
    TooLarge,
    TooManyWaiting,
    UnsupportedMediaType,
    UploadNotFound,
)
from shared.jobs.archives import CONTENT_TYPE as ZIP
from shared.jobs.record import Status
from shared.requests.batch_models import BatchRequest

_ID = Parameter("id", "path", "The batch's ID.", {"type": "string"})
_KEY = Parameter(
    IDEMPOTENCY_HEADER,
    "header",
    "Any unique string: the same key with the same body gives the same batch for 24 hours.",
    {"type": "string", "minLength": 1, "maxLength": 255},
)
_RANGE = Parameter("Range", "header", "One part of the archive, such as `bytes=1024-`.", {"type": "string"})
_IF_RANGE = Parameter(
    "If-Range",
    "header",
    "The ETag of what is there already: another archive is sent whole.",
    {"type": "string"},
)
_LIMIT = Parameter(
    "limit",
    "query",
    "Entries on a page; 1000 at most.",
    {"type": "integer", "minimum": 1, "default": 100},
)
_PREFER = Parameter(
    "Prefer",
    "header",
    "`respond-async`: check the lines (NDJSON only, up to 1 000 000) after the answer.",
    {"type": "string"},
)
_ACCEPTED = Answer(
    202, "The batch is accepted.", (BatchView,), headers=("Location", "Retry-After", REPLAYED_HEADER)
)

BATCH_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "post",
        "/v1/batches",
        "createBatch",
        "Submit many jobs",
        (_ACCEPTED,),
        "As JSON, or as NDJSON: one item a line, after a first line with what they have in common. Every "
        "fault is answered with its place, and nothing is accepted then.",
        (_KEY, _PREFER),
        BatchRequest,
        lines=True,
        faults=(
            TooLarge,
            UnsupportedMediaType,
            InvalidRequest,
            BackboneUnavailable,
            UploadNotFound,
            PictureUnreadable,
            PictureTooLarge,
            IdempotencyMismatch,
            StoreUnavailable,
            StorageUnavailable,
        ),
    ),
    Operation(
        "get",
        "/v1/batches",
        "listBatches",
        "List batches",
        (Answer(200, "Some batches, newest first.", (BatchList,)),),
        parameters=(_LIMIT, PAGE_TOKEN),
        faults=(InvalidRequest, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/batches/{id}",
        "getBatch",
        "Poll a batch",
        (
            Answer(200, "The batch as it stands.", (BatchView,), headers=("ETag", "Retry-After", APPLIED)),
            Answer(304, "Nothing has changed.", headers=("ETag", "Retry-After", APPLIED)),
        ),
        parameters=(_ID, NONE_MATCH, WAIT),
        faults=(NotFound, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/batches/{id}/events",
        "streamBatch",
        "Be told what happens to a batch",
        (
            Answer(200, "Server-sent events, until the batch has ended.", media=(EVENT_STREAM,)),
            Answer(204, "The batch has ended, and its last event has been read."),
        ),
        "Events `item` name each item that ends; `batch` says how the batch is, twice a second at most; "
        "`gap`, that some items are no longer told; `end`, that no more come.",
        (_ID, LAST_EVENT),
        faults=(NotFound, StoreUnavailable, TooManyWaiting),
    ),
    Operation(
        "get",
        "/v1/batches/{id}/items",
        "listItems",
        "List a batch's jobs",
        (Answer(200, "Some jobs, in the order of the items.", (ItemPage,)),),
        "Items that are no jobs yet are not among them.",
        (
            _ID,
            Parameter(
                "status", "query", "Only jobs of this status.", {"enum": list(Status), "type": "string"}
            ),
            _LIMIT,
            PAGE_TOKEN,
        ),
        faults=(NotFound, InvalidRequest, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/batches/{id}/results.ndjson",
        "getResults",
        "Get what has become of each item",
        (Answer(200, "One line an item, in their order.", media=(NDJSON,)),),
        parameters=(_ID,),
        faults=(NotFound, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/batches/{id}/errors.ndjson",
        "getErrors",
        "Get what is wrong with the lines of a batch",
        (Answer(200, "One line a fault: `line`, `pointer`, `detail`.", media=(NDJSON,)),),
        "Of a batch that was checked after its answer and `failed`; empty otherwise.",
        (_ID,),
        faults=(NotFound, StoreUnavailable, StorageUnavailable),
    ),
    Operation(
        "post",
        "/v1/batches/{id}/retry",
        "retryBatch",
        "Run what did not succeed again",
        (_ACCEPTED,),
        "Makes a new batch of the items that failed, were canceled or expired; `retry_of` names the old one.",
        (_ID, _KEY),
        faults=(NotFound, Conflict, InvalidRequest, IdempotencyMismatch, StoreUnavailable),
    ),
    Operation(
        "delete",
        "/v1/batches/{id}",
        "deleteBatch",
        "Delete an ended batch, its jobs and their pictures",
        (Answer(204, "The batch is gone; its jobs go in the moments that follow."),),
        "A batch that has not ended is canceled first: deleting never cancels. One that a retry still reads, "
        "which is `validating` then, is a conflict as well.",
        (_ID,),
        faults=(NotFound, Conflict, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/batches/{id}/archive.zip",
        "getArchive",
        "Get every picture of a batch as one ZIP file",
        (
            Answer(200, "The archive.", media=(ZIP,), headers=("ETag",)),
            Answer(202, "It is being built: ask again.", (ArchiveView,), headers=("Retry-After",)),
            Answer(206, "A range of it.", media=(ZIP,), headers=("ETag",)),
            Answer(302, "The archive is kept at this address for a while.", headers=("Location",)),
            Answer(304, "Nothing has changed.", headers=("ETag",)),
        ),
        "The first request for it has it built, once the batch has ended. A download that broke off goes on "
        "with `Range` and `If-Range`.",
        (_ID, NONE_MATCH, _RANGE, _IF_RANGE),
        faults=(
            NotFound,
            Conflict,
            PreconditionFailed,
            RangeNotSatisfiable,
            StoreUnavailable,
            StorageUnavailable,
        ),
    ),
    Operation(
        "post",
        "/v1/batches/{id}/cancel",
        "cancelBatch",
        "Cancel a batch",
        (
            Answer(200, "The batch is canceled.", (BatchView,)),
            Answer(202, "Its jobs are being stopped.", (BatchView,), headers=("Retry-After",)),
        ),
        parameters=(_ID,),
        faults=(NotFound, Conflict, StoreUnavailable),
    ),
)
