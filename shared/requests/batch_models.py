"""What callers send of a batch: its items, what they have in common, and what goes for the whole."""

from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from shared.requests.models import (
    BatchWebhook,
    Body,
    CustomId,
    Image,
    ItemRequest,
    JobRequest,
    MetadataKey,
    MetadataValue,
)

#: Items of one request whose caller waits for every one to be checked; and of one that is checked later.
MAX_ITEMS, MAX_DEFERRED = 10_000, 1_000_000


def _fields_of(kind: type[BaseModel], but: frozenset[str]) -> dict[str, Any]:
    """A model's fields and their bounds, all optional."""
    fields: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        if name in but:
            continue
        annotation: Any = field.annotation
        for constraint in field.metadata:
            annotation = Annotated[annotation, constraint]
        fields[name] = (annotation | None, Field(default=None, description=field.description))
    return fields


def _described(kind: type[BaseModel], name: str) -> str | None:
    return kind.model_fields[name].description


BatchDefaults = create_model(
    "BatchDefaults",
    __base__=Body,
    __doc__="What every item has that does not say otherwise; `spec` and `metadata` are merged key by key.",
    **_fields_of(JobRequest, frozenset({"content"})),
)

BatchItem = create_model(
    "BatchItem",
    __base__=Body,
    __doc__="One picture to paint; what it leaves out is as in the batch's `defaults`.",
    custom_id=(CustomId | None, Field(default=None, description=_described(ItemRequest, "custom_id"))),
    content=(Image, Field(description=_described(JobRequest, "content"))),
    **_fields_of(JobRequest, frozenset({"content"})),
)


class BatchHead(Body):
    """What is said of a batch beside its items."""

    defaults: BatchDefaults | None = None
    """What every item has that does not say otherwise; `spec` and `metadata` are merged key by key."""

    metadata: dict[MetadataKey, MetadataValue] = Field(default={}, max_length=16)
    """Whatever helps the caller to recognise the batch; given back with it."""

    webhook: BatchWebhook | None = None
    """Who is to be told of the batch's own events; its jobs' are a matter of theirs, or of `defaults`."""


class BatchRequest(BatchHead):
    """Many pictures to paint."""

    items: list[BatchItem] = Field(min_length=1, max_length=MAX_ITEMS)
    """The pictures, each a job of its own."""
