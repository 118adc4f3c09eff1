"""Networks beside the shipped one, to judge pictures by and to paint with: random weights, and a teacher's.

Reading a teacher's file is left to `worker/engine/distill`.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from worker.engine import calibration
from worker.engine.distill.teacher import CollaborativeEncoder, load_teacher
from worker.engine.vgg import LAYOUTS, VGG, Widths

JUDGE_WIDTHS: Widths = ((32,) * 2, (64,) * 2, (128,) * 4, (256,) * 4, (256,))
"""VGG-19 to conv5_1, half as wide: no painting is optimised against a network of this shape."""
JUDGE_SEED = 2016


@torch.no_grad()
def random_network(widths: Widths = JUDGE_WIDTHS, seed: int = JUDGE_SEED) -> VGG:
    """A VGG-shaped network of random weights, normalised layer by layer; the same on every machine.

    Each channel before its ReLU is given mean 0 and deviation 1 over the engine's calibration set, so that
    no layer fades or saturates (as Mishkin and Matas 2016 do, "All you need is a good init").
    """
    generator = torch.Generator().manual_seed(seed)
    network = VGG(widths)
    # The tensors of a state are the network's own: what is done to them is done to it.
    state = network.state_dict()
    for name in network.convolutions:
        weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
        weight.normal_(generator=generator)
        bias.zero_()
        seen = network(calibration.pictures(), [name])[name]
        mean, deviation = seen.mean(dim=(0, 2, 3)), seen.std(dim=(0, 2, 3))
        weight /= deviation[:, None, None, None]
        bias -= mean / deviation
    return network.eval().requires_grad_(requires_grad=False)


def offer(network: VGG, folder: Path) -> str:
    """Write the network where `Engine(folder)` finds it, and return the backbone's name there.

    Raises ValueError when the engine has no backbone of this shape.
    """
    names = [name for name, widths in LAYOUTS.items() if widths == network.widths]
    if not names:
        raise ValueError(f"the engine has no backbone with the widths {network.widths}")
    folder.mkdir(parents=True, exist_ok=True)
    save_file(
        {key: value.contiguous() for key, value in network.state_dict().items()},
        folder / f"{names[0]}.safetensors",
    )
    return names[0]


def teacher_as_vgg(path: Path) -> VGG:
    """A teacher as a network that the engine can paint with; a Collaborative Distillation one is folded."""
    teacher = load_teacher(path)
    return fold(teacher) if isinstance(teacher, CollaborativeEncoder) else teacher


def fold(teacher: CollaborativeEncoder) -> VGG:
    """The same features from a plain VGG: its first convolution takes over what the teacher does to colours.

    A VGG feeds z = (rgb - mean) / std to conv1_1, the teacher C rgb + c = C std z + (C mean + c), which is
    affine in z. As borders are replicated, a 3x3 convolution of it is another 3x3 convolution, exactly.
    """
    network = VGG(teacher.trunk.widths, pooling=teacher.trunk.pooling, padding=teacher.trunk.padding)
    colours: Mapping[str, Tensor] = teacher.colours.state_dict()
    matrix, shift = colours["weight"][:, :, 0, 0], colours["bias"]
    mean, std = network.mean.flatten(), network.std.flatten()
    state = dict(teacher.trunk.state_dict())
    first = state["conv1_1.weight"]
    state["conv1_1.weight"] = torch.einsum("ochw,ci,i->oihw", first, matrix, std)
    state["conv1_1.bias"] = state["conv1_1.bias"] + first.sum(dim=(2, 3)) @ (matrix @ mean + shift)
    network.load_state_dict(state)
    return network.eval().requires_grad_(requires_grad=False)
