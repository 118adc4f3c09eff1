"""The routes of webhooks: the secret, the log of what was sent, sending again, and a test."""

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, Response, g, request

from api import links, queries
from api.incoming import read
from api.problems import raise_all
from api.replies import reply
from api.services import services
from api.webhooks.views import (
    AttemptView,
    DeliveryPageView,
    DeliveryUrls,
    DeliveryView,
    SecretsView,
    SecretView,
)
from shared.errors import Fault, InvalidRequest
from shared.jobs.delivery import Attempt, Delivery, DeliveryState, Secret
from shared.requests.models import WebhookTest
from shared.requests.webhooks import check_webhook
from shared.timestamps import maybe_timestamp, timestamp

blueprint = Blueprint("deliveries", __name__)

_QUERY = ("job", "batch", "state", "limit", "page_token")
#: A secret is for who asked, and for nobody's cache.
_NO_STORE = {"Cache-Control": "no-store"}


@blueprint.get("/v1/webhooks/secret")
def secret() -> Response:
    """What the owner's webhooks are signed with; made by the first who asks."""
    return reply(_secrets(services().deliveries.secrets(g.owner)), headers=_NO_STORE)


@blueprint.post("/v1/webhooks/secret/rotate")
def rotate() -> Response:
    """A new secret; the one before goes on signing for a day."""
    return reply(_secrets(services().deliveries.rotate(g.owner)), headers=_NO_STORE)


@blueprint.get("/v1/webhooks/deliveries")
def index() -> Response:
    """What was sent and is to be sent, the latest event first."""
    faults = queries.only(_QUERY)
    state, limit = _state(faults), queries.limit(faults)
    job, batch = request.args.get("job"), request.args.get("batch")
    if job is not None and batch is not None:
        faults.append(InvalidRequest("Give `job` or `batch`, not both.", pointer="/query/batch"))
    raise_all(faults)
    found, token = _found(job, batch, state, limit)
    return reply(
        DeliveryPageView(
            deliveries=[_view(delivery) for delivery in found],
            next_page_token=token,
            next_url=_next_url(token, limit) if token else None,
        )
    )


@blueprint.get("/v1/webhooks/deliveries/<delivery_id>")
def show(delivery_id: str) -> Response:
    """One delivery, with each attempt."""
    return reply(_view(services().deliveries.get(g.owner, delivery_id)))


@blueprint.post("/v1/webhooks/deliveries/<delivery_id>/redeliver")
def redeliver(delivery_id: str) -> Response:
    """Send it once more, whatever came of it."""
    return reply(_view(services().deliveries.redeliver(g.owner, delivery_id)), 202)


@blueprint.post("/v1/webhooks/test")
def test() -> Response:
    """Send a test event to a receiver."""
    parsed = read(WebhookTest)
    check_webhook(parsed, services().settings, pointer="")
    raise_all(parsed.faults)
    if parsed.model is None:
        raise AssertionError("a request without faults has a model")
    made = services().deliveries.try_receiver(g.owner, parsed.model.url)
    return reply(_view(made), 202, {"Location": _url(made)})


def _found(
    job: str | None, batch: str | None, state: DeliveryState | None, limit: int
) -> tuple[list[Delivery], str | None]:
    """What the query asks for, and the token of the next page."""
    if job is not None:
        # A job has as many deliveries as there are events: never more than a page.
        told = services().deliveries.of("job", services().store.get(g.owner, job).uid)
        return [one for one in told if state in (None, one.state)][:limit], None
    if batch is not None:
        services().batches.get(g.owner, batch)
    token = request.args.get("page_token")
    with queries.pointed("page_token"):
        page = services().deliveries.page(g.owner, state=state, batch=batch, limit=limit, page_token=token)
    return page.deliveries, page.next_token


def _state(faults: list[Fault]) -> DeliveryState | None:
    given = request.args.get("state")
    if given is None:
        return None
    if given in list(DeliveryState):
        return DeliveryState(given)
    faults.append(InvalidRequest(f"A state is one of {', '.join(DeliveryState)}.", pointer="/query/state"))
    return None


def _next_url(token: str, limit: int) -> str:
    given = {name: value for name in ("batch", "state") if (value := request.args.get(name)) is not None}
    query: dict[str, Any] = given | {"page_token": token, "limit": limit}
    return f"{links.base()}/v1/webhooks/deliveries?{urlencode(query)}"


def _url(delivery: Delivery) -> str:
    return f"{links.base()}/v1/webhooks/deliveries/{delivery.id}"


def _view(delivery: Delivery) -> DeliveryView:
    waits = delivery.state is DeliveryState.WAITING
    this = _url(delivery)
    return DeliveryView(
        id=delivery.id,
        type=delivery.type,
        state=delivery.state,
        job=delivery.name if delivery.kind == "job" else None,
        batch=delivery.name if delivery.kind == "batch" else delivery.batch,
        url=delivery.url,
        created_at=timestamp(delivery.created_at),
        next_attempt_at=maybe_timestamp(delivery.due_at) if waits and not delivery.under_way else None,
        under_way=waits and delivery.under_way,
        attempts=[_attempt(attempt) for attempt in delivery.attempts],
        urls=DeliveryUrls(self=this, redeliver=f"{this}/redeliver"),
    )


def _attempt(attempt: Attempt) -> AttemptView:
    return AttemptView(
        at=timestamp(attempt.at / 1000),
        ms=attempt.ms,
        status=attempt.status,
        error=attempt.error,
        detail=attempt.detail,
        excerpt=attempt.excerpt,
    )


def _secrets(found: list[Secret]) -> SecretsView:
    present, *earlier = (
        SecretView(secret=one.text, created_at=timestamp(one.since), expires_at=maybe_timestamp(one.ends))
        for one in found
    )
    return SecretsView(secret=present.secret, created_at=present.created_at, previous=earlier)
