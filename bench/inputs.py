"""What the benchmarks work on: pictures and weights, made on the spot or from the samples."""

import math
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional as F

from worker.engine.files import decode
from worker.engine.vgg import LAYOUTS

ROOT = Path(__file__).parents[1]
SAMPLE_PAIRS = (("coast", "night_brushwork"), ("town", "stained_glass"), ("still_life", "woodblock_waves"))


@dataclass(frozen=True)
class Pair:
    """A content and a style, each (3, H, W) in [0, 1]."""

    name: str
    content: Tensor
    style: Tensor


def noise(size: int, seed: int = 0, *, square_content: bool = False) -> Pair:
    """A content of three to two (or square) and a square style, random: speed does not depend on values."""
    generator = torch.Generator().manual_seed(seed)
    height = size if square_content else size * 2 // 3
    content, style = (torch.rand(3, side, size, generator=generator) for side in (height, size))
    return Pair(f"noise-{seed}", content, style)


def pairs(given: Sequence[str] | None) -> list[Pair]:
    """Pairs from files, each given as `content.jpg:style.jpg`; three of the samples when none is."""
    if given is None:
        folder = ROOT / "samples"
        files = [(folder / f"content/{one}.jpg", folder / f"style/{two}.jpg") for one, two in SAMPLE_PAIRS]
    else:
        files = [(Path(one), Path(two)) for one, _, two in (pair.partition(":") for pair in given)]
    return [
        Pair(f"{one.stem}, {two.stem}", decode(one.read_bytes()), decode(two.read_bytes()))
        for one, two in files
    ]


def scaled(image: Tensor, longest: int) -> Tensor:
    """A picture with its aspect kept and a longest side of `longest`: bicubic, antialiased, in [0, 1]."""
    scale = longest / max(image.shape[-2:])
    return fitted(image, (round(image.shape[-2] * scale), round(image.shape[-1] * scale)))


def fitted(image: Tensor, size: tuple[int, int]) -> Tensor:
    """A picture at height and width `size`, likewise."""
    if tuple(image.shape[-2:]) == size:
        return image.clamp(0, 1)
    found = F.interpolate(image[None], size=size, mode="bicubic", align_corners=False, antialias=True)
    return found[0].clamp(0, 1)


def random_state(network: str, seed: int = 0) -> dict[str, Tensor]:
    """Random weights that keep the activations' scale (He et al. 2015), named as the engine names them."""
    generator = torch.Generator().manual_seed(seed)
    state: dict[str, Tensor] = {}
    inputs = 3
    for block, outputs in enumerate(LAYOUTS[network], start=1):
        for place, width in enumerate(outputs, start=1):
            deviation = math.sqrt(2 / (9 * inputs))
            name = f"conv{block}_{place}"
            state[f"{name}.weight"] = deviation * torch.randn(width, inputs, 3, 3, generator=generator)
            state[f"{name}.bias"] = torch.zeros(width)
            inputs = width
    return state


@contextmanager
def random_weights(*networks: str) -> Iterator[Path]:
    """A folder with random weights for these networks, as `Engine` takes it."""
    with tempfile.TemporaryDirectory() as folder:
        for network in networks:
            save_file(random_state(network), Path(folder) / f"{network}.safetensors")
        yield Path(folder)
