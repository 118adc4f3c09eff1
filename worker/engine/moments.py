"""First and second moments of a layer's features: what style is measured by.

They are sums over positions, so that those of a picture are the sums of those of its tiles. A position may
count with a weight, and with several sets of weights there are as many sets of moments: the guidance
channels T of "Controlling Perceptual Factors in Neural Style Transfer" (Gatys et al., CVPR 2017, section
4), whose squares, made to sum to 1, are the weights here.

Features may be bfloat16; sums are float32.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

CHUNK = 2**22
"""Feature values converted to float32 at a time."""


@dataclass(frozen=True)
class Moments:
    """Sums over positions, or, divided by the weight of all positions, means.

    Attributes:
        second: of f f^T, (B, R, N, N).
        first: of f, (B, R, N); None where nobody asked.
    """

    second: Tensor
    first: Tensor | None

    def __add__(self, other: "Moments") -> Self:
        """The sums over two sets of positions."""
        first = None if self.first is None or other.first is None else self.first + other.first
        return type(self)(self.second + other.second, first)

    def over(self, weight: Tensor) -> Self:
        """Means, given the weight of all positions (B, R): the Gram matrix per position, and the mean."""
        first = None if self.first is None else self.first / weight[..., None]
        return type(self)(self.second / weight[..., None, None], first)

    def times(self, factor: float) -> Self:
        """The same, each number multiplied."""
        return type(self)(self.second * factor, None if self.first is None else self.first * factor)

    def on_cpu(self) -> Self:
        """The same, in the machine's own memory."""
        return type(self)(self.second.cpu(), None if self.first is None else self.first.cpu())

    def scaled(self, scale: Tensor) -> Self:
        """The moments of features whose channels were multiplied by `scale` (N,)."""
        first = None if self.first is None else self.first * scale
        return type(self)(self.second * scale.outer(scale), first)


def sums(features: Tensor, weights: Tensor | None, *, with_first: bool) -> Moments:
    """Moments of features (B, N, h, w) with weights (B, R, h, w), or with all weights 1 as R = 1."""
    batch, channels, height, width = features.shape
    sets = 1 if weights is None else weights.shape[1]
    second = torch.zeros(batch, sets, channels, channels, device=features.device)
    first = torch.zeros(batch, sets, channels, device=features.device) if with_first else None
    rows = max(1, CHUNK // (batch * channels * width))
    for top in range(0, height, rows):
        part = _matrix(features[:, :, top : top + rows].float())
        for index in range(sets):
            weighted = part
            if weights is not None:
                weighted = part * weights[:, index, top : top + rows].flatten(1)[..., None]
            second[:, index].baddbmm_(weighted.mT, part)
            if first is not None:
                first[:, index] += weighted.sum(dim=1)
    return Moments(second, first)


def pull_back(features: Tensor, weights: Tensor | None, by_second: Tensor, by_first: Tensor | None) -> Tensor:
    """The gradient at the features from that at their sums.

    Args:
        features: (B, N, h, w).
        weights: as `sums` had them.
        by_second: gradient at the second moments, symmetric, (B, R, N, N).
        by_first: gradient at the first moments, (B, R, N), if they count.

    Returns:
        (B, N, h, w) in the features' precision, channels last.
    """
    batch, channels, height, width = features.shape
    matrix = _matrix(features)
    total = torch.zeros((), dtype=features.dtype, device=features.device)
    for index in range(by_second.shape[1]):
        # d sum(t f f^T) : D is t (D + D^T) f.
        pull = (2 * by_second[:, index]).to(features.dtype)
        if by_first is None:
            part = matrix @ pull
        else:
            part = torch.baddbmm(by_first[:, index, None].to(features.dtype), matrix, pull)
        if weights is not None:
            part = part * weights[:, index].flatten(1)[..., None].to(features.dtype)
        total = part if index == 0 else total.add_(part)
    return total.view(batch, height, width, channels).permute(0, 3, 1, 2)


def _matrix(features: Tensor) -> Tensor:
    """(B, N, h, w) as (B, h w, N), which for channels-last features moves nothing within a row."""
    batch, channels, height, width = features.shape
    return features.permute(0, 2, 3, 1).reshape(batch, height * width, channels)
