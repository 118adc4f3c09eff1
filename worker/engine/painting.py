"""One painting: through the levels of the pyramid, evaluation by evaluation.

Devices and networks are prepared by `worker.engine.engine`; formulas, optimisers and sizes have rooms of
their own. What happens here is their order, and what a run tells and asks its caller in between.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import images, optimizers
from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Progress, Stopped, Style
from worker.engine.errors import CheckpointError
from worker.engine.features import Features
from worker.engine.objective import Evaluation, Objective
from worker.engine.optimizers import Optimizer
from worker.engine.pyramid import Level, plan

LARGEST_STATE = 32 * 2**20
"""Bytes of optimiser state that a checkpoint carries at most: at 512 x 341 px seven of L-BFGS' ten pairs, at
768 x 512 two. To forget the older ones costs a few evaluations; to store them every ten seconds, more."""


@dataclass
class Painting:
    """A run under way. `paint` carries it through and returns the picture, clamped, on the CPU."""

    features: Features
    content: Tensor
    styles: Sequence[Style]
    spec: Spec
    device: torch.device
    on_progress: Callable[[Progress], None] | None = None
    should_stop: Callable[[], bool] | None = None
    init: Tensor | None = None
    losses: dict[str, float] = field(default_factory=dict, init=False)
    _levels: tuple[Level, ...] = field(init=False)
    _fingerprint: str = field(init=False)
    _step: int = field(default=0, init=False)
    _level: int = field(default=0, init=False)
    _x: Tensor = field(init=False)
    _optimizer: Optimizer = field(init=False)

    def __post_init__(self) -> None:
        self._levels = plan(self.spec.size, self.spec.steps, self.spec.pyramid)
        self._fingerprint = fingerprint(self.spec, self.content, self.styles, self.init)

    def paint(self, resume: Checkpoint | None = None) -> Tensor:
        """Paint every level, or those that are left. Raises as `Engine.stylize` does."""
        self._begin(resume)
        while True:
            best = self._paint_level(self._levels[self._level])
            if self._level + 1 == len(self._levels):
                return best.cpu().clamp(0, 1)
            self._level += 1
            self._x = images.resize(best, self._size())
            self._optimizer = optimizers.create(self.spec.optimizer)

    def _begin(self, resume: Checkpoint | None) -> None:
        self._optimizer = optimizers.create(self.spec.optimizer)
        if resume is None:
            self._x = self._first_picture().to(self.device)
            return
        if resume.fingerprint != self._fingerprint:
            raise CheckpointError("the checkpoint belongs to another spec or other pictures")
        if not 0 <= resume.level < len(self._levels) or resume.step > self._levels[resume.level].end:
            raise CheckpointError("the checkpoint lies outside its own painting")
        self._step, self._level, self.losses = resume.step, resume.level, dict(resume.losses)
        if tuple(resume.image.shape) != (3, *self._size()):
            raise CheckpointError("the checkpoint's picture has another size than its level")
        self._x = resume.image.to(self.device)
        if resume.optimizer:
            self._restore(resume)

    def _restore(self, resume: Checkpoint) -> None:
        try:
            self._optimizer.restore(resume.optimizer, self.device)
        except KeyError as error:
            raise CheckpointError(f"the checkpoint's optimiser state lacks {error}") from error

    def _size(self) -> tuple[int, int]:
        return images.size_for(self.content, self._levels[self._level].longest)

    def _first_picture(self) -> Tensor:
        if self.init is not None:
            return images.cover(self.init, self._size())
        if self.spec.init == "noise":
            return images.white_noise(self._size(), self.spec.seed)
        if self.spec.init == "style":
            return images.cover(self.styles[0].image, self._size())
        return images.resize(self.content, self._size())

    def _paint_level(self, level: Level) -> Tensor:
        """Spend the level's evaluations and return the best picture met; on the way, report and ask."""
        objective = self._objective(level)
        best, least = self._x, float("inf")
        while self._step < level.end:
            if self.should_stop is not None and self.should_stop():
                raise Stopped(self._checkpoint())
            x, evaluation = self._x, objective(self._x)
            if evaluation.total < least:
                best, least, self.losses = x, evaluation.total, evaluation.losses
            self._x = self._optimizer.step(x, evaluation.total, evaluation.gradient)
            self._step += 1
            if self._step == level.end:
                self._x = best
            self._report(x, evaluation)
        return best

    def _objective(self, level: Level) -> Objective:
        content = images.resize(self.content, self._size()).to(self.device)
        styles = [
            Style(
                images.resize(style.image, images.size_for(style.image, level.longest)).to(self.device),
                style.weight,
            )
            for style in self.styles
            if style.weight > 0
        ]
        return Objective(self.features, self.spec, content, styles)

    def _report(self, x: Tensor, evaluation: Evaluation) -> None:
        if self.on_progress is None:
            return
        self.on_progress(
            Progress(
                step=self._step,
                steps=self.spec.steps,
                level=self._level,
                levels=len(self._levels),
                losses=evaluation.losses,
                image=lambda: x.cpu().clamp(0, 1),
                checkpoint=self._checkpoint,
            )
        )

    def _checkpoint(self) -> Checkpoint:
        unfinished = self._step < self._levels[self._level].end
        state = self._optimizer.state(LARGEST_STATE) if unfinished else {}
        return Checkpoint(self._fingerprint, self._step, self._level, self._x.cpu(), dict(self.losses), state)


def fingerprint(spec: Spec, content: Tensor, styles: Sequence[Style], init: Tensor | None = None) -> str:
    """Names what a checkpoint belongs to: the spec, the pictures' shapes and the styles' weights."""
    facts = [spec.model_dump_json(), str(tuple(content.shape))]
    facts += [f"{tuple(style.image.shape)} {style.weight!r}" for style in styles]
    facts += [str(tuple(init.shape))] if init is not None else []
    return hashlib.sha256("\n".join(facts).encode()).hexdigest()
