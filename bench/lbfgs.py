"""Our L-BFGS beside `torch.optim.LBFGS`: where each gets to, and what its own step costs.

    python -m bench.lbfgs [--size 256] [--evaluations 200]

Same objective, start, evaluations and history, float32, full size only. Both run through the engine's door,
on the engine's own evaluations; both results are judged by the reference objective. The step's cost is
measured apart, on gradients that come for nothing: those of a random quadratic.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from unittest.mock import patch

import torch
from torch import Tensor

from bench import machine
from bench.inputs import Pair, pairs
from bench.reference import Objective, shipped
from bench.section import Section, Table, ratio, seconds
from bench.stopwatch import Stopwatch
from shared.backbones import BACKBONES
from shared.spec import Spec, resolve
from worker.engine import Engine, Progress, Style, painting
from worker.engine.lbfgs import LBFGS
from worker.engine.optimizers import State

NETWORK, HISTORY = "compact", 10
STEPS = 40
"""Steps in one turn of the step's own measurement: the history is full for most of them."""


@dataclass(frozen=True)
class Figure:
    """One pair: the least float32 loss that each reached, and its loop's seconds, medians over the rounds."""

    pair: str
    ours: float
    torch: float
    our_seconds: float
    torch_seconds: float


@dataclass(frozen=True)
class StepFigure:
    """Seconds of one step of each optimiser alone, at one size; medians over the rounds."""

    height: int
    width: int
    ours: float
    torch: float


class Torchs:
    """`torch.optim.LBFGS` in the place of the engine's own.

    It has as much of `Optimizer` as one picture without trouble asks for.
    """

    def __init__(self, x: Tensor, history: int, _dtype: torch.dtype) -> None:
        """Start at `x`, (1, 3, H, W)."""
        self.x = x
        self.rejections, self.lost = torch.zeros(1, dtype=torch.int64), torch.zeros(1, dtype=torch.bool)
        self._optimizer = torch.optim.LBFGS(
            [x], max_iter=1, history_size=history, tolerance_grad=-1, tolerance_change=-1
        )

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        self.x.grad = gradient
        self._optimizer.step(lambda: losses[0])

    def restore(self, states: Sequence[State]) -> None:
        """See `Optimizer.restore`; there is nothing to take over."""
        assert not any(states)


def compare(engine: Engine, pair: Pair, size: int, evaluations: int, rounds: int) -> Figure:
    """Run both on a pair, in turns."""
    spec = resolve({"size": size, "steps": evaluations, "pyramid": 1}, BACKBONES[NETWORK])
    objective = Objective(shipped(NETWORK), spec, pair.content, pair.style)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(_run(engine, pair, spec))
        with patch.object(painting, "LBFGS", Torchs):
            theirs.append(_run(engine, pair, spec))
    return Figure(
        pair.name,
        objective.judge(ours[0][0]),
        objective.judge(theirs[0][0]),
        statistics.median(seconds for _, seconds in ours),
        statistics.median(seconds for _, seconds in theirs),
    )


def _run(engine: Engine, pair: Pair, spec: Spec) -> tuple[Tensor, float]:
    """The best picture as the optimiser has it, which the last checkpoint holds, and the loop's seconds."""
    clock = Stopwatch()
    marks: list[float] = []
    last: list[Tensor] = []

    def watch(progress: Progress) -> None:
        marks.append(clock.seconds())
        if progress.step == progress.steps:
            last.append(progress.checkpoint().image.clone())

    engine.stylize(pair.content, [Style(pair.style)], spec, on_progress=watch)
    return last[-1], marks[-1] - marks[0]


def quadratic(shape: tuple[int, int, int]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Loss and gradient of a random diagonal quadratic: cheap, and curved along every line."""
    generator = torch.Generator().manual_seed(0)
    stiffness = torch.rand(shape, generator=generator) + 0.1
    centre = torch.rand(shape, generator=generator)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = stiffness * (x - centre)
        return (gradient * (x - centre)).sum() / 2, gradient

    return evaluate


def our_steps(start: Tensor, evaluate: Callable[[Tensor], tuple[Tensor, Tensor]]) -> float:
    """Seconds of one step of the engine's optimiser, the evaluation left out."""
    optimizer = LBFGS(start[None].clone(), HISTORY)
    clock = Stopwatch()
    for _ in range(STEPS):
        with clock.paused():
            loss, gradient = evaluate(optimizer.x[0])
        optimizer.step(loss[None], gradient[None])
    return clock.seconds() / STEPS


def torch_steps(start: Tensor, evaluate: Callable[[Tensor], tuple[Tensor, Tensor]]) -> float:
    """The same of torch's."""
    x = start.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=1, history_size=HISTORY)
    clock = Stopwatch()

    def closure() -> Tensor:
        with clock.paused():
            loss, x.grad = evaluate(x.detach())
        return loss

    for _ in range(STEPS):
        optimizer.step(closure)
    return clock.seconds() / STEPS


def steps(size: int, rounds: int) -> StepFigure:
    """Measure both in turns."""
    shape = (3, size * 2 // 3, size)
    start, evaluate = torch.zeros(shape), quadratic(shape)
    ours, theirs = [], []
    for _ in range(rounds):
        ours.append(our_steps(start, evaluate))
        theirs.append(torch_steps(start, evaluate))
    return StepFigure(*shape[1:], statistics.median(ours), statistics.median(theirs))


PROSE = """
`compact`, one level, float32, history 10, the same number of the engine's evaluations from the same start.
Losses are the least that each run reached, by the float32 reference objective; seconds are those of the
engine's whole loop, evaluations included, with its own optimiser and with torch's in its place. The last
table is the optimiser's step alone, on the gradients of a quadratic. All in turns, medians over the rounds.
"""


def tables(figures: Sequence[Figure], step_figures: Sequence[StepFigure]) -> list[Table]:
    """Where each got to, and the step alone."""
    runs = [
        [
            one.pair,
            f"{one.torch:.4f}",
            f"{one.ours:.4f}",
            ratio(one.ours / one.torch),
            seconds(one.torch_seconds),
            seconds(one.our_seconds),
            ratio(one.our_seconds / one.torch_seconds),
        ]
        for one in figures
    ]
    alone = [
        [
            f"{one.width} x {one.height}",
            f"{1e3 * one.torch:.2f}",
            f"{1e3 * one.ours:.2f}",
            ratio(one.ours / one.torch),
        ]
        for one in step_figures
    ]
    return [
        Table(("pair", "torch's loss", "ours", "ratio", "torch's s", "ours", "ratio"), runs),
        Table(("px", "torch's step, ms", "ours", "ratio"), alone),
    ]


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    with machine.threads(options.threads):
        engine = Engine(device="cpu", dtype="float32", threads=options.threads)
        engine.warm(NETWORK)
        figures = [
            compare(engine, pair, options.size, options.evaluations, options.rounds)
            for pair in pairs(options.pairs)
        ]
        step_figures = [steps(size, options.rounds) for size in options.step_sizes]
    return Section(
        "L-BFGS",
        machine.command("bench.lbfgs"),
        PROSE,
        machine.describe(options.threads),
        tables(figures, step_figures),
        {"runs": [asdict(one) for one in figures], "steps": [asdict(one) for one in step_figures]},
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--pairs", nargs="+", metavar="CONTENT:STYLE", help="three sample pairs by default")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--evaluations", type=int, default=200)
    parser.add_argument("--step-sizes", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
