"""The route that tells of a job as it changes: server-sent events."""

from flask import Blueprint, Response, g, request

from api import links
from api.services import services
from api.waiting import sse
from api.waiting.held import Held
from api.waiting.jobs import END, JobStream, ended, whole
from api.waiting.sinks import Headers, Sink
from shared.errors import TooManyWaiting
from shared.jobs.record import Job

blueprint = Blueprint("events", __name__)

LAST_ID = "Last-Event-ID"


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
    body = whole(job, None, links.base(), event_id) + ended(job.id, event_id or "0-0")
    return as_stream(Response(body))
