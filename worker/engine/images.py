"""Pictures as tensors: (3, H, W), RGB in [0, 1]. Sizes, resizing, starting pictures.

Reading and writing files is left to the callers.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from shared import sizes

NOISE_MEAN, NOISE_DEVIATION = 0.5, 0.25
"""White noise that fills the range and is seldom cut off."""

OVERSHOOT = 0.5
"""How far outside [0, 1] a picture may lie: resampling leaves some, and 8-bit values are far beyond."""

REACH = 2
"""Pixels to each side that bicubic interpolation looks at, of the coarser grid."""


def check(image: Tensor, what: str) -> None:
    """Raise ValueError unless `image` is (3, H, W), floating, finite, not empty, and about in [0, 1]."""
    if image.ndim != 3 or image.shape[0] != 3 or image.numel() == 0 or not image.is_floating_point():
        raise ValueError(f"{what} should be a float tensor (3, H, W), not {image.dtype} {tuple(image.shape)}")
    if not bool(torch.isfinite(image).all()):
        raise ValueError(f"{what} holds values that are not numbers")
    low, high = map(float, image.aminmax())
    if low < -OVERSHOOT or high > 1 + OVERSHOOT:
        raise ValueError(f"{what} should hold values from 0 to 1, not {low:g} to {high:g}")


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


def level_size(image: Tensor, size: int, longest: int) -> tuple[int, int]:
    """Height and width of a level, on the way to a longest side of `size`.

    They follow from the last level's, so that pictures of one size at the end have one size all the way.
    """
    return sizes.size_for(*size_for(image, size), longest)


def resize(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Bicubic, with antialiasing on the way down, clamped to [0, 1] since bicubic overshoots at edges."""
    if tuple(image.shape[-2:]) == size:
        return image.clamp(0, 1)
    resized = F.interpolate(image[None], size=size, mode="bicubic", align_corners=False, antialias=True)
    return resized[0].clamp(0, 1)


def enlarge(image: Tensor, coarse: Tensor, fine: Tensor, share: float | Tensor) -> Tensor:
    """Enlarge, and add what another picture shows at the new size and could not at the old one.

    That is the level of a Laplacian pyramid between the two sizes (Burt and Adelson 1983, section III):
    with a `share` of 1, `coarse` becomes `fine`.

    Args:
        image: (3, h, w).
        coarse: the other picture at that size, (3, h, w).
        fine: the other picture at the new size, (3, H, W).
        share: how much of the detail is added, everywhere or at each pixel, (H, W).

    Returns:
        (3, H, W) on the device of `image`, clamped to [0, 1].
    """
    size = (fine.shape[-2], fine.shape[-1])
    detail = fine - resize(coarse, size)
    return resize(image, size).add_((share * detail).to(image.device)).clamp_(0, 1)


def resize_mask(mask: Tensor, size: tuple[int, int]) -> Tensor:
    """A soft mask (h, w) at another size, each value the mean of what it stands for."""
    resized = F.interpolate(
        mask[None, None].float(), size=size, mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0].clamp(0, 1)


def spread(masks: Tensor, reach: int) -> Tensor:
    """Masks (B, 1, H, W) grown by so many pixels on all sides, and fading out over as many more."""
    for window, around in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        masks = F.max_pool2d(masks, window, 1, around)
    for window, around in (((2 * reach + 1, 1), (reach, 0)), ((1, 2 * reach + 1), (0, reach))):
        masks = F.avg_pool2d(masks, window, 1, around, count_include_pad=False)
    return masks


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
