"""Seconds an evaluation: the engine, the same objective in the textbook way, and the floor.

    python -m bench.evaluations [--networks compact vgg19] [--sizes 256 512] [--dtype auto]

Weights are random: they cost what trained ones cost. The contestants take turns, and medians over the rounds
are given.
"""

import argparse
import statistics
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch

from bench import floor, machine, textbook
from bench.inputs import noise, random_state, random_weights
from bench.painting import one_level, timed
from bench.rates import Rates, measure
from bench.reference import Network, Objective
from bench.section import Section, Table, ratio, seconds
from worker.engine import Engine
from worker.engine.vgg import LAYOUTS

EVALUATIONS = {"compact": 6, "vgg19": 2}
"""Timed evaluations a round, at 512 px; smaller pictures get as many more as they cost less."""


@dataclass(frozen=True)
class Figure:
    """One network at one size. Seconds are medians over the rounds.

    Attributes:
        dtype: the engine's arithmetic. ours: the engine's seconds.
        textbook: the float32 loop's. textbook_bfloat16: with the network in bfloat16, channels-last; None
            where this machine multiplies faster in float32.
        floor: seconds at least, in the engine's arithmetic.
    """

    network: str
    height: int
    width: int
    dtype: str
    ours: float
    textbook: float
    textbook_bfloat16: float | None
    floor: float


def compare(engine: Engine, network: str, size: int, rates: Rates, options: argparse.Namespace) -> Figure:
    """Measure one network at one size."""
    pair = noise(size)
    count = options.evaluations or max(1, round(EVALUATIONS.get(network, 2) * (512 / size) ** 2))
    spec = one_level(network, size, count + 1)
    state = random_state(network)

    def loop(dtype: torch.dtype) -> Callable[[], float]:
        objective = Objective(Network(network, state, dtype), spec, pair.content, pair.style)
        return lambda: textbook.seconds(objective, objective.content, count)

    dtypes: list[str] = []

    def ours() -> float:
        pace, outcome = timed(engine, pair, spec)
        dtypes.append(outcome.dtype)
        return pace

    contestants = {"ours": ours, "textbook": loop(torch.float32)}
    if rates.fast_bfloat16:
        contestants["bfloat16"] = loop(torch.bfloat16)
    found: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(options.rounds):
        for name, contestant in contestants.items():
            found[name].append(contestant())
    medians = {name: statistics.median(times) for name, times in found.items()}
    height, width = pair.content.shape[-2:]
    return Figure(
        network,
        height,
        width,
        dtypes[-1],
        medians["ours"],
        medians["textbook"],
        medians.get("bfloat16"),
        floor.evaluation(network, height, width).floor(dtypes[-1], rates),
    )


PROSE = """
Whole evaluations at one size, the optimiser's step included, on random weights. *Textbook* is the same
objective by autograd and `torch.optim.LBFGS` (history 10, one evaluation a step); *textbook, bf16* the same
with the network in bfloat16 and channels-last, where this machine is faster in it. Contestants take turns,
medians over the rounds. Ratios are the engine's seconds to theirs; the last column is the floor's seconds
in the engine's arithmetic to the engine's.
"""


def table(figures: list[Figure]) -> Table:
    """One row a network and size."""
    columns = (
        "network",
        "px",
        "arithmetic",
        "s an evaluation",
        "textbook, s",
        "ratio",
        "textbook, bf16, s",
        "ratio",
        "share of the floor",
    )
    rows = []
    for one in figures:
        half = one.textbook_bfloat16
        rows.append(
            [
                f"`{one.network}`",
                f"{one.width} x {one.height}",
                one.dtype,
                seconds(one.ours),
                seconds(one.textbook),
                ratio(one.ours / one.textbook),
                "-" if half is None else seconds(half),
                ratio(None if half is None else one.ours / half),
                ratio(one.floor / one.ours),
            ]
        )
    return Table(columns, rows)


def section(options: argparse.Namespace) -> Section:
    """Measure everything asked for."""
    with machine.threads(options.threads), random_weights(*options.networks) as folder:
        engine = Engine(folder, device="cpu", dtype=options.dtype, threads=options.threads)
        for network in options.networks:
            engine.warm(network)
        rates = measure(side_limit=options.side)
        figures = [
            compare(engine, network, size, rates, options)
            for network in options.networks
            for size in options.sizes
        ]
    return Section(
        "An evaluation",
        machine.command("bench.evaluations"),
        PROSE,
        machine.describe(options.threads),
        [table(figures)],
        {"rates": asdict(rates), "evaluations": [asdict(figure) for figure in figures]},
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--networks", nargs="+", choices=sorted(LAYOUTS), default=["compact", "vgg19"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--dtype", default="auto", help="the engine's arithmetic")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--evaluations", type=int, help="timed evaluations a round")
    parser.add_argument("--side", type=int, help="largest matrix for the rates, for a quick look")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
