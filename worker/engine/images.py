"""Pictures as tensors: (3, H, W), RGB in [0, 1]. Sizes, resizing, starting pictures.

Reading and writing files is left to the callers.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from shared import sizes

NOISE_MEAN, NOISE_DEVIATION = 0.5, 0.25
"""White noise that fills the range and is seldom cut off."""

REACH = 2
"""Pixels to each side that bicubic interpolation looks at, of the coarser grid."""


def check(image: Tensor, what: str) -> None:
    """Raise ValueError unless `image` is (3, H, W), floating, finite and not empty."""
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0 or not image.is_floating_point():
        raise ValueError(f"{what} should be a float tensor (3, H, W), not {image.dtype} {tuple(image.shape)}")
    if not bool(torch.isfinite(image).all()):
        raise ValueError(f"{what} holds values that are not numbers")


def check_mask(mask: Tensor, what: str) -> None:
    """Raise ValueError unless `mask` is (h, w), floating, and from 0 to 1."""
    if mask.ndim != 2 or mask.numel() == 0 or not mask.is_floating_point():
        raise ValueError(f"{what} should be a float tensor (h, w), not {mask.dtype} {tuple(mask.shape)}")
    if not bool(torch.isfinite(mask).all()) or not 0 <= float(mask.min()) <= float(mask.max()) <= 1:
        raise ValueError(f"{what} should hold values from 0 to 1")


def size_for(image: Tensor, longest: int) -> tuple[int, int]:
    """Height and width with the image's aspect and a longest side of `longest`; no side falls below 1."""
    height, width = image.shape[-2:]
    return sizes.size_for(height, width, longest)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, with antialiasing on the way down, clamped to [0, 1] since bicubic overshoots at edges."""
    if tuple(image.shape[-2:]) == size:
        return image.clamp(0, 1)
    resized = F.interpolate(image[None], size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A soft mask (h, w) at another size, each value the mean of what it stands for."""
    resized = F.interpolate(
        mask[None, None].float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0].clamp(0, 1)


def cover(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize to cover `size` with the aspect kept, then cut out the middle."""
    height, width = size
    scale = max(height / image.shape[-2], width / image.shape[-1])
    # What lies far outside is cut off first: a long, thin picture would otherwise be enlarged without bound.
    for dim, length in ((-2, height), (-1, width)):
        beside = int((image.shape[dim] - length / scale) / 2 - REACH * max(1, 1 / scale))
        if beside > 0:
            image = image.narrow(dim, beside, image.shape[dim] - 2 * beside)
    covering = (max(height, round(image.shape[-2] * scale)), max(width, round(image.shape[-1] * scale)))
    resized = resize(image, covering)
    top, left = (covering[0] - height) // 2, (covering[1] - width) // 2
    return resized[:, top : top + height, left : left + width].contiguous()


def white_noise(size: tuple[int, int], seed: int) -> Tensor:
    """White noise (3, H, W). Drawn on the CPU, so that a seed means the same on every device."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((3, *size), generator=generator)
    return (NOISE_MEAN + NOISE_DEVIATION * noise).clamp(0, 1)
