"""The training loop: a student matches its teacher's pre-activations at every convolution they share.

Pre-activations rather than features, because a ReLU that is dead in the student passes no gradient to
revive it. Every teacher channel is divided by its standard deviation over the training pictures, so that
all channels and layers weigh the same. Where the widths agree, channel meets channel, and layers learn one
by one (`layerwise`). Where they do not, the student's pre-activations are lifted to the teacher's widths by
1x1 convolutions that are learned along and then left behind, and all layers learn together (`joint`).
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from worker.engine.distill.data import Pictures, Scales, batch
from worker.engine.distill.joint import AllTogether
from worker.engine.distill.layerwise import LayerByLayer
from worker.engine.distill.teacher import Teacher
from worker.engine.vgg import VGG

Errors = dict[str, float]
"""Squared error of each layer relative to its channels' variance, their mean: 0 is exact, 1 knows nothing."""

STATISTICS_BATCHES = 8
HELD_OUT_BATCHES = 8
HELD_OUT_SALT = 1
"""Added to the seed, so that the crops measured by come from a random stream of their own."""


@dataclass(frozen=True)
class Plan:
    """What decides a run besides its pictures: the same plan gives the same student on one machine."""

    steps: int
    crop: int = 96
    batch: int = 16
    seed: int = 0
    lr: float | None = None
    """A share of Newton's step layer by layer, Adam's rate for all together; None: the learner's own."""


class Distillation(nn.Module):
    """A student, the projections to its teacher's widths where they differ, and the teacher's channel scales.

    `scale.<layer>` (C,) is the standard deviation of each teacher channel's pre-activation.
    """

    def __init__(self, student: VGG, deviations: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.student = student
        self.layers = tuple(name for name in student.convolutions if name in deviations)
        if not self.layers:
            raise ValueError("student and teacher share no layer")
        self.projections = nn.ModuleDict(
            {
                name: nn.Conv2d(student.channels(name), len(deviations[name]), kernel_size=1)
                for name in self.layers
                if len(deviations[name]) != student.channels(name)
            }
        )
        for name in self.layers:
            self.register_buffer(f"scale_{name}", deviations[name].clone())

    def scale(self, layer: str) -> Tensor:
        """The teacher's channel deviations (C,) at a layer."""
        return self.get_buffer(f"scale_{layer}")

    def errors(self, images: Tensor, teacher: Teacher, layers: tuple[str, ...]) -> dict[str, Tensor]:
        """Relative squared error at each layer asked for (scalars) on RGB images (B, 3, H, W)."""
        with torch.no_grad():
            targets = teacher(images, layers)
        found = self.student(images, layers)
        return {name: self._error(name, found[name], targets[name]) for name in layers}

    def _error(self, layer: str, found: Tensor, target: Tensor) -> Tensor:
        if layer in self.projections:
            found = self.projections[layer](found)
        difference: Tensor = found - target / self.scale(layer).view(1, -1, 1, 1)
        return difference.square().mean()


def teacher_statistics(
    teacher: Teacher, pictures: list[Scales], plan: Plan
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Mean and standard deviation (C,) of each convolution's pre-activation over some training crops.

    A channel that hardly moves has its deviation raised to a thousandth of its layer's largest: dividing by
    less would make its rounding noise the lesson.
    """
    total: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    for index in range(STATISTICS_BATCHES):
        images = batch(pictures, plan.batch, plan.crop, plan.seed, -1 - index)
        with torch.no_grad():
            features = teacher(images, teacher.convolutions)
        for name, feature in features.items():
            wide = feature.double()
            total[name] = total.get(name, torch.zeros(1)) + wide.mean(dim=(0, 2, 3)) / STATISTICS_BATCHES
            squares[name] = (
                squares.get(name, torch.zeros(1)) + wide.square().mean(dim=(0, 2, 3)) / STATISTICS_BATCHES
            )
    deviations = {}
    for name, mean in total.items():
        deviation = (squares[name] - mean.square()).clamp_min(0).sqrt()
        deviations[name] = deviation.clamp_min(float(deviation.max()) * 1e-3 + 1e-12).float()
    return {name: mean.float() for name, mean in total.items()}, deviations


def fresh(student: VGG, teacher: Teacher, pictures: Pictures, plan: Plan) -> Distillation:
    """A student at seeded random weights, ready to learn.

    The biases in front of the teacher start at its channels' means: training would move them there anyway.
    """
    means, deviations = teacher_statistics(teacher, pictures.training, plan)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(plan.seed)
        for name in student.convolutions:
            conv = cast("nn.Conv2d", student.get_submodule(name))
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            nn.init.zeros_(cast("Tensor", conv.bias))
        distillation = Distillation(student, deviations)
    with torch.no_grad():
        for name in distillation.layers:
            last = (
                distillation.projections[name]
                if name in distillation.projections
                else student.get_submodule(name)
            )
            cast("Tensor", last.bias).copy_(means[name] / deviations[name])
    return distillation


class Learner(Protocol):
    """A way of turning errors into better weights."""

    def learning(self, step: int, /) -> tuple[str, ...]:
        """The layers that take part in a step."""

    def learn(self, step: int, errors: Mapping[str, Tensor], /) -> None:
        """Improve the student by the errors of the last batch."""

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs besides the weights."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> None:
        """Take up a state that `state_dict` gave."""


def learner_for(distillation: Distillation, plan: Plan) -> Learner:
    """Layer by layer where each channel has its counterpart, all together where projections stand between."""
    if distillation.projections:
        return AllTogether(distillation.parameters(), distillation.layers, plan.steps, plan.lr)
    return LayerByLayer(distillation.student, distillation.layers, plan.steps, plan.lr)


def held_out_errors(
    distillation: Distillation, teacher: Teacher, pictures: list[Scales], plan: Plan
) -> Errors:
    """Relative squared error a layer on crops of the held-out pictures: the same crops at every call."""
    sums = dict.fromkeys(distillation.layers, 0.0)
    with torch.no_grad():
        for index in range(HELD_OUT_BATCHES):
            images = batch(pictures, plan.batch, plan.crop, plan.seed + HELD_OUT_SALT, index)
            for name, error in distillation.errors(images, teacher, distillation.layers).items():
                sums[name] += float(error) / HELD_OUT_BATCHES
    return sums


def train(
    distillation: Distillation,
    teacher: Teacher,
    pictures: Pictures,
    plan: Plan,
    checkpoint: Path,
    on_report: Callable[[int, Errors], None],
    *,
    report_every: int = 500,
    time_limit: float = math.inf,
) -> bool:
    """Train to the plan's end, or until `time_limit` seconds have passed; says whether the end was reached.

    Goes on from `checkpoint` where that file exists. Every `report_every` steps, and when it stops, it
    writes the checkpoint and calls `on_report(step, held-out errors)`. A finished checkpoint is only
    measured and reported again.
    """
    learner = learner_for(distillation, plan)
    done = _restore(checkpoint, distillation, learner, plan) if checkpoint.exists() else 0
    if done >= plan.steps:
        on_report(done, held_out_errors(distillation, teacher, pictures.held_out, plan))
        return True
    started = time.monotonic()
    with tqdm(total=plan.steps, initial=done, desc="distilling", unit="step") as bar:
        for step in range(done, plan.steps):
            images = batch(pictures.training, plan.batch, plan.crop, plan.seed, step)
            errors = distillation.errors(images, teacher, learner.learning(step))
            learner.learn(step, errors)
            bar.update()
            bar.set_postfix(worst=f"{max(e.item() for e in errors.values()):.4f}", refresh=False)
            done = step + 1
            late = time.monotonic() - started > time_limit
            if done == plan.steps or late or done % report_every == 0:
                _save(checkpoint, distillation, learner, plan, done)
                on_report(done, held_out_errors(distillation, teacher, pictures.held_out, plan))
            if late:
                break
    return done == plan.steps


def _save(path: Path, distillation: Distillation, learner: Learner, plan: Plan, done: int) -> None:
    """Write beside and rename, so that a crash leaves the old checkpoint or the new one."""
    state = {
        "distillation": distillation.state_dict(),
        "learner": learner.state_dict(),
        "plan": asdict(plan),
        "done": done,
    }
    beside = path.with_name(path.name + ".part")
    torch.save(state, beside)
    beside.replace(path)


def _restore(path: Path, distillation: Distillation, learner: Learner, plan: Plan) -> int:
    """Load a checkpoint; returns the steps it has behind it.

    Its steps and learning rate may differ from the plan's, to lengthen or shorten a run; what decides the
    crops may not.
    """
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    for name in ("crop", "batch", "seed"):
        if state["plan"][name] != getattr(plan, name):
            raise ValueError(
                f"{path} was trained with {name} {state['plan'][name]}, not {getattr(plan, name)}"
            )
    distillation.load_state_dict(state["distillation"])
    learner.load_state_dict(state["learner"])
    return int(state["done"])
