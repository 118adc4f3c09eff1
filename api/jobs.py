"""The routes of jobs: submit, poll, list, cancel, retry, delete."""

import logging
import re
import time

from flask import Blueprint, Response, g, request

from api import links, wire
from api.bodies import Parsed, read
from api.deadlines import with_deadline
from api.models import JobRequest
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
from shared.jobs.erase import erase
from shared.jobs.record import Job, Status
from shared.jobs.store import Purged

log = logging.getLogger(__name__)
blueprint = Blueprint("jobs", __name__)

IDEMPOTENCY_HEADER = "Idempotency-Key"
REPLAYED_HEADER = "Idempotent-Replayed"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
#: Unreserved characters of RFC 3986, so that an ID needs no escaping in an address.
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,128}")
_LIMIT, _MAX_LIMIT = 100, 1000
_QUERY = ("status", "limit", "page_token")


@blueprint.post("/v1/jobs")
def create() -> Response:
    """Submit a job under an ID made here."""
    parsed = with_deadline(read(JobRequest))
    name = Name.made_here(g.owner, _idempotency_key(parsed.faults))
    if parsed.model and (earlier := _replayed(name, parsed.model.fingerprint)):
        return _accepted(earlier, created=False)
    submitted = submit(parsed, name, services())
    return _accepted(submitted.job, created=submitted.created)


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
    return _accepted(submitted.job, created=True) if submitted.created else _show(submitted.job)


@blueprint.get("/v1/jobs/<job_id>")
def poll(job_id: str) -> Response:
    """A job as it stands."""
    return _show(services().store.get(g.owner, job_id))


@blueprint.get("/v1/jobs")
def index() -> Response:
    """The owner's jobs, newest first."""
    faults: list[Fault] = [
        InvalidRequest(
            f"There is no parameter {name}; there are {', '.join(_QUERY)}.", pointer=f"/query/{name}"
        )
        for name in request.args
        if name not in _QUERY
    ]
    status, limit = _status(faults), _limit(faults)
    raise_all(faults)
    token = request.args.get("page_token")
    try:
        page = services().store.list(g.owner, status=status, limit=limit, page_token=token)
    except InvalidRequest as fault:
        fault.pointer = "/query/page_token"
        raise
    return reply(
        JobPage(
            jobs=[wire.job_view(job, None) for job in page.jobs],
            next_page_token=page.next_token,
            next_url=links.next_page(page.next_token, status, limit) if page.next_token else None,
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
    key = _idempotency_key(faults)
    raise_all(faults)
    job = services().store.get(g.owner, job_id)
    if not job.status.terminal:
        raise Conflict(f"The job is {job.status}; only a job that has ended can be retried.")
    name = Name.made_here(g.owner, key)
    if earlier := _replayed(name, retry_hash(job)):
        return _accepted(earlier, created=False)
    submitted = resubmit(job, name, services())
    return _accepted(submitted.job, created=submitted.created)


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


def _accepted(job: Job, *, created: bool) -> Response:
    try:
        position = _position(job)
    except StoreUnavailable:
        position = None  # accepted all the same, and whoever asks again need not be told otherwise
    response = _view(job, position, 202)
    response.headers["Location"] = links.job(job.id)
    if not created:
        response.headers[REPLAYED_HEADER] = "true"
    return response


def _show(job: Job, status: int = 200) -> Response:
    return _view(job, _position(job), status)


def _position(job: Job) -> int | None:
    return services().store.position(job) if job.status is Status.QUEUED else None


def _view(job: Job, position: int | None, status: int) -> Response:
    etag = wire.etag(job, position)
    polled = request.method in ("GET", "HEAD")
    if polled and request.if_none_match.contains_weak(etag):
        response = Response(status=304)
    else:
        response = reply(wire.job_view(job, position), status)
    if polled:
        response.set_etag(etag, weak=True)
    if (seconds := wire.retry_after(job, position, time.time())) is not None:
        response.headers["Retry-After"] = str(seconds)
    return response


def _idempotency_key(faults: list[Fault]) -> str | None:
    key = request.headers.get(IDEMPOTENCY_HEADER)
    if key is None or _KEY.fullmatch(key):
        return key
    detail = "An idempotency key is 1 to 255 visible ASCII characters, such as a UUID."
    faults.append(InvalidRequest(detail, pointer=f"/headers/{IDEMPOTENCY_HEADER}"))
    return None


def _status(faults: list[Fault]) -> Status | None:
    given = request.args.get("status")
    if given is None:
        return None
    if given in list(Status):
        return Status(given)
    faults.append(InvalidRequest(f"A status is one of {', '.join(Status)}.", pointer="/query/status"))
    return None


def _limit(faults: list[Fault]) -> int:
    """The page's size; more than is given at a time is cut down, as AIP-158 has it."""
    given = request.args.get("limit", str(_LIMIT))
    if given.isascii() and given.isdigit() and len(given) <= 9 and int(given) > 0:
        return min(int(given), _MAX_LIMIT)
    detail = f"A limit is a whole number from 1; more than {_MAX_LIMIT} gives {_MAX_LIMIT}."
    faults.append(InvalidRequest(detail, pointer="/query/limit"))
    return _LIMIT


def _delete_objects(purged: Purged) -> None:
    """Best effort: the record is gone already, and chores sweep objects that no record names."""
    try:
        erase(services().objects, purged)
    except StorageUnavailable as fault:
        log.warning("request %s: objects are left behind: %s", g.request_id, fault.detail)
