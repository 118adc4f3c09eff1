"""Our L-BFGS beside `torch.optim.LBFGS`: where each gets to, how soon, and what its steps cost.

    python -m bench.lbfgs [--sizes 256 512] [--evaluations 200]

Same objective, start, evaluations and history, float32, full size only: the engine's own loop, once with its
optimiser and once with torch's. The two go on in turns, evaluation by evaluation, so that whatever else the
machine does meanwhile slows both; both results are judged by the reference objective.
"""

import argparse
import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
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
CLOSE = 1.001
"""A loss of at most this multiple of torch's last is as good as torch's: within a thousandth."""


@dataclass(frozen=True)
class Run:
    """What came of one optimiser's run.

    Attributes:
        loss: the least that it reached, by the float32 reference objective.
        seconds: its loop took, evaluations included. step_seconds: those of them in the optimiser's steps.
        until_close: seconds until its loss was as good as torch's last; None where it never was.
    """

    loss: float
    seconds: float
    step_seconds: float
    until_close: float | None


@dataclass(frozen=True)
class Figure:
    """One pair at one size."""

    pair: str
    size: int
    evaluations: int
    ours: Run
    torch: Run


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


class Timed:
    """A loop with its clocks; to the loop it is the optimiser whose steps it times.

    Attributes:
        seconds: taken so far. step_seconds: those of them in the optimiser's steps.
        curve: seconds and the least loss, after each evaluation.
    """

    def __init__(self, level: Level, subject: Subject, make: Callable[[Tensor, int], LBFGS | Torchs]) -> None:
        start = subject.content_at(level.size)[None].clone()
        self.x = start
        self._optimizer = make(start, HISTORY)
        self.loop = Loop(level.objective([subject]), cast("Optimizer", self))
        self.seconds = self.step_seconds = 0.0
        self.curve: list[tuple[float, float]] = []

    def step(self, losses: Tensor, gradient: Tensor) -> None:
        """See `Optimizer.step`."""
        clock = Stopwatch()
        self._optimizer.step(losses, gradient)
        self.step_seconds += clock.seconds()

    def advance(self) -> None:
        """One evaluation and one step."""
        clock = Stopwatch()
        self.loop.advance()
        self.seconds += clock.seconds()
        self.curve.append((self.seconds, float(self.loop.best_terms[0, 0])))

    def run(self, goal: float, objective: Objective) -> Run:
        """What came of it; `goal` is a loss of the engine's."""
        until_close = next((second for second, loss in self.curve if loss <= goal), None)
        return Run(objective.judge(self.loop.best[0]), self.seconds, self.step_seconds, until_close)


def compare(features: Features, pair: Pair, size: int, evaluations: int) -> Figure:
    """Run both on a pair."""
    spec = one_level(NETWORK, size, evaluations)
    subject = Subject(Request(pair.content, [Style(pair.style)], spec))
    level = Level(features, NETWORK, images.size_for(pair.content, size), size, None, Statistics())
    ours, theirs = both = [Timed(level, subject, make) for make in (LBFGS, Torchs)]
    level.objective([subject])(ours.x)  # the first evaluation of a size is a slow one
    draw = random.Random(f"{pair.name} {size}")
    for _ in range(evaluations):
        # To find the caches as the other one left them may be worth something.
        for one in draw.sample(both, len(both)):
            one.advance()
    goal = CLOSE * theirs.curve[-1][1]
    objective = Objective(shipped(NETWORK), spec, pair.content, pair.style)
    return Figure(pair.name, size, evaluations, ours.run(goal, objective), theirs.run(goal, objective))


PROSE = f"""
`compact`, one level, float32, history {HISTORY}, the same number of the engine's evaluations from the same
start, torch's optimiser and ours in turns, evaluation by evaluation, so that whatever else the machine does
slows both. Losses are the least that each run reached, by the float32 reference objective; seconds are those
of the engine's whole loop, evaluations included. As soon: seconds until a loss within a thousandth of torch's
last, ours over torch's. A step is the optimiser's alone, within that loop.
"""


def tables(figures: Sequence[Figure]) -> list[Table]:
    """Where each got to and how soon; the steps."""
    runs, steps = [], []
    for one in figures:
        where, ours, theirs = [one.pair, str(one.size)], one.ours, one.torch
        count = one.evaluations
        runs.append(
            [
                *where,
                f"{theirs.loss:.4f}",
                f"{ours.loss:.4f}",
                ratio(ours.loss / theirs.loss),
                seconds(theirs.seconds),
                seconds(ours.seconds),
                ratio(ours.seconds / theirs.seconds),
                ratio(_over(ours.until_close, theirs.until_close)),
            ]
        )
        steps.append(
            [
                *where,
                f"{1e3 * theirs.step_seconds / count:.2f}",
                f"{1e3 * ours.step_seconds / count:.2f}",
                ratio(ours.step_seconds / theirs.step_seconds),
            ]
        )
    return [
        Table(("pair", "px", "torch's loss", "ours", "ratio", "torch's s", "ours", "ratio", "as soon"), runs),
        Table(("pair", "px", "torch's step, ms", "ours", "ratio"), steps),
    ]


def _over(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one / other


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    with machine.threads(options.threads):
        features = Engine(device="cpu", dtype="float32", threads=options.threads).features(NETWORK)
        figures = [
            compare(features, pair, size, options.evaluations)
            for size in options.sizes
            for pair in pairs(options.pairs)
        ]
    return Section(
        "L-BFGS",
        machine.command("bench.lbfgs"),
        PROSE,
        machine.describe(options.threads),
        tables(figures),
        {"runs": [asdict(one) for one in figures]},
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--pairs", nargs="+", metavar="CONTENT:STYLE", help="three sample pairs by default")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--evaluations", type=int, default=200)
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
