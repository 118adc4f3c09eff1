"""L-BFGS and Adam in the form "tell the loss and gradient at x, get the next x": one evaluation a step.

So progress, a stop and a checkpoint fit between any two evaluations, which an optimiser that calls back does
not allow. Both undo a step that led to a much higher loss or to values that are not numbers, and give up when
that happens too often in a row. Pictures are (3, H, W) float32.
"""

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
from torch import Tensor

from worker.engine.errors import DivergedError

MOST_REJECTIONS = 10
"""Steps in a row that may be undone. Halving ten times leaves a thousandth of the step."""

GROWTH = 2.0
"""A step is undone when it multiplies the loss by more than this. Without a line search L-BFGS may rise a
little on its way; a blow-up rises by orders of magnitude."""

UNBOUNDED = 2**62
"""A budget of bytes that nothing exceeds."""

LEAST_CURVATURE = 1e-10
"""As in `torch.optim.LBFGS`: a step along which the gradient changes no more than this teaches nothing."""


class Optimizer(Protocol):
    """What the painting asks of an optimiser."""

    def step(self, x: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """The next picture to evaluate, given the loss and its gradient at `x`, the one handed out last.

        Raises:
            DivergedError: no usable step was found.
        """

    def state(self, budget: int = UNBOUNDED) -> dict[str, Tensor]:
        """What `restore` needs to go on undisturbed, on the CPU; empty before the first step.

        What does not fit into `budget` bytes is left out: the optimiser then goes on with less experience.
        """

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """Take over what `state` made, on `device`. Raises KeyError for another optimiser's."""


@dataclass(frozen=True)
class _Point:
    """An accepted evaluation."""

    x: Tensor
    loss: float
    gradient: Tensor


def _is_usable(loss: float, gradient: Tensor, before: _Point | None) -> bool:
    if not math.isfinite(loss) or not bool(torch.isfinite(gradient).all()):
        return False
    return before is None or loss <= GROWTH * before.loss


@dataclass
class LBFGS:
    """Limited-memory BFGS without a line search (Nocedal 1980; Nocedal and Wright 2006, algorithm 7.4).

    Step sizes follow `torch.optim.LBFGS`: the first step is the gradient's, at most 1 in its L1 norm; every
    further one is the quasi-Newton step itself. A pair whose curvature y.s is not clearly positive is left
    out. Nothing is clamped: a projection would falsify the curvature.
    """

    learning_rate: float = 1.0
    history: int = 10
    _pairs: deque[tuple[Tensor, Tensor, Tensor]] = field(init=False)
    _before: _Point | None = field(default=None, init=False)
    _rejections: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._pairs = deque(maxlen=self.history)

    def step(self, x: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """See `Optimizer.step`."""
        before = self._before
        if not _is_usable(loss, gradient, before):
            return self._undo(x)
        self._rejections = 0
        if before is not None:
            self._remember(x - before.x, gradient - before.gradient)
        self._before = _Point(x, loss, gradient)
        if not self._pairs:
            return x - self._first_rate(gradient) * gradient
        return x + self.learning_rate * self._direction(gradient)

    def _undo(self, x: Tensor) -> Tensor:
        """Half the way back to the last accepted picture, with the curvature that misled us forgotten."""
        self._rejections += 1
        before = self._before
        if before is None or self._rejections > MOST_REJECTIONS:
            raise DivergedError(f"L-BFGS found no usable step in {self._rejections} evaluations")
        self._pairs.clear()
        halfway = before.x + (x - before.x) / 2
        if bool(torch.isfinite(halfway).all()):
            return halfway
        return before.x - self._first_rate(before.gradient) * before.gradient

    def _first_rate(self, gradient: Tensor) -> float:
        return self.learning_rate * min(1.0, 1.0 / max(float(gradient.abs().sum()), 1e-30))

    def _remember(self, s: Tensor, y: Tensor) -> None:
        """Keep a step and the gradient's change along it, flat, with the reciprocal of their curvature."""
        s, y = s.flatten(), y.flatten()
        curvature = torch.dot(y, s)
        if float(curvature) > LEAST_CURVATURE:
            self._pairs.append((s, y, curvature.reciprocal()))

    def _direction(self, gradient: Tensor) -> Tensor:
        """Minus the inverse Hessian's estimate times the gradient: the two-loop recursion."""
        q = gradient.flatten().neg()
        coefficients = []
        for s, y, rho in reversed(self._pairs):
            alpha = rho * torch.dot(s, q)
            q.addcmul_(y, alpha, value=-1)
            coefficients.append(alpha)
        _, y, rho = self._pairs[-1]
        q.div_(rho * torch.dot(y, y))
        for (s, y, rho), alpha in zip(self._pairs, reversed(coefficients), strict=True):
            q.addcmul_(s, alpha - rho * torch.dot(y, q))
        return q.view_as(gradient)

    def state(self, budget: int = UNBOUNDED) -> dict[str, Tensor]:
        """See `Optimizer.state`. The newest pairs go first; without one, nothing is worth keeping."""
        if self._before is None:
            return {}
        pictures = budget // self._before.x.nbytes
        if pictures < 4:
            return {}
        state = _pack(self._before) | {"rejections": torch.tensor(self._rejections)}
        kept = list(self._pairs)[-((pictures - 2) // 2) :]
        if kept:
            columns = zip(*kept, strict=True)
            state |= {name: torch.stack(column).cpu() for name, column in zip("syr", columns, strict=True)}
        return state

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """See `Optimizer.restore`."""
        self._before = _unpack(state, device)
        self._rejections = int(state["rejections"])
        self._pairs.clear()
        if "s" in state:
            columns = (state[name].to(device).unbind() for name in "syr")
            self._pairs.extend(zip(*columns, strict=True))


@dataclass
class Adam:
    """Adam (Kingma and Ba 2015, algorithm 1), with the picture kept in [0, 1] after each step.

    Its steps do not rest on curvature, so clamping does no harm. An undone step halves the rate for good.
    """

    learning_rate: float = 0.02
    decays: tuple[float, float] = (0.9, 0.99)
    epsilon: float = 1e-8
    _before: _Point | None = field(default=None, init=False)
    _moments: tuple[Tensor, Tensor] | None = field(default=None, init=False)
    _count: int = field(default=0, init=False)
    _rejections: int = field(default=0, init=False)

    def step(self, x: Tensor, loss: float, gradient: Tensor) -> Tensor:
        """See `Optimizer.step`."""
        if _is_usable(loss, gradient, self._before):
            self._rejections = 0
            return self._advance(_Point(x, loss, gradient))
        return self._advance(self._undo())

    def _undo(self) -> _Point:
        """The last accepted evaluation, to go on from more slowly and without momentum."""
        self._rejections += 1
        if self._before is None or self._rejections > MOST_REJECTIONS:
            raise DivergedError(f"Adam found no usable step in {self._rejections} evaluations")
        self._moments, self._count = None, 0
        self.learning_rate /= 2
        return self._before

    def _advance(self, point: _Point) -> Tensor:
        self._before, gradient = point, point.gradient
        first, second = self._moments or (torch.zeros_like(gradient), torch.zeros_like(gradient))
        decay1, decay2 = self.decays
        first = first.lerp(gradient, 1 - decay1)
        second = second.lerp(gradient.square(), 1 - decay2)
        self._moments, self._count = (first, second), self._count + 1
        mean = first / (1 - decay1**self._count)
        spread = (second / (1 - decay2**self._count)).sqrt()
        return (point.x - self.learning_rate * mean / (spread + self.epsilon)).clamp(0, 1)

    def state(self, budget: int = UNBOUNDED) -> dict[str, Tensor]:
        """See `Optimizer.state`."""
        if self._before is None or self._moments is None or 4 * self._before.x.nbytes > budget:
            return {}
        return _pack(self._before) | {
            "first": self._moments[0].cpu(),
            "second": self._moments[1].cpu(),
            "count": torch.tensor(self._count),
            "learning_rate": torch.tensor(self.learning_rate, dtype=torch.float64),
            "rejections": torch.tensor(self._rejections),
        }

    def restore(self, state: Mapping[str, Tensor], device: torch.device) -> None:
        """See `Optimizer.restore`."""
        self._before = _unpack(state, device)
        self._moments = (state["first"].to(device), state["second"].to(device))
        self._count, self._rejections = int(state["count"]), int(state["rejections"])
        self.learning_rate = float(state["learning_rate"])


def create(name: Literal["lbfgs", "adam"]) -> Optimizer:
    """The optimiser a spec names, without any memory."""
    return LBFGS() if name == "lbfgs" else Adam()


def _pack(point: _Point) -> dict[str, Tensor]:
    loss = torch.tensor(point.loss, dtype=torch.float64)
    return {"x": point.x.cpu(), "gradient": point.gradient.cpu(), "loss": loss}


def _unpack(state: Mapping[str, Tensor], device: torch.device) -> _Point:
    return _Point(state["x"].to(device), float(state["loss"]), state["gradient"].to(device))
