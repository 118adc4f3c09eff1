"""Our L-BFGS beside `torch.optim.LBFGS`: where each gets to, and what its own step costs.

    python -m bench.lbfgs [--sizes 256 512] [--evaluations 200]

Same objective, start, evaluations and history, float32, full size only: the engine's own loop, once with its
optimiser and once with torch's. The two go on in turns, evaluation by evaluation, so that whatever else the
machine does meanwhile slows both; both results are judged by the reference objective. The step's cost is
measured apart, likewise in turns, on gradients that come for nothing: those of a random quadratic.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import cast

import torch
from torch import Tensor

from bench import machine
from bench.inputs import Pair, pairs
from bench.painting import one_level
from bench.reference import Objective, shipped
from bench.section import Section, Table, ratio, seconds
from bench.stopwatch import Stopwatch
from worker.engine import Engine, Style, images
from worker.engine.contract import Request
from worker.engine.features import Features
from worker.engine.lbfgs import LBFGS
from worker.engine.level import Level, Subject
from worker.engine.loop import Loop
from worker.engine.optimizers import Optimizer
from worker.engine.statistics import Statistics

NETWORK, HISTORY = "compact", 10


@dataclass(frozen=True)
class Figure:
    """One pair at one size: the least float32 loss that each reached, and its loop's seconds."""

    pair: str
    size: int
    ours: float
    torch: float
    our_seconds: float
    torch_seconds: float


@dataclass(frozen=True)
class StepFigure:
    """Seconds of one step of each optimiser alone, at one size."""

    height: int
    width: int
    ours: float
    torch: float


class Torchs:
    """`torch.optim.LBFGS` in the place of the engine's own.

    It has as much of `Optimizer` as one picture without trouble asks for.
    """

    def __init__(self, x: Tensor, history: int) -> None:
        """Start at `x`, (1, 3, H, W)."""
        self.x = x
        self._optimizer = torch.optim.LBFGS(
            [x], max_iter=1, history_size=history, tolerance_grad=-1, tolerance_change=-1
        )

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        self.x.grad = gradient
        self._optimizer.step(lambda: losses[0])


def take_turns(contestants: Sequence[Callable[[], float]], turns: int) -> list[float]:
    """Let each go on so many times; the sums of the seconds that they give.

    Who is first is drawn each time: it may be worth something to find a cache as the other one left it.
    """
    draw = random.Random(0)
    sums = [0.0] * len(contestants)
    for _ in range(turns):
        for place in draw.sample(range(len(contestants)), len(contestants)):
            sums[place] += contestants[place]()
    return sums


def compare(features: Features, pair: Pair, size: int, evaluations: int) -> Figure:
    """Run both on a pair."""
    spec = one_level(NETWORK, size, evaluations)
    subject = Subject(Request(pair.content, [Style(pair.style)], spec))
    pixels = images.size_for(pair.content, size)
    level = Level(features, NETWORK, pixels, size, None, Statistics())
    loops = []
    for optimizer in (LBFGS, Torchs):
        start = subject.content_at(pixels)[None].clone()
        loops.append(Loop(level.objective([subject]), cast("Optimizer", optimizer(start, HISTORY))))

    def turn(loop: Loop) -> float:
        clock = Stopwatch()
        loop.advance()
        return clock.seconds()

    our_seconds, their_seconds = take_turns([partial(turn, loop) for loop in loops], evaluations)
    objective = Objective(shipped(NETWORK), spec, pair.content, pair.style)
    our_loss, their_loss = (objective.judge(loop.best[0]) for loop in loops)
    return Figure(pair.name, size, our_loss, their_loss, our_seconds, their_seconds)


def quadratic(shape: tuple[int, int, int]) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    """Losses (1,) and gradient (1, *shape) of a random diagonal quadratic: cheap, curved along every line.

    Its curvatures span four orders of magnitude, so that hundreds of steps do not come to its bottom: there,
    differences of gradients are noise, and neither optimiser does its usual work any more.
    """
    generator = torch.Generator().manual_seed(0)
    stiffness = 10 ** (-4 * torch.rand(1, *shape, generator=generator))
    centre = torch.rand(1, *shape, generator=generator)

    def evaluate(x: Tensor) -> tuple[Tensor, Tensor]:
        gradient = stiffness * (x - centre)
        return (gradient * (x - centre)).sum()[None] / 2, gradient

    return evaluate


def steps(size: int, count: int) -> StepFigure:
    """Measure so many steps of both."""
    shape = (3, size * 2 // 3, size)
    evaluate = quadratic(shape)

    def turn(optimizer: LBFGS | Torchs) -> float:
        found = evaluate(optimizer.x)
        clock = Stopwatch()
        optimizer.step(*found)
        return clock.seconds()

    both = [optimizer(torch.zeros(1, *shape), HISTORY) for optimizer in (LBFGS, Torchs)]
    our_seconds, their_seconds = take_turns([partial(turn, one) for one in both], count)
    return StepFigure(*shape[1:], our_seconds / count, their_seconds / count)


PROSE = """
`compact`, one level, float32, history 10, the same number of the engine's evaluations from the same start.
Losses are the least that each run reached, by the float32 reference objective; seconds are those of the
engine's whole loop, evaluations included, with its own optimiser and with torch's in its place. The last
table is the optimiser's step alone, on the gradients of a quadratic. In each, both take turns, evaluation by
evaluation, so that whatever else the machine does slows both.
"""


def tables(figures: Sequence[Figure], step_figures: Sequence[StepFigure]) -> list[Table]:
    """Where each got to, and the step alone."""
    runs = [
        [
            one.pair,
            str(one.size),
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
        Table(("pair", "px", "torch's loss", "ours", "ratio", "torch's s", "ours", "ratio"), runs),
        Table(("px", "torch's step, ms", "ours", "ratio"), alone),
    ]


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    with machine.threads(options.threads):
        features = Engine(device="cpu", dtype="float32", threads=options.threads).features(NETWORK)
        figures = [
            compare(features, pair, size, options.evaluations)
            for size in options.sizes
            for pair in pairs(options.pairs)
        ]
        step_figures = [steps(size, options.steps) for size in options.step_sizes]
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
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512], help="in pixels, of whole runs")
    parser.add_argument("--evaluations", type=int, default=200, help="of a run")
    parser.add_argument("--step-sizes", type=int, nargs="+", default=[256, 512, 1024], help="of steps alone")
    parser.add_argument("--steps", type=int, default=120, help="at each of those")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
