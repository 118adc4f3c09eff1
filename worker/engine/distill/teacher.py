"""Teachers: anything that gives pre-activations by VGG layer names for RGB in [0, 1].

Two files are understood: torchvision's VGG-19 or VGG-16 (.pth or .safetensors), and the encoder of
Collaborative Distillation (Wang et al., CVPR 2020). A further one is a class with `convolutions` and
`forward`, and one line in `load_teacher`.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from worker.engine.vgg import LAYOUTS, VGG, Padding, Pooling, Preprocessing, Widths, from_torchvision_state


class Teacher(Protocol):
    """A network whose convolutions carry VGG names."""

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions from the input to the deepest."""

    def __call__(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Pre-activations (B, C, H, W) of RGB in [0, 1] (B, 3, H, W) at the layers asked for."""


class CollaborativeEncoder(nn.Module):
    """The quarter-width encoder of Collaborative Distillation, run as style transfer runs a network.

    Its 1x1 `conv0` turns RGB in [0, 1] into what the rest expects. It was trained with max pooling and
    reflection padding; `pooling` and `padding` here are the student's, so that the student learns what it
    will compute. The `aux` layers, which lift features to VGG-19's widths, are left aside.
    """

    def __init__(self, state: Mapping[str, Tensor], *, pooling: Pooling, padding: Padding) -> None:
        super().__init__()
        trunk = {
            re.sub(r"^conv(\d)(\d)\.", r"conv\1_\2.", name): tensor
            for name, tensor in state.items()
            if re.match(r"^conv\d\d\.", name)
        }
        self.colours = nn.Conv2d(3, 3, kernel_size=1)
        self.colours.load_state_dict({"weight": state["conv0.weight"], "bias": state["conv0.bias"]})
        unchanged = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
        self.trunk = VGG(_widths(trunk), pooling=pooling, padding=padding, preprocessing=unchanged)
        self.trunk.load_state_dict(trunk)

    @property
    def convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions from the input to the deepest."""
        return self.trunk.convolutions

    def forward(self, x: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Features of RGB in [0, 1] (B, 3, H, W) at the layers asked for."""
        features: dict[str, Tensor] = self.trunk(self.colours(x), layers)
        return features


def _widths(state: Mapping[str, Tensor]) -> Widths:
    """The table of widths that weights named `convB_I.weight` belong to."""
    blocks: dict[int, list[int]] = {}
    for name in sorted(name for name in state if name.endswith(".weight")):
        blocks.setdefault(int(name[4]), []).append(len(state[name]))
    return tuple(tuple(widths) for _, widths in sorted(blocks.items()))


def load_teacher(
    path: Path, *, pooling: Pooling = "avg", padding: Padding = "replicate"
) -> VGG | CollaborativeEncoder:
    """Read a teacher's file, find out which network it holds, and freeze it.

    Pickles are read with `weights_only`: they may hold tensors, never code. Raises ValueError when the file
    holds no network that is known here.
    """
    state = read_state(path)
    teacher: VGG | CollaborativeEncoder
    if "conv0.weight" in state:
        teacher = CollaborativeEncoder(state, pooling=pooling, padding=padding)
    else:
        widths, weights = _recognise(path, state)
        teacher = VGG(widths, pooling=pooling, padding=padding)
        teacher.load_state_dict(weights)
    return teacher.eval().requires_grad_(requires_grad=False)


def _recognise(path: Path, state: Mapping[str, Tensor]) -> tuple[Widths, dict[str, Tensor]]:
    """Which of torchvision's layouts a state belongs to, with its tensors renamed."""
    for name in ("vgg19", "vgg16"):
        try:
            return LAYOUTS[name], from_torchvision_state(state, LAYOUTS[name])
        except ValueError:
            continue
    raise ValueError(
        f"{path} holds neither a VGG in torchvision's layout nor a Collaborative Distillation encoder"
    )


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file or of a torch pickle (also one that nests them under `model`)."""
    if path.suffix == ".safetensors":
        return load_file(path)
    loaded = torch.load(path, map_location="cpu", weights_only=True)
    nested = loaded.get("model", loaded)
    return {name: tensor for name, tensor in nested.items() if isinstance(tensor, Tensor)}


def sha256(path: Path) -> str:
    """The file's SHA-256 in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
