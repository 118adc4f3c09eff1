"""Pictures sent to the service itself, for callers whose pictures have no address.

Every picture is decoded and cleaned at once, in the same sandbox that intake uses, so that a bad one is
refused while its sender listens.
"""

import time
from collections.abc import Sequence

from flask import Blueprint, Response, g, request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import RequestEntityTooLarge

from api.incoming import take, whole
from api.problems import raise_all
from api.replies import reply
from api.services import Services, services
from api.views import UploadList, UploadView
from shared.errors import (
    Fault,
    InvalidRequest,
    MalformedRequest,
    PictureTooLarge,
    PictureUnreadable,
    UnsupportedMediaType,
)
from shared.ids import new_id
from shared.pictures import CleanPicture, PictureLimits, clean, keep
from shared.requests.models import UPLOAD_SCHEME
from shared.timestamps import timestamp

blueprint = Blueprint("uploads", __name__)

FIELD = "file"
#: What multipart adds around the pictures.
_ENVELOPE_BYTES = 64 * 1024


@blueprint.post("/v1/uploads")
def create() -> Response:
    """Keep one picture or several."""
    found = services()
    bodies, several = _bodies(found.settings.picture_bytes, found.settings.max_styles + 1)
    views = [_keep(picture, g.owner, found) for picture in _clean(bodies, found)]
    return reply(UploadList(uploads=views) if several else views[0], 201)


def _bodies(limit: int, most: int) -> tuple[list[tuple[str, bytes]], bool]:
    """The pictures with a pointer to each, and whether they are to be answered as a list.

    Args:
        limit: bytes that they may have together.
        most: pictures that may come at once: each is decoded in a child process while its sender waits.
    """
    if request.mimetype == "multipart/form-data":
        if "boundary" not in request.mimetype_params:
            raise MalformedRequest("The Content-Type multipart/form-data has to say its boundary.")
        take(limit + _ENVELOPE_BYTES)
        files = _form().getlist(FIELD)
        others = sorted({*request.files, *request.form} - {FIELD})
        faults: list[Fault] = [
            InvalidRequest(
                f"There is no field {name}; a picture is a file in the field {FIELD}.", pointer=f"/{name}"
            )
            for name in others
        ]
        if not files:
            detail = "At least one file is needed; the form has none that could be read."
            faults.append(InvalidRequest(detail, pointer=f"/{FIELD}"))
        if len(files) > most:
            faults.append(InvalidRequest(f"A request may have {most} files here.", pointer=f"/{FIELD}"))
        raise_all(faults)
        return [(f"/{FIELD}/{index}", file.read()) for index, file in enumerate(files)], len(files) > 1
    if request.mimetype.startswith("image/") or request.mimetype == "application/octet-stream":
        return [("", whole(limit))], False
    raise UnsupportedMediaType(
        f"Send multipart/form-data with files in the field {FIELD}, or a picture with its own Content-Type."
    )


def _form() -> MultiDict[str, FileStorage]:
    """The files of a form."""
    try:
        return request.files
    except RequestEntityTooLarge:
        if (request.content_length or 0) > (request.max_content_length or 0):
            raise
        # Werkzeug says the same of a form that has too much beside its files.
        detail = f"The form has too many fields, or too long a one; a picture is a file in the field {FIELD}."
        raise InvalidRequest(detail, pointer="") from None


def _clean(bodies: Sequence[tuple[str, bytes]], found: Services) -> list[CleanPicture]:
    """All pictures or none: what is wrong with each is said at once."""
    limits = PictureLimits.of(found.settings)
    cleaned: list[CleanPicture] = []
    faults: list[Fault] = []
    for pointer, data in bodies:
        try:
            cleaned.append(clean(data, limits))
        except (PictureUnreadable, PictureTooLarge) as fault:
            fault.pointer = pointer
            faults.append(fault)
    raise_all(faults)
    return cleaned


def _keep(cleaned: CleanPicture, owner: str, found: Services) -> UploadView:
    upload_id = new_id("up")
    found.store.add_upload(owner, upload_id, keep(cleaned, found.store, found.objects))
    return UploadView(
        id=upload_id,
        image=UPLOAD_SCHEME + upload_id,
        width=cleaned.width,
        height=cleaned.height,
        bytes=len(cleaned.png),
        sha256=cleaned.sha256,
        expires_at=timestamp(
            time.time() + (found.settings.upload_seconds or found.settings.retention_seconds)
        ),
    )
