"""What the routes of webhooks answer."""

from api.views import Url, View
from shared.jobs.delivery import DeliveryState
from shared.timestamps import Timestamp


class SecretView(View):
    """A secret that webhooks are signed with."""

    secret: str
    """`whsec_` and the base64 of 32 random bytes, as libraries for Standard Webhooks take it."""

    created_at: Timestamp
    """When it was made."""

    expires_at: Timestamp | None
    """When it stops signing."""


class SecretsView(View):
    """What the owner's webhooks are signed with."""

    secret: str
    """The present secret: `whsec_` and the base64 of 32 random bytes, as libraries for Standard Webhooks take
    it."""

    created_at: Timestamp
    """When it was made."""

    previous: list[SecretView]
    """Those that it has replaced, which go on signing beside it for 24 hours."""


class AttemptView(View):
    """One attempt to deliver."""

    at: Timestamp
    """When it began."""

    ms: int
    """Milliseconds that it took."""

    status: int | None
    """The HTTP status that the receiver answered with; null where it did not."""

    error: str | None
    """Where it did not answer: `fetch_unreachable`, `fetch_failed` (no such name, bad certificate),
    `fetch_refused` (a private network, a port that is not allowed) or `internal`."""

    detail: str | None
    """The error in words."""

    excerpt: str | None
    """The beginning of what the receiver answered, up to 200 characters."""


class DeliveryUrls(View):
    """Addresses that belong to a delivery."""

    self: Url
    """GET it."""

    redeliver: Url
    """POST to send it once more."""


class DeliveryView(View):
    """One event that a receiver is told of."""

    id: str
    """The message's ID: the `webhook-id` of each attempt."""

    type: str
    """What has happened, such as `job.succeeded`."""

    state: DeliveryState
    """`waiting` to be sent, now or again; `delivered`; `failed`: given up; `disabled`: the receiver answered
    410, to this or to another event of the same job or batch."""

    job: str | None
    """ID of the job that it tells of."""

    batch: str | None
    """ID of the batch that it tells of, or that its job is an item of."""

    url: str
    """The receiver."""

    created_at: Timestamp
    """When the event happened."""

    next_attempt_at: Timestamp | None
    """When it is sent next."""

    under_way: bool
    """Whether it is being sent at this moment."""

    attempts: list[AttemptView]
    """The attempts so far, oldest first; of many, the last 20."""

    urls: DeliveryUrls
    """Where to go from here."""


class DeliveryPageView(View):
    """Some of the owner's deliveries, the latest event first."""

    deliveries: list[DeliveryView]
    """The deliveries of this page."""

    next_page_token: str | None
    """What `page_token` asks for the next page with; null on the last."""

    next_url: Url | None
    """Address of the next page; null on the last."""
