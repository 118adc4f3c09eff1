"""What a killed painting loses: the loss of runs taken up from checkpoints, against the undisturbed run's.

    python -m bench.resumption [--pairs content.jpg:style.jpg ...] [--sizes 128 256 512] [--pairs-kept 5]

Every checkpoint goes through its bytes. `--pairs-kept` stores experience, with so many of L-BFGS' pairs, even
where the whole state is small enough to be kept; without it checkpoints are as the engine takes them.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from bench import machine
from bench.inputs import Pair, pairs
from bench.section import Section, Table
from shared.backbones import BACKBONES
from shared.spec import Spec, resolve
from worker.engine import Checkpoint, Engine, Progress, Style, lbfgs, resumption

NETWORK = "compact"
POINTS = (0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.9, 0.97)
"""Of a run, where checkpoints are taken: in several levels of the pyramid."""


@dataclass(frozen=True)
class Figure:
    """One checkpoint.

    Attributes:
        kept: pairs that L-BFGS' experience held at most; None for a checkpoint as the engine takes it.
        bytes_a_value: of the level's picture.
        loss: the resumed run's last, as a multiple of the undisturbed one's.
    """

    pair: str
    longest: int
    optimizer: str
    kept: int | None
    step: int
    steps: int
    level: int
    levels: int
    bytes_a_value: float
    megabytes: float
    loss: float


def taken(
    engine: Engine, pair: Pair, spec: Spec, points: Sequence[float], kept: Sequence[int | None]
) -> tuple[float, dict[tuple[int, int | None], tuple[Progress, bytes]]]:
    """An undisturbed run's loss, and its checkpoints by step and kind."""
    steps = {round(point * spec.steps) for point in points}
    found: dict[tuple[int, int | None], tuple[Progress, bytes]] = {}

    def take(progress: Progress) -> None:
        if progress.step in steps:
            for pairs_kept in kept:
                found[progress.step, pairs_kept] = progress, _checkpoint(progress, pairs_kept)

    outcome = engine.stylize(pair.content, [Style(pair.style)], spec, take)
    return outcome.losses["total"], found


def _checkpoint(progress: Progress, kept: int | None) -> bytes:
    if kept is None:
        return progress.checkpoint().to_bytes()
    before = resumption.WHOLE, lbfgs.EXPERIENCE
    resumption.WHOLE, lbfgs.EXPERIENCE = 0, kept
    try:
        return progress.checkpoint().to_bytes()
    finally:
        resumption.WHOLE, lbfgs.EXPERIENCE = before


def measured(
    engine: Engine, pair: Pair, spec: Spec, points: Sequence[float], kept: Sequence[int | None]
) -> list[Figure]:
    """Every checkpoint of a run, taken up."""
    whole, found = taken(engine, pair, spec, points, kept)
    figures = []
    for (step, pairs_kept), (progress, data) in found.items():
        resume = Checkpoint.from_bytes(data)
        outcome = engine.stylize(pair.content, [Style(pair.style)], spec, resume=resume)
        figure = Figure(
            pair.name,
            spec.size,
            spec.optimizer,
            pairs_kept,
            step,
            spec.steps,
            progress.level,
            progress.levels,
            len(data) / resume.image.numel(),
            len(data) / 1e6,
            outcome.losses["total"] / whole,
        )
        figures.append(figure)
        print(*row(figure), file=sys.stderr, flush=True)
    return figures


PROSE = """
The default job with `compact`, and from each of its checkpoints a run that is taken up there and painted to
its end. *Loss* is the best total that the resumed run ends with, as a multiple of the undisturbed run's. A
checkpoint that is whole goes on to the last digit; a larger one goes another way, and may end lower.
"""


def row(one: Figure) -> list[str]:
    """One checkpoint for people."""
    return [
        one.pair,
        str(one.longest),
        one.optimizer,
        "as taken" if one.kept is None else str(one.kept),
        f"{one.step / one.steps:.0%}",
        f"{one.level + 1} of {one.levels}",
        f"{one.megabytes:.1f}",
        f"{one.bytes_a_value:.1f}",
        f"{one.loss:.4f}",
    ]


def table(figures: Sequence[Figure]) -> Table:
    """One row a checkpoint."""
    columns = ("pair", "px", "optimiser", "pairs kept", "at", "level", "MB", "bytes a value", "loss")
    return Table(columns, [row(one) for one in figures])


def section(options: argparse.Namespace) -> Section:
    """Measure all."""
    engine = Engine(device="cpu", dtype=options.dtype, threads=options.threads)
    kept = [None if one < 0 else one for one in options.pairs_kept]
    wanted = {"optimizer": options.optimizer} | ({"steps": options.steps} if options.steps else {})
    figures = [
        figure
        for longest in options.sizes
        for pair in pairs(options.pairs)[: options.most]
        for figure in measured(
            engine, pair, resolve({**wanted, "size": longest}, BACKBONES[NETWORK]), options.points, kept
        )
    ]
    return Section(
        "Taken up from a checkpoint",
        machine.command("bench.resumption"),
        PROSE,
        machine.describe(options.threads),
        [table(figures)],
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--pairs", nargs="+", metavar="CONTENT:STYLE", help="picture files; default: samples")
    parser.add_argument("--most", type=int, default=3, help="of the pairs, the first so many")
    parser.add_argument("--sizes", nargs="+", type=int, default=[128, 256, 512])
    parser.add_argument("--points", nargs="+", type=float, default=POINTS, help="shares of the evaluations")
    parser.add_argument("--steps", type=int, default=0, help="evaluations; 0 for the default")
    parser.add_argument("--optimizer", choices=["lbfgs", "adam"], default="lbfgs")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument(
        "--pairs-kept", nargs="+", type=int, default=[-1], help="-1 for as the engine takes it"
    )
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
