"""The operations of webhooks as OpenAPI needs them; see `api.operations`."""

from api.operations import PAGE_TOKEN, Answer, Operation, Parameter
from api.webhooks.views import DeliveryPageView, DeliveryView, SecretsView
from shared.errors import (
    Conflict,
    InvalidRequest,
    NotFound,
    StoreUnavailable,
    TooLarge,
    UnsupportedMediaType,
    WebhookRefused,
)
from shared.jobs.delivery import DeliveryState
from shared.requests.models import WebhookTest

_DELIVERY_ID = Parameter("id", "path", "The message's ID.", {"type": "string"})

WEBHOOK_OPERATIONS: tuple[Operation, ...] = (
    Operation(
        "get",
        "/v1/webhooks/secret",
        "getWebhookSecret",
        "Get the secret of your webhooks",
        (Answer(200, "What they are signed with.", (SecretsView,)),),
        "Made by the first who asks, or by the first delivery.",
        faults=(StoreUnavailable,),
    ),
    Operation(
        "post",
        "/v1/webhooks/secret/rotate",
        "rotateWebhookSecret",
        "Sign webhooks with a new secret",
        (Answer(200, "The new secret, and those that sign beside it.", (SecretsView,)),),
        "The one before goes on signing for 24 hours, so that receivers can be told of the new one.",
        faults=(StoreUnavailable,),
    ),
    Operation(
        "get",
        "/v1/webhooks/deliveries",
        "listDeliveries",
        "List deliveries of webhooks",
        (Answer(200, "Some deliveries, the latest event first.", (DeliveryPageView,)),),
        "They are kept as long as the job or batch that they tell of.",
        (
            Parameter("job", "query", "Only those of the job with this ID.", {"type": "string"}),
            Parameter(
                "batch",
                "query",
                "Only those of the batch with this ID and of its jobs; pages may then be short.",
                {"type": "string"},
            ),
            Parameter(
                "state", "query", "Only those in this state.", {"enum": list(DeliveryState), "type": "string"}
            ),
            Parameter(
                "limit",
                "query",
                "Deliveries on a page; 1000 at most.",
                {"type": "integer", "minimum": 1, "default": 100},
            ),
            PAGE_TOKEN,
        ),
        faults=(NotFound, InvalidRequest, StoreUnavailable),
    ),
    Operation(
        "get",
        "/v1/webhooks/deliveries/{id}",
        "getDelivery",
        "Get a delivery",
        (Answer(200, "The delivery, with each attempt.", (DeliveryView,)),),
        parameters=(_DELIVERY_ID,),
        faults=(NotFound, StoreUnavailable),
    ),
    Operation(
        "post",
        "/v1/webhooks/deliveries/{id}/redeliver",
        "redeliver",
        "Send a webhook once more",
        (Answer(202, "It is sent now, and after that by the whole schedule.", (DeliveryView,)),),
        "Whatever came of it. The `webhook-id` stays the same.",
        (_DELIVERY_ID,),
        faults=(NotFound, Conflict, StoreUnavailable),
    ),
    Operation(
        "post",
        "/v1/webhooks/test",
        "testWebhook",
        "Send a test event",
        (Answer(202, "It is sent once; poll it.", (DeliveryView,), headers=("Location",)),),
        "The address is held to the same rules as a job's.",
        body=WebhookTest,
        faults=(TooLarge, UnsupportedMediaType, InvalidRequest, WebhookRefused, StoreUnavailable),
    ),
)
