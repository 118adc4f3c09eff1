"""A batch of paintings: through the levels of the pyramid, evaluation by evaluation.

Devices and networks are prepared by `worker.engine.engine`; formulas, optimisers and sizes have rooms of
their own. What happens here is their order, and what a run tells and asks its callers in between. A picture
that is stopped or gives up leaves the batch; the others go on as if it had never been there.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

from worker.engine import color, images, memory, resumption
from worker.engine.adam import Adam
from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Progress, Request, Stopped
from worker.engine.errors import CheckpointError, DivergedError
from worker.engine.features import Features
from worker.engine.lbfgs import LBFGS
from worker.engine.level import Level, Subject
from worker.engine.loop import Loop
from worker.engine.objective import TERMS
from worker.engine.optimizers import Optimizer
from worker.engine.pyramid import DETAIL, plan
from worker.engine.statistics import Statistics

GPU_STRIDE = 8
"""Evaluations on a GPU between two looks at progress and wishes: a look makes the host wait."""

LARGE = 2**20
"""Pixels of a batch above which each evaluation is looked at: it takes longer than the look, and several of
them would outlast the second within which a cancel is to act."""


@dataclass(frozen=True)
class Painted:
    """What came of one picture: (3, H, W) in [0, 1] on the CPU, and its losses before it was clamped."""

    image: Tensor
    losses: dict[str, float]
    tiled: bool


@dataclass(frozen=True)
class Studio:
    """What a painting is given beside its subjects.

    Attributes:
        features: the network. network_name: names its weights and its arithmetic.
        kept: styles' statistics.
        budget: bytes that the painting may take.
    """

    features: Features
    network_name: str
    kept: Statistics
    budget: int

    @property
    def device(self) -> torch.device:
        """Where it is painted."""
        return self.features.network.device


@dataclass
class Painting:
    """A run under way. `paint` carries it through."""

    studio: Studio
    requests: Sequence[Request]
    tiled: bool = field(default=False, init=False)
    _results: dict[int, Painted | Exception] = field(default_factory=dict, init=False)
    _at_work: list[int] = field(init=False)
    _step: int = field(default=0, init=False)
    _number: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        spec = self.requests[0].spec
        self._spec = spec
        self._levels = plan(spec.size, spec.steps, spec.pyramid)
        self._subjects = [Subject(request) for request in self.requests]
        self._at_work = list(range(len(self.requests)))

    def paint(self, *, force_tiles: bool = False) -> list[Painted | Exception]:
        """Paint every level, or those that are left; an exception stands for an unfinished picture."""
        x, resumes = self._begin()
        while self._at_work:
            loop = self._paint_level(x, resumes, force_tiles=force_tiles)
            if not self._at_work or self._number + 1 == len(self._levels):
                self._finish(loop)
                break
            self._number += 1
            x = torch.stack(
                [self._enlarge(best, item) for best, item in zip(loop.best, self._at_work, strict=True)]
            )
            resumes = []
        return [self._results[item] for item in range(len(self.requests))]

    def _begin(self) -> tuple[Tensor, list[Checkpoint | None]]:
        """The first pictures, and where they were taken up."""
        for item, request in enumerate(self.requests):
            try:
                resumption.check(request, self._levels)
            except CheckpointError as error:
                self._results[item] = error
                self._at_work.remove(item)
        if not self._at_work:
            return torch.empty(0), []
        resumes = [self.requests[item].resume for item in self._at_work]
        first = resumes[0]
        if first is not None:
            self._step, self._number = first.step, first.level
        pictures = [
            self._first_picture(self._subjects[item]) if resume is None else resume.image
            for item, resume in zip(self._at_work, resumes, strict=True)
        ]
        return torch.stack(pictures).to(self.studio.device), resumes

    def _size(self) -> tuple[int, int]:
        content, longest = self._subjects[0].content, self._levels[self._number].longest
        return images.level_size(content, self._spec.size, longest)

    def _enlarge(self, image: Tensor, item: int) -> Tensor:
        """A level's result as the next one begins with it.

        Only what is painted from the content, and towards it, has its detail from there. Where no style is
        at work the content is all there is: more than its own detail would be too much.
        """
        subject, size = self._subjects[item], self._size()
        if subject.spec.init != "content" or not subject.is_kept_to:
            return images.resize(image, size)
        coarse = subject.content_at((image.shape[-2], image.shape[-1]))
        share = 1 + (DETAIL - 1) * subject.styled_at(size) if subject.has_style else 1.0
        return images.enlarge(image, coarse, subject.content_at(size), share)

    def _first_picture(self, subject: Subject) -> Tensor:
        request, size = subject.request, self._size()
        if request.init is not None:
            return images.cover(request.init.float(), size)
        if request.spec.init == "noise":
            return images.white_noise(size, request.spec.seed)
        if request.spec.init == "style":
            return images.cover(subject.groups[0][1][0].image, size)
        return subject.content_at(size)

    def _paint_level(self, x: Tensor, resumes: Sequence[Checkpoint | None], *, force_tiles: bool) -> Loop:
        """Spend the level's evaluations; on the way, report and ask."""
        level, size = self._levels[self._number], self._size()
        fit = self._fit(len(x), size, force_tiles=force_tiles)
        self.tiled = self.tiled or fit.tile_side is not None
        view = Level(
            self.studio.features,
            self.studio.network_name,
            size,
            level.longest,
            fit.tile_side,
            self.studio.kept,
            level.content,
        )
        subjects = [self._subjects[item] for item in self._at_work]
        objective = view.objective(subjects)
        if self._number + 1 == len(self._levels):
            for subject in subjects:
                subject.release()
        loop = Loop(objective, self._optimizer(x, fit))
        resumption.restore(loop, resumes)
        stride = GPU_STRIDE if x.is_cuda and len(x) * size[0] * size[1] <= LARGE else 1
        while self._at_work and self._step < level.end:
            if self._step % stride == 0:
                self._ask(loop)
                if not self._at_work:
                    break
            loop.advance()
            self._step += 1
            if self._step % stride == 0 or self._step == level.end:
                self._report(loop)
        return loop

    def _fit(self, batch: int, size: tuple[int, int], *, force_tiles: bool) -> memory.Plan:
        spec, network = self._spec, self.studio.features.network
        layers = tuple({**(spec.content_layers or {}), **(spec.style_layers or {})})
        return memory.plan(
            size[0] * size[1],
            batch,
            network.bytes_a_pixel(layers),
            network.halo(layers),
            spec.optimizer,
            0 if force_tiles else self.studio.budget,
        )

    def _optimizer(self, x: Tensor, fit: memory.Plan) -> Optimizer:
        x = x.contiguous()
        return Adam(x) if self._spec.optimizer == "adam" else LBFGS(x, fit.history, fit.history_dtype)

    def _ask(self, loop: Loop) -> None:
        """Let go of the pictures whose callers want them stopped."""
        stopped = []
        for place, item in enumerate(self._at_work):
            should_stop = self.requests[item].should_stop
            if should_stop is not None and should_stop():
                self._results[item] = Stopped(self._checkpoint(loop, place))
                stopped.append(item)
        self._let_go(loop, stopped)

    def _report(self, loop: Loop) -> None:
        """Tell each caller how far its picture is, and let go of those that found no way on."""
        terms, best = loop.terms.tolist(), loop.best_terms.tolist()
        given_up = loop.optimizer.lost.tolist()
        lost = []
        for place, item in enumerate(self._at_work):
            if given_up[place]:
                self._results[item] = DivergedError(
                    f"{self._spec.optimizer} found no usable step at evaluation {self._step}; smaller "
                    "weights in the spec may let it"
                )
                lost.append(item)
            elif (tell := self.requests[item].on_progress) is not None:
                # An evaluation that blew up is undone: what is told then is where the picture stood.
                told = terms if math.isfinite(terms[place][0]) else best
                tell(self._progress(loop, place, dict(zip(TERMS, told[place], strict=True))))
        self._let_go(loop, lost)

    def _progress(self, loop: Loop, place: int, losses: dict[str, float]) -> Progress:
        item = self._at_work[place]
        return Progress(
            step=self._step,
            steps=self._spec.steps,
            level=self._number,
            levels=len(self._levels),
            losses=losses,
            image=lambda: self._shown(item, loop.best[place]),
            checkpoint=lambda: self._checkpoint(loop, place),
        )

    def _let_go(self, loop: Loop, items: Sequence[int]) -> None:
        if not items:
            return
        places = [place for place, item in enumerate(self._at_work) if item not in items]
        self._at_work = [self._at_work[place] for place in places]
        if places:
            loop.keep(places)

    def _checkpoint(self, loop: Loop, place: int) -> Checkpoint:
        unfinished = self._step < self._levels[self._number].end
        name = resumption.fingerprint(self.requests[self._at_work[place]])
        return resumption.take(loop, place, name, self._step, self._number, unfinished=unfinished)

    def _finish(self, loop: Loop) -> None:
        terms = loop.best_terms.tolist()
        for place, item in enumerate(self._at_work):
            losses = dict(zip(TERMS, terms[place], strict=True))
            self._results[item] = Painted(self._shown(item, loop.best[place]), losses, self.tiled)

    def _shown(self, item: int, image: Tensor) -> Tensor:
        """The picture as people see it: within [0, 1], and in the colours that were asked for."""
        image = image.cpu().clamp(0, 1)
        if self.requests[item].spec.color == "content":
            content = images.resize(self._subjects[item].content, (image.shape[1], image.shape[2]))
            return color.keep_chroma(image, content)
        return image


def agreement(request: Request) -> dict[str, object]:
    """What the pictures of one batch have to have in common."""
    spec, resume = request.spec, request.resume
    shared = ("backbone", "pooling", "steps", "pyramid", "optimizer", "weighting", "style_loss")
    return {
        **{name: getattr(spec, name) for name in shared},
        "size in pixels": images.size_for(request.content, spec.size),
        "content_layers": sorted(spec.content_layers or {}),
        "style_layers": sorted(spec.style_layers or {}),
        "step of resuming": (resume.step, resume.level) if resume else (0, 0),
    }
