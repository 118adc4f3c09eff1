"""Colour control: a style in the content's colours, or a painting in the content's chroma.

The two ways of Gatys, Bethge, Hertzmann and Shechtman 2016, "Preserving Color in Neural Artistic Style
Transfer" (arXiv 1606.05897). `match_colors` changes the style before painting, `keep_chroma` the picture
after it. Which of them runs, and when, is left to the painting.
"""

import torch
from torch import Tensor

MAX_GAIN = 4.0
"""The most by which a matched colour may be spread along any axis. A grey style has no chroma to spread but
the noise of its file; without a bound that noise would be painted in full colour."""

LEAST_DEVIATION = 1e-4
"""A style that varies by less along an axis of colour counts as varying by it: a fortieth of a step of 8
bits, where statistics in float32 end."""

LUMA = (0.299, 0.587, 0.114)
"""Y of YIQ (ITU-R BT.601), of gamma-encoded RGB as pictures are stored."""


def match_colors(
    style: Tensor, content: Tensor, style_mask: Tensor | None = None, content_mask: Tensor | None = None
) -> Tensor:
    """The style with every colour x moved to A (x - mean_s) + mean_c: its statistics become the content's.

    With S and C the covariances of style and content, any A with A S A^T = C gives the content's mean and
    covariance (section 4.1 there). A is the Monge-Kantorovich map S^-1/2 (S^1/2 C S^1/2)^1/2 S^-1/2 (Pitie
    and Kokaram 2007), not the Cholesky factors or the C^1/2 S^-1/2 of Image Analogies: it is the only
    symmetric positive one, hence turns no colour round another, and moves colours the least in the mean
    square. Its eigenvalues are the gains along its axes, so that `MAX_GAIN` can bound them one by one; along
    an axis where it does, the style stays less colourful than the content. A grey content makes the style
    grey, a flat one makes it flat. Colours that leave [0, 1] are clamped.

    Args:
        style: RGB in [0, 1], (3, h, w).
        content: likewise, (3, H, W), on the same device.
        style_mask: (h, w) in [0, 1], how much each of the style's pixels counts; None or all 0 for all alike.
        content_mask: likewise, (H, W).

    Returns:
        (3, h, w) in [0, 1], float32.
    """
    style, content = style.float(), content.float()
    style_mean, style_covariance = _statistics(style, style_mask)
    content_mean, content_covariance = _statistics(content, content_mask)
    matrix = _monge_kantorovich(style_covariance, content_covariance)
    offset = content_mean - matrix @ style_mean
    rows = [
        sum(
            (style[channel] * float(row[channel]) for channel in range(3)),
            torch.full_like(style[0], float(shift)),
        )
        for row, shift in zip(matrix, offset, strict=True)
    ]
    return torch.stack(rows).clamp_(0, 1)


def keep_chroma(painted: Tensor, content: Tensor) -> Tensor:
    """The painted picture's luminance with the content's chroma (section 4.2 there), in YIQ.

    Equal I and Q mean equal differences of R, G and B from Y, so no conversion is needed: the result is
    Y_painted + (content - Y_content). Where that leaves [0, 1] the chroma is scaled down until it fits, which
    keeps luminance and hue; clipping the channels would keep neither.

    Args:
        painted: RGB around [0, 1], (3, H, W).
        content: likewise, of the same size, on the same device.

    Returns:
        (3, H, W) in [0, 1], float32.

    Raises:
        ValueError: the pictures differ in size.
    """
    if painted.shape != content.shape:
        raise ValueError(f"{tuple(painted.shape)} cannot take the chroma of {tuple(content.shape)}")
    luminance = _luminance(painted.float()).clamp_(0, 1)
    chroma = content.float() - _luminance(content.float())
    highest, lowest = chroma.amax(dim=0), -chroma.amin(dim=0)
    # Both are 0 or more, since luminance is a mean of the channels; a grey pixel may keep its share of 1.
    tiny = torch.finfo(torch.float32).tiny
    share = torch.minimum(
        (1 - luminance) / highest.clamp_min(tiny), luminance / lowest.clamp_min(tiny)
    ).clamp_(max=1)
    return (luminance + share * chroma).clamp_(0, 1)


def _luminance(image: Tensor) -> Tensor:
    red, green, blue = LUMA
    return red * image[0] + green * image[1] + blue * image[2]


def _statistics(image: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Weighted mean (3,) and covariance (3, 3), float64 on the CPU, of (3, H, W)."""
    weights = torch.ones_like(image[0]) if mask is None else mask.to(image.device, torch.float32)
    if not bool(weights.sum() > 0):
        weights = torch.ones_like(image[0])
    weights = weights / weights.sum()
    mean = (image * weights).sum(dim=(1, 2))
    centred = image - mean[:, None, None]
    # Not as a matrix product: TF32, where it is switched on, would cost three of its digits.
    covariance = torch.stack(
        [(centred * (centred[channel] * weights)).sum(dim=(1, 2)) for channel in range(3)]
    )
    return mean.cpu().double(), covariance.cpu().double()


def _monge_kantorovich(source: Tensor, target: Tensor) -> Tensor:
    """The symmetric A with A source A = target, its gains bounded; (3, 3) float64."""
    variances, axes = torch.linalg.eigh(source)
    deviations = variances.clamp_min(LEAST_DEVIATION**2).sqrt()
    root, inverse = _compose(deviations, axes), _compose(1 / deviations, axes)
    between = _root(root @ target @ root)
    gains, directions = torch.linalg.eigh(inverse @ between @ inverse)
    return _compose(gains.clamp(0, MAX_GAIN), directions)


def _root(matrix: Tensor) -> Tensor:
    values, axes = torch.linalg.eigh(matrix)
    return _compose(values.clamp_min(0).sqrt(), axes)


def _compose(values: Tensor, axes: Tensor) -> Tensor:
    return axes * values @ axes.T
