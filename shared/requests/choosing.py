"""Which backbone a job gets, of those that live workers offer."""

from collections.abc import Sequence

from shared.backbones import BACKBONES, Backbone, uncatalogued
from shared.errors import BackboneUnavailable, Fault, InvalidRequest
from shared.jobs.workers import LivePainters, WorkerInfo

BACKBONE_POINTER = "/spec/backbone"
AUTO = "auto"


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
        for backbone in offered(live):
            if backbone.name == chosen:
                return backbone
    names = [backbone.name for backbone in offered(live)]
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
    names = [backbone.name for backbone in offered(live) if backbone.content_layers]
    return "compact" if "compact" in names else next(iter(names), None)


def offered(live: Sequence[WorkerInfo]) -> list[Backbone]:
    """What live workers offer: first in the catalogue's order, then what is not in it by name."""
    names = {name for info in live for name in info.backbones}
    known = [backbone for name, backbone in BACKBONES.items() if name in names]
    return known + [uncatalogued(name) for name in sorted(names - BACKBONES.keys())]


def _unavailable(name: str, names: Sequence[str]) -> Fault:
    if not names:
        detail = "No paint worker is live; start one (`make run` starts everything on one machine)."
    else:
        fetch = "" if BACKBONES[name].shipped else f"run `impasto weights fetch {name}` and "
        detail = (
            f"No live worker offers {name}: {fetch}start a paint worker with it, or choose one of "
            f"{', '.join([AUTO, *names])}."
        )
    return BackboneUnavailable(detail, pointer=BACKBONE_POINTER)
