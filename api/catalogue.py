"""What a spec can name: backbones and presets, and which backbone a job gets."""

from collections.abc import Sequence

from flask import Blueprint, Response

from api.replies import reply
from api.services import LivePainters, services
from api.views import BackboneList, BackboneView, PresetList, PresetView
from shared.backbones import BACKBONES, Backbone, uncatalogued
from shared.errors import BackboneUnavailable, Fault, InvalidRequest
from shared.jobs.workers import WorkerInfo
from shared.spec import DEFAULT_PRESET, PRESET_DESCRIPTIONS, PRESETS, Spec

BACKBONE_POINTER = "/spec/backbone"
AUTO = "auto"
blueprint = Blueprint("catalogue", __name__)


def choose(name: str, painters: LivePainters) -> Backbone:
    """The backbone for a job.

    Args:
        name: a backbone's name, or `auto`: `vgg19` where a live worker has it on CUDA, else `compact`, else
            any that is offered.
        painters: who is live; asked again before a caller is refused.

    Raises:
        InvalidRequest: it is not in the catalogue, and no live worker offers it.
        BackboneUnavailable: it is in the catalogue, and no live worker offers it.
    """
    for fresh in (False, True):
        live = painters.list(fresh=fresh)
        chosen = best(live) if name == AUTO else name
        for backbone in _offered(live):
            if backbone.name == chosen:
                return backbone
    names = [backbone.name for backbone in _offered(live)]
    if name not in (AUTO, *BACKBONES):
        known = ", ".join(dict.fromkeys([AUTO, *BACKBONES, *names]))
        raise InvalidRequest(
            f"There is no backbone {name}; choose one of {known}. Another of torchvision's networks can be "
            "named while a live worker has its weights.",
            pointer=BACKBONE_POINTER,
        )
    raise _unavailable(name, names)


def best(live: Sequence[WorkerInfo]) -> str | None:
    """What `auto` stands for among these workers; None when they offer nothing."""
    if any("vgg19" in info.backbones and info.device.startswith("cuda") for info in live):
        return "vgg19"
    # One that needs layers named is never chosen for a caller.
    offered = [backbone.name for backbone in _offered(live) if backbone.content_layers]
    return "compact" if "compact" in offered else next(iter(offered), None)


def _offered(live: Sequence[WorkerInfo]) -> list[Backbone]:
    """What live workers offer: first in the catalogue's order, then what is not in it by name."""
    names = {name for info in live for name in info.backbones}
    known = [backbone for name, backbone in BACKBONES.items() if name in names]
    return known + [uncatalogued(name) for name in sorted(names - BACKBONES.keys())]


def _unavailable(name: str, offered: Sequence[str]) -> Fault:
    if not offered:
        detail = "No paint worker is live; start one (`make run` starts everything on one machine)."
    else:
        fetch = "" if BACKBONES[name].shipped else f"run `impasto weights fetch {name}` and "
        detail = (
            f"No live worker offers {name}: {fetch}start a paint worker with it, or choose one of "
            f"{', '.join([AUTO, *offered])}."
        )
    return BackboneUnavailable(detail, pointer=BACKBONE_POINTER)


@blueprint.get("/v1/backbones")
def backbones() -> Response:
    """The catalogue and what else workers offer, and what of it is available now."""
    live = services().painters.list(fresh=True)
    backbones = {one.name: one for one in (*BACKBONES.values(), *_offered(live))}
    return reply(
        BackboneList(
            auto=best(live), backbones=[_backbone_view(backbone, live) for backbone in backbones.values()]
        )
    )


@blueprint.get("/v1/presets")
def presets() -> Response:
    """The named specs."""
    return reply(
        PresetList(
            default=DEFAULT_PRESET,
            presets=[
                PresetView(name=name, description=PRESET_DESCRIPTIONS[name], spec=Spec.model_validate(values))
                for name, values in PRESETS.items()
            ],
        )
    )


def _backbone_view(backbone: Backbone, live: Sequence[WorkerInfo]) -> BackboneView:
    offering = [info for info in live if backbone.name in info.backbones]
    return BackboneView(
        name=backbone.name,
        description=backbone.description,
        available=bool(offering),
        devices=sorted({info.device for info in offering}),
        layers=list(backbone.layers),
        content_layers=backbone.content_layers,
        style_layers=backbone.style_layers,
        shipped=backbone.shipped,
    )
