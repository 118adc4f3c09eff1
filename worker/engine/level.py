"""From the pictures of a batch to the objective of one level of the pyramid.

Styles that share a region are one goal, the mean of their moments by their weights. A region's part of the
style term is its part of the picture, so that a pixel is pulled as strongly whichever region it lies in.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import color, conversion, images, losses, statistics
from worker.engine.contract import Request, Style
from worker.engine.features import Calibration, Features
from worker.engine.matting import MattingLaplacian
from worker.engine.moments import Moments
from worker.engine.objective import Objective
from worker.engine.statistics import Statistics
from worker.engine.targets import StyleTarget, Targets
from worker.engine.view import Guidance, View

STYLE_TILE = 512
"""Side of the tiles in which a style is looked at that is larger than the pictures, if they are no larger."""


ROUGH = 0.02
"""The total variation of a picture whose neighbouring pixels differ by a tenth. Content and style may lose
nothing where a picture is flat; what the other terms then call a large loss follows from this."""

NEAR = 16
"""Pixels beside a region in which total variation is held down as within it: the layers that look at a
region's rim see that far, and pull there as well. Chosen by looking at 0, 4, 8, 16 and 32: with less the rim
is strewn with specks, with more the content beside it is blurred."""


@dataclass
class Subject:
    """One picture of a batch, made ready once: its content, and its styles grouped by region."""

    request: Request
    content: Tensor = field(init=False)
    groups: list[tuple[Tensor | None, list[Style]]] = field(init=False)
    _resized: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        self.content = self.request.content.float()
        self.groups = []
        for style in self.request.styles:
            if style.weight > 0:
                self._place(self._colored(_everywhere(style)))

    @property
    def spec(self) -> Spec:
        """What was asked for."""
        return self.request.spec

    @property
    def has_style(self) -> bool:
        """Whether styles have any weight."""
        return conversion.style_weight(self.spec) > 0

    @property
    def is_kept_to(self) -> bool:
        """Whether the content has any weight."""
        return conversion.content_weight(self.spec, entries=1) > 0

    def styled_at(self, size: tuple[int, int]) -> Tensor:
        """How far each pixel lies in a style's region, (*size) from 0 to 1."""
        regions = [region for region, _ in self.groups]
        if any(region is None for region in regions):
            return torch.ones(size)
        masks = [images.resize_mask(region, size) for region in regions if region is not None]
        return torch.stack(masks).sum(dim=0).clamp(max=1)

    def content_at(self, size: tuple[int, int]) -> Tensor:
        """The content at a size, (3, *size); the last one is kept: a photograph takes long to be reduced."""
        if self._resized is None or tuple(self._resized.shape[1:]) != size:
            self._resized = images.resize(self.content, size)
        return self._resized

    def release(self) -> None:
        """Keep no content but the one that was given."""
        self._resized = None

    def _colored(self, style: Style) -> Style:
        """The style as it is looked at, with a name for its pixels."""
        if self.spec.color == "match":
            matched = color.match_colors(
                style.image.float(),
                self.content,
                style_mask=_fitted(style.mask, style.image),
                content_mask=_fitted(style.region, self.content),
            )
            return Style(matched, style.weight, style.mask, style.region, statistics.digest(matched))
        name = style.digest or statistics.digest(style.image)
        return Style(style.image.float(), style.weight, style.mask, style.region, name)

    def _place(self, style: Style) -> None:
        for region, group in self.groups:
            if region is style.region or (
                region is not None and style.region is not None and torch.equal(region, style.region)
            ):
                group.append(style)
                return
        self.groups.append((style.region, [style]))


def _everywhere(style: Style) -> Style:
    """The style without its region, where that is the whole picture."""
    if style.region is None or not bool((style.region == 1).all()):
        return style
    return replace(style, region=None)


def _fitted(mask: Tensor | None, image: Tensor) -> Tensor | None:
    """A mask at a picture's size: it may come in any."""
    return None if mask is None else images.resize_mask(mask, (image.shape[1], image.shape[2]))


def calibration_for(spec: Spec) -> Calibration:
    """How features are calibrated. Why not filter by filter in both: docs/decisions/0003-calibration.md."""
    return "filter" if spec.weighting == "paper" else "layer"


@dataclass(frozen=True)
class Level:
    """One level of a batch: all pictures have one size.

    Attributes:
        features: the network.
        network_name: names its weights and its arithmetic among all that there may be.
        size: height and width in pixels.
        longest: the longer of them, which styles are looked at in proportion to.
        tile_side: longest side of a tile's core; None for whole pictures.
        kept: styles' statistics.
        content: what the content's weight is multiplied by.
    """

    features: Features
    network_name: str
    size: tuple[int, int]
    longest: int
    tile_side: int | None
    kept: Statistics
    content: float = 1.0

    def objective(self, subjects: Sequence[Subject]) -> Objective:
        """What is minimised for these pictures. They agree in what `Engine.stylize_batch` says."""
        spec = subjects[0].spec
        content_layers = _active([_content(s) for s in subjects])
        style_layers = _active([_style(s) for s in subjects])
        view = View(self.features, content_layers, style_layers, spec.style_loss == "moments", self.tile_side)
        return Objective(view, self._targets(view, subjects), calibration_for(spec))

    def _targets(self, view: View, subjects: Sequence[Subject]) -> Targets:
        device = self.features.network.device
        scales = self.features.scales(view.layers, calibration_for(subjects[0].spec))
        contents = torch.stack([s.content_at(self.size) for s in subjects]).to(device)
        seen = view.content(contents)
        guidance, shares = self._regions(view, subjects)

        def column(values: Sequence[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device)

        factors, content_shares, content_layers = [], [], []
        scale = torch.zeros(len(subjects), device=device)
        for layer in view.content_layers:
            goal = seen[layer].float() * scales[layer].view(-1, 1, 1)
            entries = goal[0].numel()
            energy = goal.square().sum(dim=(1, 2, 3))
            factors.append(losses.content_factor(energy, entries, subjects[0].spec.weighting))
            weights = [_content(s).get(layer, 0.0) for s in subjects]
            alphas = [self.content * conversion.content_weight(s.spec, entries) for s in subjects]
            content_shares.append(column(weights))
            content_layers.append(column([a * w for a, w in zip(alphas, weights, strict=True)]))
            scale += content_layers[-1] * factors[-1] * energy
        empty = torch.zeros(len(subjects), 0, device=device)
        style_layers = [column([_style(s).get(layer, 0.0) for s in subjects]) for layer in view.style_layers]
        style = self._style(view, subjects, scales=dict(scales))
        style_weight = column([conversion.style_weight(s.spec) for s in subjects])
        for layer, weight in zip(view.style_layers, style_layers, strict=True):
            scale += style_weight * weight * (shares * style[layer].scale()).sum(dim=1)
        tv_weight = column([s.spec.tv_weight for s in subjects])
        photo_weight = column([s.spec.photorealism for s in subjects])
        scale += ROUGH * (tv_weight + photo_weight)
        return Targets(
            content=seen,
            content_factors=torch.stack(factors, dim=1) if factors else empty,
            content_shares=torch.stack(content_shares, dim=1) if factors else empty,
            content_layers=torch.stack(content_layers, dim=1) if factors else empty,
            style=style,
            style_layers=torch.stack(style_layers, dim=1) if style_layers else empty,
            style_weight=style_weight,
            guidance=guidance,
            shares=shares,
            tv_weight=tv_weight,
            styled=self._styled(subjects),
            photo_weight=photo_weight,
            scale=scale,
            laplacians=[
                MattingLaplacian(content) if s.spec.photorealism > 0 else None
                for s, content in zip(subjects, contents, strict=True)
            ],
        )

    def _regions(self, view: View, subjects: Sequence[Subject]) -> tuple[Guidance | None, Tensor]:
        """Where each picture's regions lie, and each one's part of the picture; absent ones have none."""
        device = self.features.network.device
        if all(region is None for s in subjects for region, _ in s.groups):
            return None, torch.ones(len(subjects), 1, device=device)
        most = max(len(s.groups) for s in subjects)
        masks = torch.zeros(len(subjects), most, *self.size)
        for item, subject in enumerate(subjects):
            for number, (region, _) in enumerate(subject.groups):
                masks[item, number] = 1.0 if region is None else images.resize_mask(region, self.size)
        shares = masks.mean(dim=(-2, -1)).to(device)
        return view.guide(masks.to(device)), shares

    def _styled(self, subjects: Sequence[Subject]) -> Tensor | None:
        """Where styles are at work, and near there, (B, 1, *size); None where that is everywhere."""
        if all(region is None for s in subjects for region, _ in s.groups):
            return None
        parts = torch.stack([s.styled_at(self.size) for s in subjects])[:, None]
        return images.spread(parts, NEAR).to(self.features.network.device)

    def _style(
        self, view: View, subjects: Sequence[Subject], scales: dict[str, Tensor]
    ) -> dict[str, StyleTarget]:
        device = self.features.network.device
        most = max(len(s.groups) for s in subjects)
        goals = [[self._goal(view, group, s.spec) for _, group in s.groups] for s in subjects]
        targets = {}
        for layer in view.style_layers:
            items = []
            for of_item in goals:
                # Where a picture has fewer regions than another, any goal will do: its share is nothing.
                filled = of_item + of_item[:1] * (most - len(of_item))
                items.append(_side_by_side([goal[layer] for goal in filled], dim=1))
            goal = _side_by_side(items, dim=0)
            on_device = Moments(goal.second.to(device), None if goal.first is None else goal.first.to(device))
            targets[layer] = StyleTarget.of(on_device.scaled(scales[layer]), subjects[0].spec.weighting)
        return targets

    def _goal(self, view: View, group: Sequence[Style], spec: Spec) -> dict[str, Moments]:
        """The mean of the moments of one region's styles, on the CPU."""
        whole = sum(style.weight for style in group)
        total: dict[str, Moments] = {}
        for style in group:
            found = self._moments(view, style, spec)
            part = {layer: one.times(style.weight / whole) for layer, one in found.items()}
            total = {layer: total[layer] + part[layer] for layer in part} if total else part
        return total

    def _moments(self, view: View, style: Style, spec: Spec) -> dict[str, Moments]:
        size = images.size_for(style.image, max(1, round(self.longest * spec.style_scale)))
        network = self.features.network
        facts = {
            "format": statistics.FORMAT,
            "style": style.digest,
            "mask": None if style.mask is None else statistics.digest(style.mask),
            "size": size,
            "network": self.network_name,
            "pooling": spec.pooling,
            "layers": sorted(view.style_layers),
            "means": view.with_means,
            "device": network.device.type,
        }
        return self.kept.of(facts, partial(self._measure, view, style, size))

    def _measure(self, view: View, style: Style, size: tuple[int, int]) -> dict[str, Moments]:
        device = self.features.network.device
        picture = images.resize(style.image, size)[None].to(device)
        if view.tile_side is None:
            # That the pictures fit into memory whole says nothing of a style that is looked at larger.
            view = replace(view, tile_side=max(self.longest, STYLE_TILE))
        guidance = None
        if style.mask is not None:
            mask = images.resize_mask(style.mask, size)
            # What counts is which part counts more than another, however faint the whole is.
            guidance = view.guide((mask / mask.max())[None, None].to(device))
        return {layer: found.on_cpu() for layer, found in view.style(picture, guidance).items()}


def _content(subject: Subject) -> dict[str, float]:
    """The content layers and their weights; none where the term counts for nothing."""
    return _layers(subject.spec.content_layers) if conversion.content_weight(subject.spec, 1) > 0 else {}


def _style(subject: Subject) -> dict[str, float]:
    """The style layers, likewise."""
    return _layers(subject.spec.style_layers) if conversion.style_weight(subject.spec) > 0 else {}


def _layers(layers: dict[str, float] | None) -> dict[str, float]:
    if layers is None:
        raise ValueError("the spec names no layers: resolve it first")
    return layers


def _active(layers: Sequence[dict[str, float]]) -> tuple[str, ...]:
    """The layers that count for any picture."""
    return tuple(dict.fromkeys(name for one in layers for name, weight in one.items() if weight > 0))


def _side_by_side(parts: Sequence[Moments], dim: int) -> Moments:
    firsts = [part.first for part in parts if part.first is not None]
    return Moments(
        torch.cat([part.second for part in parts], dim=dim), torch.cat(firsts, dim=dim) if firsts else None
    )
