"""The operations of uploads, and of the service itself, as OpenAPI needs them; see `api.operations`."""

from api.operations import Answer, Operation
from api.views import BackboneList, Health, PresetList, Readiness, UploadList, UploadView
from shared.errors import (
    InvalidRequest,
    NotFound,
    PictureTooLarge,
    PictureUnreadable,
    StorageUnavailable,
    StoreUnavailable,
    TooLarge,
    UnsupportedMediaType,
)

UPLOAD_OPERATIONS: tuple[Operation, ...] = (
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
)

SERVICE_OPERATIONS: tuple[Operation, ...] = (
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
