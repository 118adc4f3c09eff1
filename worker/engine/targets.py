"""What the pictures of a batch are compared with at one level, and how much each comparison weighs.

Computed once a level. Pictures of a batch share layers and size; everything else is each one's own.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Self

import torch
from torch import Tensor

from worker.engine import losses
from worker.engine.losses import Weighting
from worker.engine.matting import MattingLaplacian
from worker.engine.moments import Moments
from worker.engine.view import Guidance


@dataclass(frozen=True)
class StyleTarget:
    """A style layer's goal, calibrated: Gram matrices, or covariances and means.

    Attributes:
        second: (B, R, N, N).
        mean: (B, R, N), or None where Gram matrices are matched.
        second_factor: what squared differences of `second` are multiplied by, (B, R); likewise `mean_factor`.
    """

    second: Tensor
    mean: Tensor | None
    second_factor: Tensor
    mean_factor: Tensor | None

    @classmethod
    def of(cls, goal: Moments, weighting: Weighting) -> Self:
        """The target that moments (B, R, ...) are: with first moments, their means and covariances."""
        second, mean = goal.second, goal.first
        if mean is not None:
            second = _covariance(second, mean)
        return cls(
            second,
            mean,
            losses.style_factor(second, weighting),
            None if mean is None else losses.mean_factor(mean, weighting),
        )

    def compare(self, found: Moments) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss of moments per position, (B, R), and its gradients at them, (B, R, N, N) and (B, R, N).

        With means, half of the loss is the covariance's distance and half the mean's.
        """
        if self.mean is None or self.mean_factor is None or found.first is None:
            difference = found.second - self.second
            value = self.second_factor * difference.square().sum(dim=(-2, -1))
            return value, 2 * self.second_factor[..., None, None] * difference, None
        difference = _covariance(found.second, found.first) - self.second
        off = found.first - self.mean
        value = self.second_factor * difference.square().sum(dim=(-2, -1))
        value = (value + self.mean_factor * off.square().sum(dim=-1)) / 2
        by_second = self.second_factor[..., None, None] * difference
        # The covariance is the second moment less the mean's square.
        by_mean = self.mean_factor[..., None] * off - 2 * (by_second @ found.first[..., None])[..., 0]
        return value, by_second, by_mean

    def scale(self) -> Tensor:
        """The loss of features that are nothing, (B, R)."""
        value = self.second_factor * self.second.square().sum(dim=(-2, -1))
        if self.mean is None or self.mean_factor is None:
            return value
        return (value + self.mean_factor * self.mean.square().sum(dim=-1)) / 2

    def only(self, index: Tensor) -> Self:
        """The goal of some pictures of the batch."""
        return type(self)(
            self.second[index],
            None if self.mean is None else self.mean[index],
            self.second_factor[index],
            None if self.mean_factor is None else self.mean_factor[index],
        )


def _covariance(second: Tensor, mean: Tensor) -> Tensor:
    return second - mean[..., :, None] * mean[..., None, :]


@dataclass(frozen=True)
class Targets:
    """The goals of a batch.

    Attributes:
        content: by layer, the content's features (B, N, h, w), in the network's precision, not calibrated.
        content_factors: what squared differences are multiplied by, (B, layers).
        content_shares: the layers' weights, (B, layers). content_layers: the same times alpha.
        style: by layer, the styles' goal.
        style_layers: the layers' weights, (B, layers). style_weight: beta, (B,).
        guidance: where in the content each region lies; None where all have one region, the whole.
        shares: each region's share of the style term, (B, R).
        tv_weight: (B,). photo_weight: (B,).
        scale: the losses, weighted, of rough pictures that give every layer nothing, (B,).
        styled: how far each pixel lies in or near a region, (B, 1, H, W); None where all do. TV acts there
            alone: it is there for what styles paint.
        laplacians: each picture's matting Laplacian, or None.
    """

    content: dict[str, Tensor]
    content_factors: Tensor
    content_shares: Tensor
    content_layers: Tensor
    style: dict[str, StyleTarget]
    style_layers: Tensor
    style_weight: Tensor
    guidance: Guidance | None
    shares: Tensor
    tv_weight: Tensor
    photo_weight: Tensor
    scale: Tensor
    styled: Tensor | None = None
    laplacians: Sequence[MattingLaplacian | None] = field(default=())

    def only(self, items: Sequence[int]) -> Self:
        """The goals of some pictures of the batch."""
        index = torch.as_tensor(items, device=self.shares.device)
        tensors = {
            one.name: part[index]
            for one in fields(self)
            if isinstance(part := getattr(self, one.name), Tensor)
        }
        return replace(
            self,
            content={layer: goal[index] for layer, goal in self.content.items()},
            style={layer: goal.only(index) for layer, goal in self.style.items()},
            guidance=self.guidance and {layer: counts[index] for layer, counts in self.guidance.items()},
            laplacians=[self.laplacians[item] for item in items],
            **tensors,
        )
