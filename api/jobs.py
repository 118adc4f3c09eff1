"""The routes of jobs: submit, poll, list, cancel, retry, delete."""

import logging
import re
import time

from flask import Blueprint, Response, g, request
from werkzeug.http import parse_etags

from api import links, queries, wire
from api.deadlines import with_deadline
from api.incoming import read
from api.problems import raise_all
from api.replies import reply
from api.services import services
from api.submit import Name, resubmit, retry_hash, submit
from api.views import JobPage
from shared.errors import (
    Conflict,
    Fault,
    IdempotencyMismatch,
    InvalidRequest,
    NotFound,
    StorageUnavailable,
    StoreUnavailable,
)
from shared.jobs.record import Job, Queue, Status
from shared.jobs.store import Purged, Submitted
from shared.requests.bodies import Parsed
from shared.requests.models import JobRequest

log = logging.getLogger(__name__)
blueprint = Blueprint("jobs", __name__)

REPLAYED_HEADER = "Idempotent-Replayed"
#: Unreserved characters of RFC 3986, so that an ID needs no escaping in an address.
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,128}")
_QUERY = ("status", "batch", "limit", "page_token")


@blueprint.post("/v1/jobs")
def create() -> Response:
    """Submit a job under an ID made here."""
    parsed = with_deadline(read(JobRequest))
    name = Name.made_here(g.owner, queries.idempotency_key(parsed.faults))
    if parsed.model and (earlier := _replayed(name, parsed.model.fingerprint)):
        return _replay(earlier)
    return _accepted(submit(parsed, name, services()))


@blueprint.put("/v1/jobs/<job_id>")
def put(job_id: str) -> Response:
    """Submit a job under the caller's own ID; doing it again changes nothing."""
    parsed = with_deadline(read(JobRequest))
    if not _ID.fullmatch(job_id):
        detail = "A job's ID is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -"
        parsed.faults.append(InvalidRequest(detail, pointer="/path/id"))
    elif existing := _same(job_id, parsed):
        return _show(existing)
    submitted = submit(parsed, Name.given(g.owner, job_id), services())
    return _accepted(submitted) if submitted.created else _view(submitted.job, submitted.position, 200)


@blueprint.get("/v1/jobs/<job_id>")
def poll(job_id: str) -> Response:
    """A job as it stands."""
    return _view(*services().store.look(g.owner, job_id), 200)


@blueprint.get("/v1/jobs")
def index() -> Response:
    """The owner's jobs, newest first."""
    faults = queries.only(_QUERY)
    status, limit = queries.status(faults), queries.limit(faults)
    raise_all(faults)
    token, batch = request.args.get("page_token"), request.args.get("batch")
    try:
        if batch is None:
            page = services().store.list(g.owner, status=status, limit=limit, page_token=token)
        else:
            page = services().batches.newest(g.owner, batch, status=status, limit=limit, page_token=token)
    except InvalidRequest as fault:
        fault.pointer = "/query/page_token"
        raise
    return reply(
        JobPage(
            jobs=[wire.job_view(job, None) for job in page.jobs],
            next_page_token=page.next_token,
            next_url=links.next_page(page.next_token, limit, status=status, batch=batch)
            if page.next_token
            else None,
        )
    )


@blueprint.post("/v1/jobs/<job_id>/cancel")
def cancel(job_id: str) -> Response:
    """Cancel: at once what waits (200), soon what is being painted (202)."""
    job = services().store.cancel(g.owner, job_id)
    return _show(job, status=200 if job.status.terminal else 202)


@blueprint.post("/v1/jobs/<job_id>/retry")
def retry(job_id: str) -> Response:
    """Run an ended job again, as a new one that names it."""
    faults: list[Fault] = []
    key = queries.idempotency_key(faults)
    raise_all(faults)
    job = services().store.get(g.owner, job_id)
    if not job.status.terminal:
        raise Conflict(f"The job is {job.status}; only a job that has ended can be retried.")
    name = Name.made_here(g.owner, key)
    if earlier := _replayed(name, retry_hash(job)):
        return _replay(earlier)
    return _accepted(resubmit(job, name, services()))


@blueprint.delete("/v1/jobs/<job_id>")
def delete(job_id: str) -> Response:
    """Delete an ended job and everything of it."""
    _delete_objects(services().store.purge(g.owner, job_id))
    return Response(status=204)


def _same(job_id: str, parsed: Parsed[JobRequest]) -> Job | None:
    """The job that an earlier PUT of the same body made.

    Asked for before anything that may have changed since is checked, such as the live workers.
    """
    if parsed.model is None:
        return None
    try:
        job = services().store.get(g.owner, job_id)
    except NotFound:
        return None
    if job.body_hash != parsed.model.fingerprint:
        raise Conflict(f"The ID {job_id} belongs to a job with another body; use another ID.")
    return job


def _replayed(name: Name, body_hash: str) -> Job | None:
    """The job that an earlier request with the same key made, asked for as early as in `_same`."""
    if name.idempotency_key is None:
        return None
    job = services().store.submitted_with(name.owner, name.idempotency_key)
    if job and job.body_hash != body_hash:
        raise IdempotencyMismatch("Use another key for another request; a UUID for each will do.")
    return job


def _accepted(submitted: Submitted) -> Response:
    response = _view(submitted.job, submitted.position, 202)
    response.headers["Location"] = links.job(submitted.job.id)
    if not submitted.created:
        response.headers[REPLAYED_HEADER] = "true"
    return response


def _replay(job: Job) -> Response:
    """What an earlier request was answered, with the job as it is now."""
    try:
        position = _position(job)
    except StoreUnavailable:
        position = None  # accepted all the same, and whoever asks again need not be told otherwise
    return _accepted(Submitted(job, created=False, ring=False, queue=Queue.INTAKE, position=position))


def _show(job: Job, status: int = 200) -> Response:
    return _view(job, _position(job), status)


def _position(job: Job) -> int | None:
    return services().store.position(job) if job.status is Status.QUEUED else None


def _view(job: Job, position: int | None, status: int) -> Response:
    etag = wire.etag(job, position)
    polled = request.method in ("GET", "HEAD")
    if polled and (given := request.headers.get("If-None-Match")) and parse_etags(given).contains_weak(etag):
        response = Response(status=304)
    else:
        response = reply(wire.job_view(job, position), status)
    if polled:
        response.headers["ETag"] = f'W/"{etag}"'
    if (seconds := wire.retry_after(job, position, time.time())) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def _delete_objects(purged: Purged) -> None:
    """Best effort: the record is gone already, and chores sweep objects that no record names."""
    for key in purged.keys:
        try:
            services().objects.delete(key)
        except StorageUnavailable as fault:
            log.warning("request %s: %s is left behind: %s", g.request_id, key, fault.detail)
