"""The routes of batches: submit, poll, list, items, results, cancel."""

import logging
import time
from http import HTTPStatus

from flask import Blueprint, Response, g, request, stream_with_context
from gunicorn.http.errors import ParseException  # type: ignore[import-untyped]
from werkzeug.datastructures import ETags
from werkzeug.exceptions import HTTPException

from api import links, preferences, queries
from api.batches.incoming import NDJSON, Incoming, read_batch, store_batch
from api.batches.results import result_lines
from api.batches.views import BatchList, ItemPage
from api.batches.wire import address, batch_view, etag, retry_after
from api.jobs import wire
from api.problems import Faults, raise_all
from api.queries import REPLAYED_HEADER
from api.replies import reply
from api.services import Services, services
from api.waiting.batches import BatchPoll
from api.waiting.held import Held, deadline_in
from api.waiting.sinks import Headers, Sink
from shared.errors import Conflict, Fault, IdempotencyMismatch
from shared.ids import new_id
from shared.jobs.batch_files import BatchFile, Kind, Writer, parts_of, remove
from shared.jobs.batch_record import Batch, BatchStatus, NewBatch
from shared.requests.webhooks import webhook_of

log = logging.getLogger(__name__)
blueprint = Blueprint("batches", __name__)

#: The preference of RFC 7240, section 4.1.
RESPOND_ASYNC = "respond-async"
_LIST_QUERY = ("limit", "page_token")
_ITEMS_QUERY = ("status", "limit", "page_token")


@blueprint.post("/v1/batches")
def create() -> Response:
    """Accept a batch: its lines are stored; the jobs are made from them after the answer."""
    faults: list[Fault] = []
    key = queries.idempotency_key(faults)
    found = services()
    if RESPOND_ASYNC in preferences.preferences():
        raise_all(faults)
        batch, created = _defer(key, found)
        response = _accepted(batch, created=created)
        response.headers[preferences.APPLIED] = RESPOND_ASYNC
        return response
    incoming = read_batch(found)
    if key and (earlier := found.batches.created_with(g.owner, key, incoming.sha256)):
        return _accepted(earlier, created=False)
    raise_all([*faults, *incoming.every_fault])
    batch, created = _store(incoming, key, found)
    return _accepted(batch, created=created)


@blueprint.get("/v1/batches/<batch_id>")
def poll(batch_id: str) -> Response:
    """A batch as it stands, or once it has changed."""
    batch = services().batches.get(g.owner, batch_id)
    known = request.if_none_match
    response = _show(batch, known)
    if known and response.status_code != HTTPStatus.NOT_MODIFIED:
        return response
    return _held(batch, known) or response


@blueprint.get("/v1/batches")
def index() -> Response:
    """The owner's batches, newest first."""
    faults = queries.only(_LIST_QUERY)
    limit = queries.limit(faults)
    raise_all(faults)
    with queries.pointed("page_token"):
        page = services().batches.list(g.owner, limit=limit, page_token=request.args.get("page_token"))
    now = time.time()
    token = page.next_token
    return reply(
        BatchList(
            batches=[batch_view(batch, now) for batch in page.batches],
            next_page_token=token,
            next_url=links.next_page(token, limit, "/v1/batches") if token else None,
        )
    )


@blueprint.get("/v1/batches/<batch_id>/items")
def items(batch_id: str) -> Response:
    """A batch's jobs, in the order of its items."""
    faults = queries.only(_ITEMS_QUERY)
    status, limit = queries.status(faults), queries.limit(faults)
    raise_all(faults)
    batch = services().batches.get(g.owner, batch_id)
    with queries.pointed("page_token"):
        page = services().batches.items(
            batch.uid, status=status, limit=limit, page_token=request.args.get("page_token")
        )
    token, path = page.next_token, f"/v1/batches/{batch.id}/items"
    return reply(
        ItemPage(
            items=[wire.job_view(job, None) for job in page.jobs],
            next_page_token=token,
            next_url=links.next_page(token, limit, path, status=status) if token else None,
        )
    )


@blueprint.get("/v1/batches/<batch_id>/results.ndjson")
def results(batch_id: str) -> Response:
    """What has become of each item, one line each."""
    found = services()
    batch = found.batches.get(g.owner, batch_id)
    response = Response(stream_with_context(result_lines(batch, found)), mimetype=NDJSON)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@blueprint.get("/v1/batches/<batch_id>/errors.ndjson")
def errors(batch_id: str) -> Response:
    """What is wrong with the lines of a batch that failed its check, one line each."""
    found = services()
    batch = found.batches.get(g.owner, batch_id)
    file = BatchFile(found.objects, batch.uid, Kind.ERRORS)
    response = Response(file.each(parts_of(batch.checked)), mimetype=NDJSON)
    response.headers["Cache-Control"] = "private, no-cache"
    return response


@blueprint.post("/v1/batches/<batch_id>/cancel")
def cancel(batch_id: str) -> Response:
    """Cancel: its jobs are stopped after the answer (202), unless that is done already (200)."""
    batch = services().batches.cancel(g.owner, batch_id)
    return _view(batch, 200 if batch.status.terminal else 202)


@blueprint.post("/v1/batches/<batch_id>/retry")
def retry(batch_id: str) -> Response:
    """Try again what did not succeed of an ended batch, as a new one that names it."""
    faults: list[Fault] = []
    key = queries.idempotency_key(faults)
    raise_all(faults)
    found = services()
    batch = found.batches.get(g.owner, batch_id)
    again = NewBatch(
        uid=new_id("batch"),
        owner=g.owner,
        status=BatchStatus.VALIDATING,
        total=batch.retriable,
        metadata=batch.metadata,
        body_hash=f"retry of {batch.uid}",
        idempotency_key=key,
        webhook=batch.webhook,
        retry_of=batch.id,
    )
    if key and (earlier := found.batches.created_with(g.owner, key, again.body_hash)):
        return _accepted(earlier, created=False)
    if batch.status not in (BatchStatus.COMPLETED, BatchStatus.CANCELED):
        refused = batch.status is BatchStatus.FAILED
        remedy = "mend its lines and send it again" if refused else "wait for its end, or cancel it"
        if batch.error:
            remedy = "send the items that have no job again, and retry jobs one by one"
        raise Conflict(f"The batch is {batch.status}; {remedy}.")
    if batch.unchecked:
        source = f"retry {batch.retry_of}" if batch.retry_of else "send it"
        raise Conflict(f"The batch was canceled before all of its lines were checked; {source} again.")
    if not again.total:
        raise Conflict("There is nothing to try again: every item has succeeded.")
    made, created = found.batches.create(again)
    return _accepted(made, created=created)


@blueprint.delete("/v1/batches/<batch_id>")
def delete(batch_id: str) -> Response:
    """Delete an ended batch: it is gone at once, its jobs and their pictures in the moments that follow."""
    services().batches.delete(g.owner, batch_id)
    return Response(status=204)


def _defer(key: str | None, found: Services) -> tuple[Batch, bool]:
    """Store a batch as it comes in, to be checked later."""
    uid = new_id("batch")
    try:
        deferred = store_batch(uid, found)
        batch, created = found.batches.create(
            NewBatch(
                uid=uid,
                owner=g.owner,
                status=BatchStatus.VALIDATING,
                total=deferred.count,
                metadata=deferred.head.metadata,
                webhook=webhook_of(deferred.head.webhook),
                body_hash=deferred.sha256,
                idempotency_key=key,
            )
        )
    except (Faults, IdempotencyMismatch, HTTPException, ParseException):
        remove(found.objects, uid)
        raise
    if not created:
        remove(found.objects, uid)
    return batch, created


def _store(incoming: Incoming, key: str | None, found: Services) -> tuple[Batch, bool]:
    """Store a batch without faults: its lines first, so that it is there whole or not at all."""
    head = incoming.check.head
    if head is None:
        raise AssertionError("a request without faults has a head")
    uid = new_id("batch")
    writer = Writer(BatchFile(found.objects, uid, Kind.ITEMS))
    for line in incoming.check.lines():
        writer.add(line)
    writer.close()
    found.batches.hold(uid, incoming.check.stored)
    new = NewBatch(
        uid=uid,
        owner=g.owner,
        status=BatchStatus.PROCESSING,
        total=writer.count,
        metadata=head.metadata,
        webhook=webhook_of(head.webhook),
        body_hash=incoming.sha256,
        idempotency_key=key,
    )
    batch, created = found.batches.create(new)
    if not created:
        remove(found.objects, uid)
    return batch, created


def _accepted(batch: Batch, *, created: bool) -> Response:
    response = _view(batch, 202)
    response.headers["Location"] = address(batch.id)
    if not created:
        response.headers[REPLAYED_HEADER] = "true"
    return response


def _held(batch: Batch, known: ETags) -> Response | None:
    """An answer for later, where the caller would rather wait, there is something to wait for, and room."""
    seconds, found = preferences.wait_seconds(), services()
    if seconds is None or request.method == "HEAD" or batch.status.terminal:
        return None
    if found.hub.full or found.hub.left:
        return None
    base, deadline = links.base(), deadline_in(seconds)

    def begin(sink: Sink, given: Headers) -> BatchPoll:
        return BatchPoll(
            sink,
            given,
            batch,
            base,
            lambda now: _show(now, known),
            until_ended=not known,
            deadline=deadline,
            look=found.lately,
        )

    return preferences.apply_wait(Held(begin, stream=False), seconds)


def _show(batch: Batch, known: ETags) -> Response:
    """The batch, or 304 where that is what the caller knows."""
    tag = etag(batch)
    if known.contains_weak(tag):
        response = Response(status=304)
        _say_when(response, batch)
    else:
        response = _view(batch, 200)
    response.set_etag(tag, weak=True)
    return response


def _view(batch: Batch, status: int) -> Response:
    response = reply(batch_view(batch, time.time()), status)
    _say_when(response, batch)
    return response


def _say_when(response: Response, batch: Batch) -> None:
    if (seconds := retry_after(batch, time.time())) is not None:
        response.headers["Retry-After"] = str(seconds)
