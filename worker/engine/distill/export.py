"""What a training run leaves behind: half-precision weights, and a JSON that says what they are."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from worker.engine.distill.teacher import sha256
from worker.engine.distill.train import Distillation, Errors, Plan


@dataclass(frozen=True)
class Provenance:
    """Where a student's knowledge comes from."""

    teacher: str
    teacher_sha256: str
    training_pictures: int
    held_out_pictures: int


def rescaled_state(distillation: Distillation) -> dict[str, Tensor]:
    """The student's weights with the teacher's proportions between channels put back.

    Training divides each channel by its deviation; that is undone here, but for one factor a layer which
    keeps the layer's mean deviation at 1, inside the range of half precision. Exact, as ReLU and both
    poolings commute with positive factors: conv'(x) = r_out * conv(x / r_in). Layers behind a projection
    keep their own scale.
    """
    state = {name: tensor.detach().clone() for name, tensor in distillation.student.state_dict().items()}
    before: Tensor | None = None
    for name in distillation.student.convolutions:
        if before is not None:
            state[f"{name}.weight"] /= before.view(1, -1, 1, 1)
        before = None
        if name in distillation.layers and name not in distillation.projections:
            before = distillation.scale(name) / distillation.scale(name).mean()
            state[f"{name}.weight"] *= before.view(-1, 1, 1, 1)
            state[f"{name}.bias"] *= before
    return state


def export(
    path: Path, distillation: Distillation, plan: Plan, provenance: Provenance, done: int, errors: Errors
) -> None:
    """Write `path` (.safetensors, float16) and the JSON beside it, each complete or not at all.

    The JSON holds the weights' SHA-256, what it takes to build the network again (widths, pooling, padding,
    preprocessing), how it was trained, and the held-out error a layer.
    """
    student = distillation.student
    state = {
        name: tensor.to(torch.float16).contiguous() for name, tensor in rescaled_state(distillation).items()
    }
    beside = path.with_name(path.name + ".part")
    save_file(state, beside)
    # safetensors lets nobody else read what it writes; these are meant for everybody.
    beside.chmod(0o644)
    card = {
        "sha256": sha256(beside),
        "widths": student.widths,
        "pooling": student.pooling,
        "padding": student.padding,
        "preprocessing": asdict(student.preprocessing),
        "training": {**asdict(provenance), **asdict(plan), "steps_done": done},
        "held_out_error": {name: float(f"{error:.2g}") for name, error in errors.items()},
    }
    beside.replace(path)
    sidecar = path.with_suffix(".json")
    beside = sidecar.with_name(sidecar.name + ".part")
    beside.write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    beside.replace(sidecar)
