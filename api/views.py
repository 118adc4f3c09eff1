"""What the API answers: one model a document, for OpenAPI and for the answers themselves.

Jobs, batches and webhooks have theirs in their folders.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, WithJsonSchema

from shared.spec import Spec
from shared.timestamps import Timestamp

Url = Annotated[str, WithJsonSchema({"type": "string", "format": "uri"})]


class View(BaseModel):
    """Base of all answers."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True, frozen=True)


class FieldError(View):
    """One fault of a request."""

    pointer: str
    """JSON pointer (RFC 6901) into the body, such as `/spec/size`; what is not in the body is found under
    `/query`, `/headers` and `/path`."""

    detail: str
    """What is wrong, and what would be right."""

    line: int | None = None
    """Line, from 1, of a body that is read line by line: the pointer is one into that line. Else left out."""


class Problem(View):
    """An error, as RFC 9457 describes it."""

    type: Url
    """Where this kind of error is described."""

    title: str
    """One line, the same for every error of this code."""

    status: int
    """The HTTP status."""

    detail: str
    """What went wrong this time, and what to do about it."""

    code: str
    """Stable identifier for programs."""

    request_id: str
    """The request's name in the service's log; also in the header `X-Request-Id`."""

    errors: list[FieldError] = []
    """Every fault that has a place in the request."""


class UploadView(View):
    """A kept picture."""

    id: str
    """The upload's ID."""

    image: str
    """What a job names the picture by: `upload:<id>`."""

    width: int
    """Pixels, after turning by the EXIF orientation."""

    height: int
    """Pixels."""

    bytes: int
    """Size of the cleaned copy."""

    sha256: str
    """Hash of the cleaned copy."""

    expires_at: Timestamp
    """When the upload is deleted; jobs that name it keep the picture for themselves."""


class UploadList(View):
    """Several pictures uploaded at once, in the order they came."""

    uploads: list[UploadView]
    """The kept pictures."""


class BackboneView(View):
    """A feature network that a spec can name."""

    name: str
    """What `spec.backbone` takes."""

    description: str
    """One sentence."""

    available: bool
    """Whether a live worker offers it, so that a job may name it now."""

    devices: list[str]
    """Devices of the live workers that offer it."""

    layers: list[str]
    """Names that `spec.content_layers` and `spec.style_layers` may use, shallow to deep. Empty for a network
    that is not in the catalogue: they are torchvision's names of its nodes."""

    content_layers: dict[str, float]
    """Default content layers and their weights. Where it is empty, a spec must name its own."""

    style_layers: dict[str, float]
    """Default style layers and their weights, likewise."""

    shipped: bool
    """Whether its weights come with the software."""


class BackboneList(View):
    """The catalogue of backbones."""

    auto: str | None
    """What `auto` stands for now; null while no paint worker is live."""

    backbones: list[BackboneView]
    """All that a spec can name: the catalogue, then what else live workers offer."""


class PresetView(View):
    """A named spec."""

    name: str
    """What `spec.preset` takes."""

    description: str
    """One sentence."""

    spec: Spec
    """Every value it stands for; layers that are null are the backbone's own."""


class PresetList(View):
    """The presets."""

    default: str
    """The one used when a spec names none."""

    presets: list[PresetView]
    """All that a spec can name."""


class Health(View):
    """The process answers."""

    status: Literal["ok"] = "ok"
    """Always `ok`."""

    version: str
    """Version of the software."""


class Readiness(View):
    """Everything needed to accept a job answers."""

    status: Literal["ready"] = "ready"
    """Always `ready`; otherwise the answer is a problem with status 503."""

    painters: int
    """Live paint workers; with none, jobs are refused with `backbone_unavailable`."""
