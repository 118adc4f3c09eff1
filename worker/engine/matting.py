"""The matting Laplacian: how far a picture is from being, around each pixel, affine in the content's colours.

Levin, Lischinski and Weiss 2008, "A closed-form solution to natural image matting". For a picture p of one
channel, with I the content and k running over the 3x3 windows that lie inside the picture,

    p^T L p = sum_k min_(a, b) sum_(i in k) (p_i - a . I_i - b)^2 + epsilon |a|^2     (equations 3 to 6)
    (L p)_i = sum_(k around i) p_i - a_k . I_i - b_k                                 (L is equation 12)

L is never built. A window's best fit is a_k = (S_k + epsilon/9)^-1 cov_k(I, p) and b_k = mean_k(p) -
a_k . mean_k(I), with S_k the covariance of the content's colours in the window.

As a regulariser of style transfer (Luan, Paris, Shechtman and Bala 2017, "Deep Photo Style Transfer",
equations 2 and 3) it leaves an optimisation free to change colours, but neither to bend edges nor to paint
texture. It cannot choose colours by what things are: an affine change may as well give a house the sky's
blue. Where content and style show much the same things in much the same shares (one scene by day and by
night) the regulariser is enough; elsewhere Luan et al. also need their augmented style loss, with masks that
pair sky with sky and houses with houses (equation 4), which here are a style's `mask` and `region`. They also
paint twice, and regularise only the second painting, which starts from the first.
"""

from collections.abc import Iterator

import torch
from torch import Tensor

EPSILON = 1e-5
"""Levin et al. and Luan et al. take 1e-7. There the grain of a smooth sky may be amplified as far as the
style likes, and is; at 1e-3 colours bleed over faint edges. Chosen by looking at 1e-7, 1e-5 and 1e-3."""

STRIP = 2**17
"""Windows worked on at once (50 MB in flight, twice that while L is made), whatever the picture's size."""

SIDE, COUNT = 3, 9


class MattingLaplacian:
    """L of one content picture, applied without being built; on the content's device, in float32.

    It keeps 9 floats a pixel: the content's colours and, for each window, the inverse Cholesky factor W of
    S_k + epsilon/9, with W^T W its inverse. The factor, not the inverse, is kept and applied in two steps:
    where a window's colours lie on a line, as in any grey picture, the inverse has entries of 9/epsilon that
    cancel, which float32 cannot hold, while the factor's own errors lie along colours that the window lacks.
    A picture with a side below 3 pixels has no window: L is 0.
    """

    def __init__(self, content: Tensor, epsilon: float = EPSILON) -> None:
        """Take the content's colours, (3, H, W) in [0, 1].

        The larger epsilon (a variance of colours, above 0), the less a smooth part may gain in contrast.
        """
        self._content = content.detach().float()
        self._epsilon = epsilon
        self._size = self._content.shape[-2:]
        self._factors = [_factor(self._content[:, rows], epsilon) for rows in self._strips()]

    def energy_and_gradient(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """The regulariser (1 / HW) sum_c x_c^T L x_c and its gradient (2 / HW) L x.

        Divided by the pixels, it means the same at every size.

        Args:
            x: (..., C, H, W), of the content's size and device.

        Returns:
            One energy for each picture, of shape (...) and 0 or more; the gradient, of x's shape. Float32.
        """
        energy, applied = self._visit(x)
        pixels = self._size[0] * self._size[1]
        return energy / pixels, applied.mul_(2 / pixels)

    def _visit(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x^T L x summed over channels, and L x."""
        if x.shape[-2:] != self._size:
            raise ValueError(f"{tuple(x.shape)} is not of the content's size {tuple(self._size)}")
        x = x.detach().float()
        applied, energy = torch.zeros_like(x), x.new_zeros(x.shape[:-3])
        for rows, factor in zip(self._strips(), self._factors, strict=True):
            energy += self._visit_strip(
                self._content[:, rows], factor, x[..., rows, :], applied[..., rows, :]
            )
        return energy, applied

    def _visit_strip(self, content: Tensor, factor: Tensor, x: Tensor, applied: Tensor) -> Tensor:
        """Add a strip's share of L x to `applied`, and return its share of the energy."""
        colours, values = _deviations(content), _deviations(x)
        covariance = values[0].unsqueeze(-3) * colours[0]
        for colour, value in zip(colours[1:], values[1:], strict=True):
            covariance.addcmul_(value.unsqueeze(-3), colour)
        a = _solve(factor, covariance / COUNT)
        energy = self._epsilon * a.square().sum(dim=(-4, -3, -2, -1))
        for window, colour, residual in zip(_windows(applied), colours, values, strict=True):
            for channel in range(3):
                residual.addcmul_(a[..., channel, :, :], colour[channel], value=-1)
            energy += residual.square().sum(dim=(-3, -2, -1))
            window.add_(residual)
        return energy

    def _strips(self) -> Iterator[slice]:
        """Rows of pixels of each strip; neighbours share two, since windows reach over."""
        height, width = self._size
        if width < SIDE:
            return
        step = max(1, STRIP // width)
        for top in range(0, height - SIDE + 1, step):
            yield slice(top, min(top + step + SIDE - 1, height))


def _windows(image: Tensor) -> list[Tensor]:
    """For each of the 9 places in a window, that pixel of every window: views (..., H - 2, W - 2)."""
    height, width = (length - SIDE + 1 for length in image.shape[-2:])
    return [
        image[..., top : top + height, left : left + width] for top in range(SIDE) for left in range(SIDE)
    ]


def _deviations(image: Tensor) -> list[Tensor]:
    """The same, less each window's mean.

    Sums of products of these are exact to float32; mean products less products of means would not be, since
    a smooth window's variance is a millionth of its squared mean.
    """
    windows = _windows(image)
    mean = sum(windows[1:], windows[0]) / COUNT
    return [window - mean for window in windows]


def _factor(content: Tensor, epsilon: float) -> Tensor:
    """W for each window, (6, H - 2, W - 2): its entries 11, 21, 22, 31, 32, 33.

    In float64, on the CPU where the device has none: with epsilon at 1e-7 float32 loses the smaller pivots.
    """
    precise = (content.cpu() if content.device.type == "mps" else content).double()
    colours = _deviations(precise)

    def covariance(first: int, second: int) -> Tensor:
        products = [colour[first] * colour[second] for colour in colours]
        mean = sum(products[1:], products[0]) / COUNT
        return mean + epsilon / COUNT if first == second else mean

    # The Cholesky factor of a 3x3 matrix and its inverse, written out: they are elementwise over windows.
    l11 = covariance(0, 0).sqrt_()
    l21, l31 = covariance(1, 0) / l11, covariance(2, 0) / l11
    l22 = (covariance(1, 1) - l21.square()).sqrt_()
    l32 = (covariance(2, 1) - l31 * l21) / l22
    l33 = (covariance(2, 2) - l31.square() - l32.square()).sqrt_()
    w11, w22, w33 = l11.reciprocal(), l22.reciprocal(), l33.reciprocal()
    w21, w32 = -l21 * w11 * w22, -l32 * w22 * w33
    w31 = -(l31 * w11 + l32 * w21) * w33
    return torch.stack((w11, w21, w22, w31, w32, w33)).float().to(content.device)


def _solve(factor: Tensor, covariance: Tensor) -> Tensor:
    """W^T (W c) for (..., 3, H, W), window by window."""
    w11, w21, w22, w31, w32, w33 = factor
    c1, c2, c3 = covariance.unbind(dim=-3)
    q1, q2, q3 = w11 * c1, w21 * c1 + w22 * c2, w31 * c1 + w32 * c2 + w33 * c3
    return torch.stack((w11 * q1 + w21 * q2 + w31 * q3, w22 * q2 + w32 * q3, w33 * q3), dim=-3)
