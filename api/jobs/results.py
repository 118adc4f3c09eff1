"""A job's pictures: the finished one, or where it is, and the latest preview."""

import hashlib
import re

from flask import Blueprint, Response, g, request

from api import conditions, links
from api.jobs.views import OutputAddress
from api.replies import reply
from api.services import services
from shared.errors import NotFound, OutputExpired
from shared.jobs.record import Job, Output, Status
from shared.objects import ObjectMissingError

blueprint = Blueprint("results", __name__)

_EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp"}
PREVIEW_TYPE = "image/jpeg"


@blueprint.get("/v1/jobs/<job_id>/output")
def output(job_id: str) -> Response:
    """The finished picture: a redirect to where it is kept, or the picture itself with local storage.

    Whoever would rather have JSON is told the address: a script cannot follow a redirect to another origin
    with its token.
    """
    job = services().store.get(g.owner, job_id)
    if job.output is None and job.status is Status.SUCCEEDED:
        raise OutputExpired(
            "The picture is no longer kept: `output_expires_at` has passed. Retry the job for another."
        )
    if job.output is None:
        raise NotFound(f"The job is {job.status}; it has no picture{'' if job.status.terminal else ' yet'}.")
    settings, filename = services().settings, _filename(job, job.output)
    url = services().objects.url(
        job.output.key,
        seconds=settings.presign_seconds,
        filename=filename,
        content_type=job.output.content_type,
    )
    # A signed address is good for a while only, so it is not for keeping.
    if _prefers_json(job.output.content_type):
        address = OutputAddress(url=url or links.of_job(job.id).output)
        response = reply(address, headers={"Cache-Control": "no-store"})
    elif url:
        response = Response(status=302, headers={"Location": url, "Cache-Control": "no-store"})
    else:
        response = _picture(_stored(job.output.key), job.output.content_type, job.output.sha256, filename)
    response.vary.add("Accept")
    return response


@blueprint.get("/v1/jobs/<job_id>/preview")
def preview(job_id: str) -> Response:
    """The latest preview."""
    job = services().store.get(g.owner, job_id)
    if job.preview_key is None:
        raise NotFound("There is no preview of this job yet; poll the job and ask again.")
    data = _stored(job.preview_key)
    return _picture(data, PREVIEW_TYPE, hashlib.sha256(data).hexdigest(), f"{_stem(job.id)}-preview.jpg")


def _prefers_json(content_type: str) -> bool:
    """Whether JSON has a higher quality than the picture; `*/*` and no header at all ask for the picture."""
    accepted = request.accept_mimetypes
    return accepted.quality("application/json") > accepted.quality(content_type)


def _stored(key: str) -> bytes:
    try:
        return services().objects.get(key)
    except ObjectMissingError as error:
        raise NotFound("The picture has been deleted.") from error


def _picture(data: bytes, content_type: str, sha256: str, filename: str) -> Response:
    response = Response(data, content_type=content_type)
    response.headers["Content-Disposition"] = f'inline; filename="{filename}"'
    response.headers["Cache-Control"] = "private, no-cache"
    # Whatever a picture's bytes say, a browser shall not run them.
    response.headers["Content-Security-Policy"] = "default-src 'none'; sandbox"
    response.set_etag(sha256)
    return conditions.apply(response, len(data))


def _filename(job: Job, made: Output) -> str:
    return f"{_stem(job.id)}.{_EXTENSIONS.get(made.content_type, 'bin')}"


def _stem(job_id: str) -> str:
    """The job's ID as the start of a file's name: nothing hidden, nothing that a shell would expand."""
    return re.sub(r"[^A-Za-z0-9._-]", "-", job_id).lstrip("._-") or "picture"
