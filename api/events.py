"""The routes that tell of a job, or of a batch, as it changes: server-sent events."""

from flask import Blueprint, Response, g, request

from api import links
from api.services import services
from api.waiting import batches, sse
from api.waiting.held import Held
from api.waiting.jobs import END, JobStream, ended, whole
from api.waiting.sinks import Headers, Sink
from shared.errors import TooManyWaiting
from shared.jobs.changes import BEGINNING
from shared.jobs.record import Job

blueprint = Blueprint("events", __name__)

LAST_ID = "Last-Event-ID"
#: Stands for the ID of an event where none is known.
NO_ID = BEGINNING


@blueprint.get("/v1/jobs/<job_id>/events")
def job_events(job_id: str) -> Response:
    """The job now, then each change of it, until it has ended."""
    job = services().store.get(g.owner, job_id)
    last_id = last_event_id()
    if job.status.terminal:
        return _told_already(job, last_id)
    check_room()
    outlook, base = services().outlooks.of(job), links.base()
    if request.method == "HEAD":
        return as_stream(Response())

    def begin(sink: Sink, _: Headers) -> JobStream:
        return JobStream(sink, job, outlook, base, last_id)

    return as_stream(Held(begin, stream=True))


@blueprint.get("/v1/batches/<batch_id>/events")
def batch_events(batch_id: str) -> Response:
    """The batch now, then how it is twice a second at most and each item that ends, until it has ended."""
    batch = services().batches.get(g.owner, batch_id)
    last_id, base, look = last_event_id(), links.base(), services().lately
    if batch.status.terminal and last_id.endswith(END):
        return Response(status=204)
    if batch.status.terminal and not last_id:
        told = batches.whole(batch, base, None) + batches.ended(batch.id, NO_ID)
        return as_stream(Response(told))
    check_room()
    if request.method == "HEAD":
        return as_stream(Response())

    def begin(sink: Sink, _: Headers) -> batches.BatchStream:
        return batches.BatchStream(sink, batch, base, last_id, look)

    return as_stream(Held(begin, stream=True))


def last_event_id() -> str:
    """What the caller has read already; empty for nothing, or for what cannot be an ID of ours."""
    given = request.headers.get(LAST_ID, "").strip()
    return given if given.isascii() and given.isprintable() and len(given) <= 64 else "unknown"


def check_room() -> None:
    """Raise `TooManyWaiting` where no more callers may wait, or the process is about to go."""
    hub = services().hub
    if hub.full:
        raise TooManyWaiting("This process lets no more callers wait: poll with GET instead, or try again.")
    if hub.left:
        raise TooManyWaiting("This process is about to end: try again.")


def as_stream(response: Response) -> Response:
    """Give it the headers of a stream."""
    response.headers["Content-Type"] = sse.CONTENT_TYPE
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Accel-Buffering"] = "no"  # nginx would keep events back otherwise
    return response


def _told_already(job: Job, last_id: str) -> Response:
    """Of a job that has ended nothing more will come: 204 keeps a browser from coming back (HTML, 9.2.3)."""
    if last_id.endswith(END):
        return Response(status=204)
    event_id = None if last_id in ("", "unknown") else last_id
    body = whole(job, None, links.base(), event_id) + ended(job.id, event_id or NO_ID)
    return as_stream(Response(body))
