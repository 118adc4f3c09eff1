"""The operations of batches as OpenAPI needs them; see `api.operations`."""

from api.batches.incoming import NDJSON
from api.batches.views import ArchiveView, BatchList, BatchView, ItemPage
from api.jobs import REPLAYED_HEADER
from api.operations import Answer, Operation, Parameter
from api.queries import IDEMPOTENCY_HEADER
from shared.errors import (
    BackboneUnavailable,
    Conflict,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    PictureTooLarge,
    PictureUnreadable,
    RangeNotSatisfiable,
    StorageUnavailable,
    StoreUnavailable,
    TooLarge,
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
_NONE_MATCH = Parameter("If-None-Match", "header", "An earlier answer's ETag.", {"type": "string"})
_LIMIT = Parameter(
    "limit",
    "query",
    "Entries on a page; 1000 at most.",
    {"type": "integer", "minimum": 1, "default": 100},
)
_TOKEN = Parameter("page_token", "query", "`next_page_token` of the page before.", {"type": "string"})
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
        (_KEY,),
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
        parameters=(_LIMIT, _TOKEN),
        faults=(InvalidRequest, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/batches/{id}",
        "getBatch",
        "Poll a batch",
        (
            Answer(200, "The batch as it stands.", (BatchView,), headers=("ETag", "Retry-After")),
            Answer(304, "Nothing has changed.", headers=("ETag", "Retry-After")),
        ),
        parameters=(_ID, _NONE_MATCH),
        faults=(NotFound, StoreUnavailable),
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
            _TOKEN,
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
        (_ID, _NONE_MATCH, _RANGE, _IF_RANGE),
        faults=(NotFound, Conflict, RangeNotSatisfiable, StoreUnavailable, StorageUnavailable),
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
