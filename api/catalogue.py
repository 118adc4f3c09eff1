"""What a spec can name: backbones and presets."""

from collections.abc import Sequence

from flask import Blueprint, Response

from api.replies import reply
from api.services import services
from api.views import BackboneList, BackboneView, PresetList, PresetView
from shared.backbones import BACKBONES, Backbone
from shared.jobs.workers import WorkerInfo
from shared.requests.choosing import best, offered
from shared.spec import DEFAULT_PRESET, PRESET_DESCRIPTIONS, PRESETS, Spec, fitted

blueprint = Blueprint("catalogue", __name__)


@blueprint.get("/v1/backbones")
def backbones() -> Response:
    """The catalogue and what else workers offer, and what of it is available now."""
    live = services().painters.list(fresh=True)
    backbones = {one.name: one for one in (*BACKBONES.values(), *offered(live))}
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
                PresetView(
                    name=name,
                    description=PRESET_DESCRIPTIONS[name],
                    spec=fitted(Spec.model_validate(values)),
                )
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
