"""The routes of jobs: submit, poll, list, cancel, retry, delete."""

import logging
import re
from collections.abc import Mapping
from http import HTTPStatus

from flask import Blueprint, Response, g, request
from werkzeug.datastructures import ETags

from api import links, preferences, queries
from api.incoming import read
from api.jobs import shown, wire
from api.jobs.deadlines import with_deadline
from api.jobs.submit import Name, resubmit, retry_hash, submit
from api.jobs.views import JobPage
from api.problems import raise_all
from api.queries import REPLAYED_HEADER
from api.replies import reply
from api.services import Texts, services
from api.waiting.held import Held, deadline_in
from api.waiting.jobs import JobPoll
from api.waiting.sinks import Headers, Sink
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
from shared.jobs.eta import Outlook
from shared.jobs.record import Job, Status
from shared.jobs.results import Purged
from shared.requests.bodies import Parsed
from shared.requests.models import JobRequest

log = logging.getLogger(__name__)
blueprint = Blueprint("jobs", __name__)

#: Unreserved characters of RFC 3986, so that an ID needs no escaping in an address.
_ID = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._~-]{1,128}")
#: What a caller has who says nothing of it.
_NOTHING = ETags()
_QUERY = ("status", "batch", "limit", "page_token")


@blueprint.post("/v1/jobs")
def create() -> Response:
    """Submit a job under an ID made here."""
    parsed = with_deadline(read(JobRequest))
    name = Name.made_here(g.owner, queries.idempotency_key(parsed.faults))
    if parsed.model and (earlier := _replayed(name, parsed.model.fingerprint)):
        return _replay(earlier)
    submitted = submit(parsed, name, services())
    return _accepted(submitted.job, submitted.position, created=submitted.created)


@blueprint.put("/v1/jobs/<job_id>")
def put(job_id: str) -> Response:
    """Submit a job under the caller's own ID; doing it again changes nothing."""
    parsed = with_deadline(read(JobRequest))
    if not _ID.fullmatch(job_id):
        detail = "A job's ID is 1 to 128 of the characters A-Z a-z 0-9 . _ ~ -"
        parsed.faults.append(InvalidRequest(detail, pointer="/path/id"))
    elif existing := _same(job_id, parsed):
        return _show_in_time(*existing)
    submitted = submit(parsed, Name.given(g.owner, job_id), services())
    if submitted.created:
        return _accepted(submitted.job, submitted.position, created=True)
    return _show_in_time(submitted.job, submitted.position)


@blueprint.get("/v1/jobs/<job_id>")
def poll(job_id: str) -> Response:
    """A job as it stands, or once it has changed."""
    return _show_in_time(*shown.look(g.owner, job_id))


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
    submitted = resubmit(job, name, services())
    return _accepted(submitted.job, submitted.position, created=submitted.created)


@blueprint.delete("/v1/jobs/<job_id>")
def delete(job_id: str) -> Response:
    """Delete an ended job and everything of it."""
    _delete_objects(services().store.purge(g.owner, job_id))
    return Response(status=204)


def _same(job_id: str, parsed: Parsed[JobRequest]) -> tuple[Job, int | None] | None:
    """The job that an earlier PUT of the same body made, and its place where it waits.

    Asked for before anything that may have changed since is checked, such as the live workers.
    """
    if parsed.model is None:
        return None
    try:
        job, position = services().store.look(g.owner, job_id)
    except NotFound:
        return None
    if job.body_hash != parsed.model.fingerprint:
        raise Conflict(f"The ID {job_id} belongs to a job with another body; use another ID.")
    return job, position


def _replayed(name: Name, body_hash: str) -> Job | None:
    """The job that an earlier request with the same key made, asked for as early as in `_same`."""
    if name.idempotency_key is None:
        return None
    job = services().store.submitted_with(name.owner, name.idempotency_key)
    if job and job.body_hash != body_hash:
        raise IdempotencyMismatch("Use another key for another request; a UUID for each will do.")
    return job


def _accepted(job: Job, position: int | None, *, created: bool) -> Response:
    if created:
        shown.keep(job)
    headers = {"Location": links.job(job.id)} | ({} if created else {REPLAYED_HEADER: "true"})
    if held := _held(job, 202, None, headers):
        return held
    try:
        outlook = services().outlooks.at(job, position)
    except StoreUnavailable:
        outlook = None  # accepted all the same, and whoever asks again need not be told otherwise
    return _view(job, outlook, 202, None, headers)


def _replay(job: Job) -> Response:
    """What an earlier request was answered, with the job as it is now."""
    try:
        position = services().store.position(job) if job.status is Status.QUEUED else None
    except StoreUnavailable:
        position = None
    return _accepted(job, position, created=False)


def _show(job: Job, status: int = 200) -> Response:
    return _view(job, services().outlooks.of(job), status, _known(), {})


def _show_in_time(job: Job, position: int | None) -> Response:
    """The job once it has changed from what the caller knows of it, or has ended."""
    known = _known()
    response = _view(job, services().outlooks.at(job, position), 200, known, {})
    knows = known is not None and bool(known)
    if knows and response.status_code != HTTPStatus.NOT_MODIFIED:
        return response
    return _held(job, 200, known, {}, until_ended=not knows) or response


def _held(
    job: Job, status: int, known: ETags | None, headers: Mapping[str, str], *, until_ended: bool = True
) -> Response | None:
    """An answer for later, where the caller would rather wait, there is something to wait for, and room."""
    seconds, hub = preferences.wait_seconds(), services().hub
    if seconds is None or request.method == "HEAD" or job.status.terminal or hub.full or hub.left:
        return None
    base, texts, deadline = links.base(), services().texts, deadline_in(seconds)

    def begin(sink: Sink, given: Headers) -> JobPoll:
        def render(now: Job, outlook: Outlook | None) -> Response:
            return _view(now, outlook, status, known, headers, texts)

        return JobPoll(sink, job, base, given, render, until_ended=until_ended, deadline=deadline)

    return preferences.apply_wait(Held(begin, stream=False), seconds)


def _known() -> ETags | None:
    """Entity tags of what the caller has; None where the answer shall have none."""
    if request.method not in ("GET", "HEAD"):
        return None
    return request.if_none_match if "If-None-Match" in request.headers else _NOTHING


def _view(
    job: Job,
    outlook: Outlook | None,
    status: int,
    known: ETags | None,
    headers: Mapping[str, str],
    texts: Texts | None = None,
) -> Response:
    """The job, or 304 where the caller has that: `known` is as `_known` says, `texts` are the services'."""
    etag = wire.etag(job, outlook)
    own: dict[str, str] = {}
    if known is not None:
        own["ETag"] = f'W/"{etag}"'
    if (seconds := wire.retry_after(job, outlook)) is not None:
        own["Retry-After"] = str(seconds)
    if known is not None and known.contains_weak(etag):
        return Response(status=304, headers=own)
    return reply(
        shown.text(job, outlook, services().texts if texts is None else texts), status, {**headers, **own}
    )


def _delete_objects(purged: Purged) -> None:
    """Best effort: the record is gone already, and chores sweep objects that no record names."""
    try:
        erase(services().objects, purged)
    except StorageUnavailable as fault:
        log.warning("request %s: objects are left behind: %s", g.request_id, fault.detail)
