"""What is minimised at one level, for a batch of pictures, with its gradient.

    total = alpha content + beta style + tv TV + photorealism M

Style depends on sums over all positions, so its gradient at a position needs the whole picture first. Seen
whole, one run of the network serves both; seen in tiles, a first pass gathers the sums and a second one
drives each tile back with the gradient at the sums, and the two gradients are equal.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from worker.engine import losses, moments
from worker.engine.features import Calibration, fold_back
from worker.engine.moments import Moments
from worker.engine.network import Run
from worker.engine.targets import Targets
from worker.engine.tiles import Tile
from worker.engine.view import View

TERMS = ("total", "content", "style", "tv", "photorealism")


@dataclass(frozen=True)
class Evaluation:
    """The objective at each picture of a batch.

    Attributes:
        terms: (B, 5), in the order of `TERMS`: each before its weight, and before them their weighted sum.
        gradient: of the totals, (B, 3, H, W).
    """

    terms: Tensor
    gradient: Tensor


@dataclass(frozen=True)
class _Pull:
    """The gradient at a layer's sums: at second moments (B, R, N, N), at first moments (B, R, N)."""

    second: Tensor
    first: Tensor | None


class Objective:
    """The losses of one level for a batch of pictures of one size."""

    def __init__(self, view: View, targets: Targets, calibration: Calibration) -> None:
        """Take the view of the network and what the pictures are compared with."""
        self._view = view
        self._targets = targets
        self._scales = view.features.scales(view.layers, calibration)

    @property
    def scale(self) -> Tensor:
        """What rough pictures lose that give every layer nothing, (B,): what makes a loss large or small."""
        return self._targets.scale

    @torch.no_grad()
    def __call__(self, x: Tensor) -> Evaluation:
        """Evaluate at pictures (B, 3, H, W), which need not lie in [0, 1]."""
        view, targets = self._view, self._targets
        images = view.widened(x)
        tiles = view.tiles(*images.shape[-2:])
        whole = view.features.run(images, view.layers, record=True) if len(tiles) == 1 else None
        sums: dict[str, Moments] = {}
        for tile in tiles if view.style_layers else ():
            run = whole or view.features.run(images[(..., *tile.cut())], view.style_layers)
            part = view.sums(tile, run, targets.guidance)
            sums = {layer: sums[layer] + part[layer] for layer in part} if sums else part
        style, style_total, pulls = self._style(images, sums)
        content = torch.zeros_like(style)
        content_total = torch.zeros_like(style)
        gradient = torch.zeros_like(images) if whole is None else images
        for tile in tiles:
            run = whole or view.features.run(images[(..., *tile.cut())], view.layers, record=True)
            at_taps, parts = self._at_taps(tile, run, pulls)
            for loss, weighted in parts:
                content, content_total = content + loss, content_total + weighted
            found = run.backward(at_taps)
            if run is whole:
                gradient = found
            else:
                gradient[(..., *tile.cut())] += found
        gradient = fold_back(gradient, *x.shape[-2:])
        variation = losses.total_variation(x, gradient, targets.tv_weight, targets.styled)
        photo = self._photorealism(x, gradient)
        total = content_total + style_total + targets.tv_weight * variation + targets.photo_weight * photo
        return Evaluation(torch.stack((total, content, style, variation, photo), dim=1), gradient)

    def keep(self, items: list[int]) -> None:
        """Go on with some pictures of the batch only."""
        self._targets = self._targets.only(items)

    def _style(self, images: Tensor, sums: Mapping[str, Moments]) -> tuple[Tensor, Tensor, dict[str, _Pull]]:
        """The style term before and after its weights, (B,), and its gradient at the sums."""
        targets = self._targets
        before = after = images.new_zeros(images.shape[0])
        pulls: dict[str, _Pull] = {}
        weights = self._view.weights(images, targets.guidance)
        for number, (layer, found) in enumerate(sums.items()):
            scale, weight = self._scales[layer], weights[layer]
            target = targets.style[layer]
            share = targets.shares * targets.style_layers[:, number, None]
            value, by_second, by_first = target.compare(found.over(weight).scaled(scale))
            before = before + (share * value).sum(dim=1)
            after = after + targets.style_weight * (share * value).sum(dim=1)
            factor = targets.style_weight[:, None] * share / weight
            by_second = by_second * factor[..., None, None] * scale.outer(scale)
            pulls[layer] = _Pull(
                by_second, None if by_first is None else by_first * factor[..., None] * scale
            )
        return before, after, pulls

    def _at_taps(
        self, tile: Tile, run: Run, pulls: Mapping[str, _Pull]
    ) -> tuple[dict[str, Tensor], list[tuple[Tensor, Tensor]]]:
        """The gradient at a tile's taps, and its part of the content term before and after its weights."""
        view, targets = self._view, self._targets
        gradients: dict[str, Tensor] = {}
        for layer, pull in pulls.items():
            features = view.own(tile, run, layer)
            counts = view.counts(tile, layer, targets.guidance)
            gradients[layer] = moments.pull_back(features, counts, pull.second, pull.first)
        parts = []
        for number, layer in enumerate(view.content_layers):
            goal = view.share(tile, layer, targets.content[layer])
            difference = (view.own(tile, run, layer).float() - goal.float()) * self._scales[layer].view(
                -1, 1, 1
            )
            loss = targets.content_factors[:, number] * difference.square().sum(dim=(1, 2, 3))
            weight = targets.content_layers[:, number]
            parts.append((targets.content_shares[:, number] * loss, weight * loss))
            factor = (2 * weight * targets.content_factors[:, number]).view(-1, 1, 1, 1)
            pull_back = (difference * (factor * self._scales[layer].view(-1, 1, 1))).to(run.taps[layer].dtype)
            gradients[layer] = gradients[layer] + pull_back if layer in gradients else pull_back
        return {layer: _in_tile(own, tile, run, view, layer) for layer, own in gradients.items()}, parts

    def _photorealism(self, x: Tensor, gradient: Tensor) -> Tensor:
        """The matting energy of each picture, (B,); adds its weighted gradient to `gradient`."""
        energies = []
        for item, laplacian in enumerate(self._targets.laplacians):
            if laplacian is None:
                energies.append(x.new_zeros(()))
                continue
            energy, slope = laplacian.energy_and_gradient(x[item])
            gradient[item] += self._targets.photo_weight[item] * slope
            energies.append(energy)
        return torch.stack(energies)


def _in_tile(own: Tensor, tile: Tile, run: Run, view: View, layer: str) -> Tensor:
    """The gradient at a whole tap, given that at its core; the halo is other tiles' business."""
    features = run.taps[layer]
    if own.shape == features.shape:
        return own
    whole = torch.zeros_like(features, memory_format=torch.channels_last)
    (rows, columns), _ = view.slices(tile, layer)
    whole[:, :, rows, columns] = own
    return whole
