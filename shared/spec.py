"""What a job asks for: one definition with defaults, bounds and a sentence for each field.

The API validates with it, OpenAPI and the documentation are generated from it, the command line takes its
options from it and the engine its parameters. A caller writes a `SpecRequest` (every field optional, plus
a preset); `resolve` makes it a `Spec`, in which nothing is left open.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, create_model

from shared.backbones import BACKBONES, Backbone

LayerName = Annotated[str, Field(min_length=1, max_length=100)]
#: A layer's share in its loss. Zero is allowed: it switches a default layer off.
LayerWeight = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]


def _weighs_something(layers: dict[str, float]) -> dict[str, float]:
    if not any(layers.values()):
        raise ValueError("at least one layer needs a weight above 0")
    return layers


Layers = Annotated[
    dict[LayerName, LayerWeight], Field(min_length=1, max_length=16), AfterValidator(_weighs_something)
]


class UnresolvableSpecError(ValueError):
    """A field names what the chosen backbone or the preset list does not have, or fails to name what it must.

    Attributes:
        field: the spec's field, for an error's pointer.
    """

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Spec(BaseModel):
    """A resolved spec: what the engine is run with, and what a job's record keeps."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    backbone: str = Field(default="auto", pattern=r"^[a-z0-9_]{1,40}$")
    """Feature network whose activations define content and style; `auto` takes the best one that a live
    worker offers."""

    content_layers: Layers | None = None
    """Content layers and their weights, such as {"conv4_2": 1}; the backbone's own by default."""

    style_layers: Layers | None = None
    """Style layers and their weights, such as {"conv1_1": 0.2}; the backbone's own by default."""

    content_weight: float = Field(default=1.0, ge=0, le=1e9, allow_inf_nan=False)
    """Weight of the content loss: the paper's alpha."""

    style_weight: float = Field(default=15.0, ge=0, le=1e12, allow_inf_nan=False)
    """Weight of the style loss: the paper's beta. More of it paints more freely. Where nobody says it, it
    fits the rest: below a `size` of 512 it is less in proportion, with `style_loss` `gram` 13 times as
    much."""

    tv_weight: float = Field(default=60.0, ge=0, le=1e6, allow_inf_nan=False)
    """Weight of the total variation (mean squared difference of neighbouring pixels): removes noise. With
    `weighting` `paper`, whose terms it is not in proportion to, 0 where nobody says it."""

    weighting: Literal["normalized", "paper"] = "normalized"
    """How the loss terms are scaled: `normalized` divides each by its target's own energy, so that one
    style weight serves every backbone and style; `paper` takes the formulas as they stand. They need a
    ratio: where nobody says `alpha_beta`, `content_weight` or `style_weight`, it is the paper's 1e-3."""

    alpha_beta: float | None = Field(default=None, gt=0, le=1e6, allow_inf_nan=False)
    """Content against style as the paper writes it, alpha / beta, such as 1e-3; takes the place of
    `content_weight` and `style_weight` by the conversion in docs/engine.md."""

    style_loss: Literal["gram", "moments"] = "moments"
    """What of the style's features is matched: their mean and covariance, or their Gram matrix, as in the
    paper, which holds both in one."""

    style_scale: float = Field(default=1.0, ge=0.1, le=8, allow_inf_nan=False)
    """Longest side at which a style is looked at, as a share of the result's: above 1 for larger strokes,
    below 1 for finer ones. Times `size`, at most 16384."""

    color: Literal["style", "content", "match"] = "style"
    """Whose colours the result has: the style's; the content's (its chroma is put back afterwards); or the
    style's forms in colours that were matched to the content's before painting (`match`)."""

    photorealism: float = Field(default=0.0, ge=0, le=1e9, allow_inf_nan=False)
    """Weight of the matting Laplacian, which allows only such changes as are affine in the content's colours
    around each pixel: for transfer between photographs, such as day to night."""

    init: Literal["content", "style", "noise", "picture"] = "content"
    """Picture the optimisation starts from; `picture` takes the one that the job names as `init`."""

    seed: int = Field(default=0, ge=0, le=2**53 - 1)
    """Seed of all randomness (the noise of `init`)."""

    size: int = Field(default=512, ge=16, le=8192)
    """Longest side of the result in pixels."""

    steps: int = Field(default=256, ge=1, le=20_000)
    """Evaluations of the network in all, shared among the levels of the pyramid."""

    optimizer: Literal["lbfgs", "adam"] = "lbfgs"
    """Optimiser: L-BFGS as in the paper, or Adam, which needs less memory."""

    pyramid: int = Field(default=0, ge=0, le=8)
    """Levels painted from coarse to fine, each twice the size of the one before; 1 paints at full size
    only, 0 begins near 128 pixels whatever the size. Levels that would be too small are left out."""

    pooling: Literal["avg", "max"] = "avg"
    """Pooling of the network: average as the paper prefers, or max as it was trained."""

    output_format: Literal["png", "jpeg", "webp"] = "png"
    """File format of the result."""

    output_quality: int = Field(default=92, ge=1, le=100)
    """Quality of a JPEG or WebP result; PNG is lossless."""


def _request_model() -> type[BaseModel]:
    """The spec as a caller writes it: the same fields and bounds, all optional, and a preset."""
    fields: dict[str, Any] = {}
    for name, field in Spec.model_fields.items():
        annotation: Any = field.annotation
        for constraint in field.metadata:
            annotation = Annotated[annotation, constraint]
        annotation = annotation | None
        fields[name] = (annotation, Field(default=None, description=field.description))
    preset = Literal[tuple(PRESETS)]  # type: ignore[valid-type]
    description = "Named spec to start from; fields given beside it override it."
    fields["preset"] = (preset, Field(default=DEFAULT_PRESET, description=description))
    config = ConfigDict(extra="forbid", frozen=True, strict=True)
    return create_model("SpecRequest", __config__=config, **fields)


#: By how much a style weight for means and covariances must be multiplied to do as much for Gram matrices.
GRAM_STRENGTH = 13.0

#: Longest side in pixels below which the style weights of defaults and presets are lessened in proportion.
FULL_STRENGTH_SIZE = 512

#: Alpha / beta that the paper uses most.
PAPER_RATIO = 1e-3

#: Presets are named specs: what differs from the defaults.
PRESETS: dict[str, dict[str, Any]] = {
    "painting": {},
    "abstract": {"style_weight": 60.0},
    "photo": {"style_weight": 2.0, "tv_weight": 10.0},
    "faithful-2016": {
        "alpha_beta": PAPER_RATIO,
        "style_loss": "gram",
        "weighting": "paper",
        "init": "noise",
        "pyramid": 1,
        "tv_weight": 0.0,
        "steps": 500,
    },
    "fast": {"size": 256, "steps": 175},
    "print": {"size": 2048, "steps": 480},
}
PRESET_DESCRIPTIONS: dict[str, str] = {
    "painting": "The default: the style's forms and strokes, the content still reads.",
    "abstract": "Style first: forms dissolve into strokes.",
    "photo": "A light touch: the content's detail stays.",
    "faithful-2016": "The paper's settings: its formulas, from white noise, at full size only.",
    "fast": "A small, quick picture to try a pair.",
    "print": "A large picture, coarse to fine, with few steps at the top.",
}
DEFAULT_PRESET = "painting"

SpecRequest = _request_model()


def resolve(request: Mapping[str, Any], backbone: Backbone) -> Spec:
    """Fill a caller's spec from its preset, the defaults and the backbone.

    Args:
        request: the fields a caller gave (values None count as not given).
        backbone: the backbone chosen for the job.

    Raises:
        UnresolvableSpecError: the first of `unresolvable`.
    """
    for error in unresolvable(request, backbone):
        raise error
    given = {name: value for name, value in request.items() if value is not None}
    preset = given.pop("preset", DEFAULT_PRESET)
    values = {**PRESETS[preset], **given, "backbone": backbone.name}
    if "alpha_beta" not in given and {"content_weight", "style_weight"} & given.keys():
        # Weights that somebody asks for stand above a preset's ratio, which would take their place.
        values.pop("alpha_beta", None)
    if values.get("weighting") == "paper":
        values.setdefault("tv_weight", 0.0)
        if not {"alpha_beta", "content_weight", "style_weight"} & values.keys():
            values["alpha_beta"] = PAPER_RATIO
    values.setdefault("content_layers", backbone.content_layers)
    values.setdefault("style_layers", backbone.style_layers)
    spec = Spec.model_validate(values)
    return spec if "style_weight" in given else fitted(spec)


def fitted(spec: Spec) -> Spec:
    """`spec` with its style weight, a preset's or the default, fitted to its style loss and size."""
    strength = GRAM_STRENGTH if spec.style_loss == "gram" else 1.0
    share = min(spec.size / FULL_STRENGTH_SIZE, 1.0)
    return spec.model_copy(update={"style_weight": spec.style_weight * strength * share})


#: Longest side in pixels at which a style is looked at, at most: twice the largest result's.
LARGEST_STYLE = 16_384


def unresolvable(request: Mapping[str, Any], backbone: Backbone) -> Iterator[UnresolvableSpecError]:
    """What keeps a caller's spec from being resolved on this backbone: each fault with its field.

    An unknown preset; a style looked at larger than at `LARGEST_STYLE`; a layer that the backbone does not
    have; no layers where it has no default. Where only a worker knows the layers, any name passes.
    """
    if request.get("preset") not in (None, *PRESETS):
        yield UnresolvableSpecError("preset", f"unknown preset; choose one of {', '.join(PRESETS)}")
    preset = PRESETS.get(request.get("preset") or DEFAULT_PRESET, {})
    size = request.get("size") or preset.get("size", Spec.model_fields["size"].default)
    scale = request.get("style_scale") or 1.0
    # What is no number is for the model to refuse.
    numbers = isinstance(size, int | float) and isinstance(scale, int | float)
    if numbers and size * scale > LARGEST_STYLE:
        yield UnresolvableSpecError(
            "style_scale",
            f"a style would be looked at at {size * scale:.0f} px; `size` times `style_scale` may be "
            f"{LARGEST_STYLE} at most",
        )
    own = {"content_layers": backbone.content_layers, "style_layers": backbone.style_layers}
    for field, defaults in own.items():
        layers = request.get(field) or defaults
        unknown = sorted(set(layers) - set(backbone.layers)) if backbone.layers else []
        if unknown:
            has = ", ".join(backbone.layers)
            yield UnresolvableSpecError(
                field, f"{backbone.name} has no layer {', '.join(unknown)}; it has {has}"
            )
        if not layers:
            yield UnresolvableSpecError(
                field,
                f"{backbone.name} has no default layers: give weights by torchvision's names of its nodes, "
                'such as {"layer3": 1} in a ResNet, or choose one of ' + ", ".join(BACKBONES),
            )
