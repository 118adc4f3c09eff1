"""What the service itself sends, as OpenAPI needs it: the `webhooks` of the document (OpenAPI 3.1)."""

from typing import Any

from pydantic import BaseModel

from shared.webhooks.events import TEST_EVENT, BatchEvent, JobEvent
from shared.webhooks.payloads import BatchMessage, GreetingMessage, JobMessage

#: The body of each event.
MESSAGES: dict[str, type[BaseModel]] = {
    **dict.fromkeys(map(str, JobEvent), JobMessage),
    **dict.fromkeys(map(str, BatchEvent), BatchMessage),
    TEST_EVENT: GreetingMessage,
}

_SUMMARIES = {
    JobEvent.PROCESSING: "Painting has begun",
    JobEvent.SUCCEEDED: "The picture is finished",
    JobEvent.FAILED: "The job has failed",
    JobEvent.CANCELED: "The job was canceled, or ran past its deadline while it was painted",
    JobEvent.EXPIRED: "The deadline passed before painting began",
    BatchEvent.COMPLETED: "Every item of the batch has ended",
    BatchEvent.FAILED: "The batch is not valid, or lines of it were lost; `error` says which",
    BatchEvent.CANCELED: "The batch was canceled and every item has ended",
    TEST_EVENT: "A test was asked for",
}
_HEADERS = {
    "webhook-id": "The message's ID: the same in each attempt, so that one that comes twice can be told.",
    "webhook-timestamp": "When this attempt was made, in seconds since the epoch.",
    "webhook-signature": "One or more of `v1,` and the base64 of an HMAC-SHA256 over "
    "`{webhook-id}.{webhook-timestamp}.{body}`, separated by spaces; one that fits is enough.",
}
_ANSWERS = {
    "2XX": "The message was taken.",
    "410": "Nothing more of this job or batch is wanted.",
    "default": "Anything else, redirects included, is tried again on schedule, not before `Retry-After`.",
}


def webhooks(ref: str) -> dict[str, Any]:
    """Each event with the request that tells of it.

    Args:
        ref: how the document refers to a schema, with a place for its name (`{model}`).
    """
    return {event: {"post": _operation(event, ref)} for event in MESSAGES}


def _operation(event: str, ref: str) -> dict[str, Any]:
    schema = {"$ref": ref.format(model=MESSAGES[event].__name__)}
    return {
        "operationId": "on" + "".join(part.capitalize() for part in event.split(".")),
        "summary": _SUMMARIES[event],
        "parameters": [
            {
                "name": name,
                "in": "header",
                "required": True,
                "description": description,
                "schema": {"type": "string"},
            }
            for name, description in _HEADERS.items()
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
        "responses": {status: {"description": description} for status, description in _ANSWERS.items()},
    }
