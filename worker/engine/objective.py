"""What is minimised: alpha times content plus beta times style plus total variation, with its gradient."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import losses
from worker.engine.contract import Style
from worker.engine.features import Calibration, Features, Tap

Taps = Callable[[Tensor, Sequence[str]], dict[str, Tap]]
TERMS = ("total", "content", "style", "tv")


@dataclass(frozen=True)
class Evaluation:
    """The objective at one picture.

    Attributes:
        losses: the terms, each before its weight, and their weighted sum `total`.
        gradient: of the total, (3, H, W).
    """

    losses: dict[str, float]
    gradient: Tensor

    @property
    def total(self) -> float:
        """The loss that is minimised."""
        return self.losses["total"]


class Objective:
    """The losses of one level. Targets are computed once, here; a term of weight 0 is not computed at all."""

    def __init__(self, features: Features, spec: Spec, content: Tensor, styles: Sequence[Style]) -> None:
        """Take the content (3, H, W) and the styles at the level's size, on the network's device."""
        # Why not filter by filter in both: docs/decisions/0003-calibration.md.
        calibration: Calibration = "filter" if spec.weighting == "paper" else "layer"
        self._features = partial(features, calibration=calibration)
        self._spec = spec
        self._content_layers = _active(spec.content_layers, spec.content_weight)
        self._style_layers = _active(spec.style_layers, spec.style_weight)
        self._layers = tuple(self._content_layers | self._style_layers)
        with torch.no_grad():
            seen = self._features(content, tuple(self._content_layers)) if self._content_layers else {}
            self._content_targets = {layer: tap.features() for layer, tap in seen.items()}
            self._style_targets = _mean_grams(self._features, styles, tuple(self._style_layers))

    def __call__(self, image: Tensor) -> Evaluation:
        """Evaluate at `image` (3, H, W), which need not lie in [0, 1]."""
        spec = self._spec
        image = image.detach().requires_grad_()
        taps = self._features(image, self._layers) if self._layers else {}
        content, style = self._content(taps, image), self._style(taps, image)
        variation = losses.total_variation(image)
        total = spec.content_weight * content + spec.style_weight * style + spec.tv_weight * variation
        (gradient,) = torch.autograd.grad(total, image)
        # One transfer for all terms: on a GPU each would wait for the device.
        values = torch.stack((total, content, style, variation)).detach().tolist()
        return Evaluation(dict(zip(TERMS, values, strict=True)), gradient)

    def _content(self, taps: dict[str, Tap], image: Tensor) -> Tensor:
        loss = image.new_zeros(())
        for layer, weight in self._content_layers.items():
            features, target = taps[layer].features(), self._content_targets[layer]
            loss = loss + weight * losses.content_loss(features, target, self._spec.weighting)
        return loss

    def _style(self, taps: dict[str, Tap], image: Tensor) -> Tensor:
        loss = image.new_zeros(())
        for layer, weight in self._style_layers.items():
            target = self._style_targets[layer]
            loss = loss + weight * losses.style_loss(taps[layer].gram(), target, self._spec.weighting)
        return loss


def _active(layers: dict[str, float] | None, term_weight: float) -> dict[str, float]:
    """The layers that count. A spec is resolved before it comes here, so None cannot mean "the default"."""
    if layers is None:
        raise ValueError("the spec names no layers: resolve it first")
    return {layer: weight for layer, weight in layers.items() if weight > 0} if term_weight > 0 else {}


def _mean_grams(features: Taps, styles: Sequence[Style], layers: tuple[str, ...]) -> dict[str, Tensor]:
    """Weighted mean of the styles' Gram matrices, by layer."""
    if not layers:
        return {}
    whole = sum(style.weight for style in styles)
    means: dict[str, Tensor] = {}
    for style in styles:
        for layer, tap in features(style.image, layers).items():
            share = tap.gram() * (style.weight / whole)
            means[layer] = means[layer] + share if layer in means else share
    return means
