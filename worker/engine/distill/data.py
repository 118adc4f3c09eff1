"""Training pictures: read once into memory, cropped at several scales, disturbed as an optimiser does.

Every batch is a function of the seed and the step alone, so a resumed run sees what an uninterrupted one
sees.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from tqdm import tqdm

SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
LONGEST_SIDES = (640, 448, 320, 224, 160)
"""Each picture is kept at these sizes: crops of small ones show large forms, of large ones texture."""


@dataclass(frozen=True)
class Scales:
    """One picture at several sizes, each (3, H, W) uint8, none smaller than the crop."""

    versions: tuple[Tensor, ...]


@dataclass(frozen=True)
class Pictures:
    """The training pictures and those held out to measure by, and how many there were."""

    training: list[Scales]
    held_out: list[Scales]


def load_pictures(folder: Path, crop: int, held_out: float = 0.1) -> Pictures:
    """Read every picture under `folder` that is large enough for a crop.

    Which are held out follows from the hash of each file, so it does not change when pictures are added or
    renamed. Files that are no pictures are passed over. Raises ValueError when either part would be empty.
    """
    training: list[Scales] = []
    kept_aside: list[Scales] = []
    paths = sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in tqdm(paths, desc="reading pictures", unit="picture"):
        scales = _read(path, crop)
        if scales is None:
            continue
        share = hashlib.sha256(path.read_bytes()).digest()[0] / 256
        (kept_aside if share < held_out else training).append(scales)
    if not training or not kept_aside:
        raise ValueError(
            f"{folder} gives {len(training)} pictures to train on and {len(kept_aside)} to hold out: too few"
        )
    return Pictures(training, kept_aside)


def _read(path: Path, crop: int) -> Scales | None:
    """The picture at each size that a crop fits in; None when it is unreadable or too small."""
    try:
        with Image.open(path) as opened:
            picture = opened.convert("RGB")
    except (UnidentifiedImageError, OSError):
        return None
    versions: list[Tensor] = []
    for longest in LONGEST_SIDES:
        if max(picture.size) > longest:
            picture.thumbnail((longest, longest), Image.Resampling.LANCZOS)
        if min(picture.size) < crop:
            break
        if versions and versions[-1].shape[1:] == (picture.height, picture.width):
            continue
        versions.append(torch.from_numpy(np.array(picture)).permute(2, 0, 1).contiguous())
    return Scales(tuple(versions)) if versions else None


def batch(pictures: Sequence[Scales], size: int, crop: int, seed: int, step: int) -> Tensor:
    """`size` disturbed crops (size, 3, crop, crop), about [0, 1], decided by seed and step."""
    generator = torch.Generator().manual_seed(_mix(seed, step))
    crops = torch.stack([_crop(pictures, crop, generator) for _ in range(size)])
    return _disturb(crops, generator)


def _mix(seed: int, step: int) -> int:
    """One 63-bit number from two, so that neighbouring steps share no random stream."""
    digest = hashlib.sha256(f"{seed}/{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _draw(low: int, high: int, generator: torch.Generator) -> int:
    """An integer in [low, high)."""
    return int(torch.randint(low, high, (1,), generator=generator))


def _crop(pictures: Sequence[Scales], crop: int, generator: torch.Generator) -> Tensor:
    """A random square of a random picture at a random size, perhaps mirrored, in [0, 1]."""
    versions = pictures[_draw(0, len(pictures), generator)].versions
    source = versions[_draw(0, len(versions), generator)]
    top = _draw(0, source.shape[1] - crop + 1, generator)
    left = _draw(0, source.shape[2] - crop + 1, generator)
    square = source[:, top : top + crop, left : left + crop].float() / 255
    return square.flip(-1) if _draw(0, 2, generator) else square


def _disturb(crops: Tensor, generator: torch.Generator) -> Tensor:
    """Colour jitter on all crops, noise on half of them, and one in 32 replaced by noise alone.

    The pictures an optimiser visits are off in colour, noisy, and, with L-BFGS, leave [0, 1] a little:
    nothing is clamped here either.
    """

    def uniform(low: float, high: float, channels: int = 1) -> Tensor:
        return torch.rand(len(crops), channels, 1, 1, generator=generator) * (high - low) + low

    grey = crops.mean(dim=1, keepdim=True)
    crops = grey + (crops - grey) * uniform(0.3, 1.6)
    centre = crops.mean(dim=(1, 2, 3), keepdim=True)
    crops = centre + (crops - centre) * uniform(0.6, 1.4) + uniform(-0.15, 0.15)
    crops = crops * uniform(0.85, 1.15, channels=3)
    noise = torch.randn(crops.shape, generator=generator)
    crops = crops + noise * uniform(0.0, 0.15) * (uniform(0, 1) < 0.5)
    only_noise = uniform(0, 1) < 1 / 32
    return torch.where(only_noise, 0.5 + noise * uniform(0.05, 0.3), crops)
