"""What callers send: one strict model a body. Unknown fields are errors.

Only what a field can say about itself is checked here; whether an upload is there or a worker is live is the
business of `shared.requests.check`.
"""

import hashlib
import json
import re
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    Tag,
    WithJsonSchema,
)
from pydantic_core import PydanticCustomError

from shared.spec import SpecRequest
from shared.web.targets import LONGEST_URL
from shared.webhooks.events import BatchEvent, JobEvent

if TYPE_CHECKING:
    _Spec = BaseModel  # a model that is made at run time is no type
else:
    _Spec = SpecRequest

UPLOAD_SCHEME = "upload:"
DATA_SCHEME = "data:"
_BLANK = re.compile(r"[\x00-\x20]")
#: A bound for the schema; the service's own, lower one is `Settings.max_styles`.
_STYLES = 64
#: Seconds.
LONGEST_DEADLINE = 30 * 86_400.0
#: Seconds; the service's own time is a setting.
LONGEST_RETENTION = 3650 * 86_400.0
_IMAGE_FORMS = "an http or https URL, `upload:<id>` from POST /v1/uploads, or a data URI"


def _image(value: str) -> str:
    """Check an image's form; what it names is looked at later."""
    if value.startswith((UPLOAD_SCHEME, DATA_SCHEME)):
        return value
    try:
        url = urlsplit(value)
        sound = url.scheme in ("http", "https") and url.hostname and (url.port is None or url.port)
    except ValueError:
        sound = False
    if not sound or _BLANK.search(value):
        raise PydanticCustomError("image", "an image is {forms}", {"forms": _IMAGE_FORMS})
    return _not_too_long(value)


def _not_too_long(url: str) -> str:
    if len(url) > LONGEST_URL:
        raise PydanticCustomError("url", "a URL may have {limit} characters", {"limit": LONGEST_URL})
    return url


Image = Annotated[
    str,
    AfterValidator(_image),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": "^(https?://|upload:|data:)",
            "description": f"A picture: {_IMAGE_FORMS}.",
            "examples": ["https://example.org/bridge.jpg", "upload:up_01JZ0000000000000000000000"],
        }
    ),
]


class Body(BaseModel):
    """Base of all request bodies."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, use_attribute_docstrings=True)


class Style(Body):
    """A style picture and its share among several."""

    image: Image
    """The picture."""

    weight: float = Field(default=1.0, gt=0, le=1000, allow_inf_nan=False)
    """Its share; only the proportion to the other styles' weights matters."""

    mask: Image | None = None
    """Which part of the style picture to learn from: a grey picture of any size, white where it counts, black
    where it does not; all of it by default."""

    region: Image | None = None
    """Which part of the content to paint with this style, a grey picture likewise; all of it by default."""


def _form_of_style(value: object) -> str | None:
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, dict | Style) else None


StyleItem = Annotated[
    Annotated[Image, Tag("string")] | Annotated[Style, Tag("object")],
    Discriminator(
        _form_of_style,
        custom_error_type="style",
        custom_error_message='a style is a string naming an image, or an object such as {"image": "...", '
        '"weight": 0.5}',
    ),
]


def _receiver(value: str) -> str:
    """Check the form of a receiver's address; whether anything may be sent there is a matter of settings."""
    if not value.lower().startswith(("http://", "https://")):
        raise PydanticCustomError("receiver", "a receiver is an http or https URL")
    return _not_too_long(value)


Receiver = Annotated[
    str,
    AfterValidator(_receiver),
    WithJsonSchema(
        {
            "type": "string",
            "format": "uri",
            "pattern": "^https?://",
            "description": "Address of a receiver of webhooks.",
            "examples": ["https://example.org/hooks/impasto"],
        }
    ),
]


#: An enumeration's member is given by its value: plain data has nothing else.
_BY_VALUE = Field(strict=False)
#: An answer says "all events" by an empty list, which may be sent back: the same as none given.
_ALL_IF_EMPTY = AfterValidator(lambda events: events or None)


class JobWebhook(Body):
    """Who is told of a job's events."""

    url: Receiver
    """Where they are sent, as a POST: an http or https URL of a public server."""

    events: Annotated[list[Annotated[JobEvent, _BY_VALUE]] | None, _ALL_IF_EMPTY] = Field(
        default=None, max_length=len(JobEvent)
    )
    """Those that are sent; all of them by default, and where the list is empty."""


class BatchWebhook(Body):
    """Who is told of a batch's events."""

    url: Receiver
    """Where they are sent, as a POST: an http or https URL of a public server."""

    events: Annotated[list[Annotated[BatchEvent, _BY_VALUE]] | None, _ALL_IF_EMPTY] = Field(
        default=None, max_length=len(BatchEvent)
    )
    """Those that are sent; all of them by default, and where the list is empty."""


class WebhookTest(Body):
    """A receiver to try."""

    url: Receiver
    """Where a `webhook.test` is sent, once."""


MetadataKey = Annotated[str, Field(min_length=1, max_length=64)]
MetadataValue = Annotated[str, Field(max_length=512)]


CustomId = Annotated[str, Field(min_length=1, max_length=256)]


class JobRequest(Body):
    """A picture to paint."""

    content: Image
    """The picture to repaint."""

    styles: list[StyleItem] = Field(min_length=1, max_length=_STYLES)
    """The pictures to repaint it after. How many a service takes is a setting, 8 by default."""

    init: Image | None = None
    """The picture to start from; given with `spec.init` = `picture`, and only then."""

    spec: _Spec = Field(default_factory=SpecRequest)
    """How to paint; every field has a default."""

    metadata: dict[MetadataKey, MetadataValue] = Field(default={}, max_length=16)
    """Whatever helps the caller to recognise the job; given back with it."""

    priority: int = Field(default=0, ge=0, le=9)
    """9 is taken up first, 0 last, among the owner's own jobs."""

    deadline_seconds: float | None = Field(default=None, ge=1, le=LONGEST_DEADLINE, allow_inf_nan=False)
    """Seconds from now after which the job is ended if it has not by then; a setting by default."""

    fresh: bool = False
    """Paint it for this job. By default a job shares the picture of another of the same owner that is kept or
    being made, where it would make the same: from the same pictures by content, by the same spec and seed."""

    webhook: JobWebhook | None = None
    """Who is told when painting begins and when the job ends."""

    retention_seconds: float | None = Field(default=None, ge=1, le=LONGEST_RETENTION, allow_inf_nan=False)
    """Seconds for which the ended job and its picture are kept; no longer than the service's own time."""

    @cached_property
    def weighted_styles(self) -> list[Style]:
        """The styles, all in the long form."""
        return [Style(image=style) if isinstance(style, str) else style for style in self.styles]

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of what is asked for: the same for a body that only writes the same thing differently.

        What a release or a setting may change (the spec's fields, deadline and retention) is None by default
        here: spelling out what it comes to at present is another request.
        """
        plain: dict[str, Any] = self.model_dump(mode="json", exclude_defaults=True)
        plain["styles"] = [
            [style.image, style.weight, *([style.mask, style.region] if style.mask or style.region else ())]
            for style in self.weighted_styles
        ]
        return hashlib.sha256(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


class ItemRequest(JobRequest):
    """An item of a batch with the batch's defaults in it: a job's request, and its name."""

    custom_id: CustomId | None = None
    """What the caller calls the item: unique within the batch, and given back with its job."""
