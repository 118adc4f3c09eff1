"""Loss against seconds: the engine's default job, and plain L-BFGS at full size, on the same objective.

    python -m bench.curves [--pairs content.jpg:style.jpg ...] [--size 512] [--pictures DIR] [--plot FILE]

Plain is what most projects do: `torch.optim.LBFGS` at full size from the content, here on the reference
objective in float32. Both runs only save pictures with the second at which each was reached; the clock
stands still meanwhile. Afterwards every picture is enlarged to full size and judged by the same float32
objective, as it stands and as it would be saved, clamped to [0, 1].
"""

import argparse
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from torch import Tensor

from bench import machine, textbook
from bench.inputs import Pair, noise, pairs
from bench.plot import Curve, Panel, svg
from bench.reference import Network, Objective, shipped
from bench.section import Section, Table, ratio, seconds
from bench.stopwatch import Stopwatch
from shared.backbones import BACKBONES
from shared.spec import Spec, resolve
from worker.engine import Engine, Progress, Style
from worker.engine.files import encode

NETWORK = "compact"
SNAPSHOTS = 30
"""Pictures of each run that are judged, about."""
SHARES = (0.05, 0.1, 0.2, 0.5, 1.0)
"""Of plain's time: where the table looks at both."""
NEAR = 1.05
"""The engine has arrived when its loss is within this of plain's last."""


@dataclass(frozen=True)
class Snapshot:
    """A picture as the optimiser has it, and the second at which it was reached."""

    second: float
    evaluation: int
    image: Tensor


@dataclass(frozen=True)
class Point:
    """The float32 loss at full size, at a second: of the picture as it stands, and as it would be saved."""

    second: float
    evaluation: int
    loss: float
    saved: float


JUDGED = {"as it stands": "loss", "as saved": "saved"}


@dataclass(frozen=True)
class Figure:
    """One pair: the two curves, each ending with the finished picture, and the engine's arithmetic."""

    pair: str
    dtype: str
    ours: list[Point]
    plain: list[Point]

    def arrival(self, judged: str) -> float | None:
        """Seconds until the engine is near plain's last loss; None where it never is."""
        goal = NEAR * getattr(self.plain[-1], judged)
        return next((point.second for point in self.ours if getattr(point, judged) <= goal), None)


def at(points: Sequence[Point], second: float, judged: str) -> float | None:
    """The loss of the latest picture reached by then."""
    return next((getattr(point, judged) for point in reversed(points) if point.second <= second), None)


def ours(engine: Engine, pair: Pair, spec: Spec) -> tuple[list[Snapshot], Tensor, str]:
    """The engine's run, the finished picture, and the engine's arithmetic.

    A checkpoint holds the picture as the optimiser has it; with the last evaluation, the one that is
    delivered.
    """
    found: list[Snapshot] = []
    clock = Stopwatch()
    every = max(1, spec.steps // SNAPSHOTS)

    def keep(progress: Progress) -> None:
        with clock.paused():
            if progress.step % every == 0 or progress.step == progress.steps:
                image = progress.checkpoint().image.clone()
                found.append(Snapshot(clock.seconds(), progress.step, image))

    outcome = engine.stylize(pair.content, [Style(pair.style)], spec, on_progress=keep)
    # Delivery counts: the last picture was there when the call came back.
    last = replace(found[-1], second=clock.seconds())
    return [*found[:-1], last], outcome.image, outcome.dtype


def plain(objective: Objective, evaluations: int, history: int) -> list[Snapshot]:
    """Plain L-BFGS' run, ending with its last evaluation's picture."""
    found: list[Snapshot] = []
    clock = Stopwatch()
    every = max(1, evaluations // SNAPSHOTS)

    def keep(done: int, _loss: float, picture: Tensor) -> None:
        with clock.paused():
            if done < 10 or done % every == 0 or done == evaluations:
                found.append(Snapshot(clock.seconds(), done, picture.clone()))

    textbook.descend(objective, objective.content, evaluations, history, keep)
    return found


def warm(network: Network) -> None:
    """Let plain have its network calibrated and used once before the clock runs, as the engine has."""
    pair, spec = noise(64), resolve({"size": 64}, BACKBONES[NETWORK])
    objective = Objective(network, spec, pair.content, pair.style)
    textbook.seconds(objective, objective.content, 1)


def compare(
    engine: Engine, network: Network, pair: Pair, options: argparse.Namespace
) -> tuple[Figure, Tensor, Tensor]:
    """Run both on a pair and judge; also the two finished pictures."""
    spec = resolve({"size": options.size, "steps": options.steps}, BACKBONES[NETWORK])
    mine, finished, dtype = ours(engine, pair, spec)
    clock = Stopwatch()
    objective = Objective(network, spec, pair.content, pair.style)
    targets = clock.seconds()  # the engine's time has its targets in it as well
    others = plain(objective, options.evaluations, options.history)

    def judge(one: Snapshot, offset: float = 0.0) -> Point:
        losses = (objective.judge(image) for image in (one.image, one.image.clamp(0, 1)))
        return Point(one.second + offset, one.evaluation, *losses)

    figure = Figure(pair.name, dtype, [judge(one) for one in mine], [judge(one, targets) for one in others])
    return figure, finished, others[-1].image.clamp(0, 1)


PROSE = """
`compact` at 512 px. *Ours* is the default spec; *plain* is `torch.optim.LBFGS` for 500 evaluations at full
size from the content, float32, history 10, on the same objective: what most projects do. Every picture, of
the coarse levels too, is enlarged to full size and judged by the float32 objective at full size, after the
runs, so that judging costs neither of them time. Targets are in both times, loading is in neither.
*Arrival* is when ours first comes within 5 % of plain's last loss. An optimiser's picture leaves [0, 1]
here and there: *as it stands* is its loss so, *as saved* after clamping.

![Loss against seconds](images/curves.svg)
"""


def tables(figures: Sequence[Figure]) -> list[Table]:
    """How it ended, and the losses on the way."""
    columns = (
        "pair",
        "judged",
        "plain's loss",
        "s",
        "our loss",
        "ratio",
        "s",
        "ratio",
        "arrival, s",
        "ratio",
    )
    ends = [_end(one, name) for one in figures for name in JUDGED]
    shares = [f"at {share:g} of plain's time: ours / plain" for share in SHARES]
    return [Table(columns, ends), Table(("pair", "judged", *shares), _way(figures))]


def _end(one: Figure, name: str) -> list[str]:
    mine, other, arrival = one.ours[-1], one.plain[-1], one.arrival(JUDGED[name])
    my_loss, other_loss = getattr(mine, JUDGED[name]), getattr(other, JUDGED[name])
    return [
        one.pair,
        name,
        f"{other_loss:.3f}",
        seconds(other.second),
        f"{my_loss:.3f}",
        ratio(my_loss / other_loss),
        seconds(mine.second),
        ratio(mine.second / other.second),
        "never" if arrival is None else seconds(arrival),
        ratio(None if arrival is None else arrival / other.second),
    ]


def _way(figures: Sequence[Figure]) -> list[list[str]]:
    def cell(one: Figure, share: float, judged: str) -> str:
        second = share * one.plain[-1].second
        losses = (at(points, second, judged) for points in (one.ours, one.plain))
        return " / ".join("-" if loss is None else f"{loss:.3f}" for loss in losses)

    return [
        [one.pair, name, *(cell(one, share, judged) for share in SHARES)]
        for one in figures
        for name, judged in JUDGED.items()
    ]


def drawing(figures: Sequence[Figure]) -> str:
    """The curves, a panel a pair."""

    def curves(one: Figure) -> list[Curve]:
        return [
            Curve(f"{who}, {name}", [(point.second, getattr(point, judged)) for point in points])
            for who, points in (("ours", one.ours), ("plain", one.plain))
            for name, judged in JUDGED.items()
        ]

    return svg([Panel(one.pair, curves(one)) for one in figures], "seconds", "loss")


def section(options: argparse.Namespace) -> Section:
    """Measure; write plot and pictures where these were asked for."""
    figures: list[Figure] = []
    with machine.threads(options.threads):
        engine = Engine(device="cpu", dtype=options.dtype, threads=options.threads)
        engine.warm(NETWORK)
        network = shipped(NETWORK)
        warm(network)
        for pair in pairs(options.pairs):
            figure, mine, other = compare(engine, network, pair, options)
            figures.append(figure)
            if options.pictures:
                options.pictures.mkdir(parents=True, exist_ok=True)
                for name, image in (("ours", mine), ("plain", other)):
                    file = options.pictures / f"{pair.name.replace(', ', '-')}-{name}.png"
                    file.write_bytes(encode(image, "png", 0))
    if options.plot:
        options.plot.write_text(drawing(figures))
    return Section(
        "Loss against seconds",
        machine.command("bench.curves"),
        PROSE,
        machine.describe(options.threads),
        tables(figures),
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--pairs", nargs="+", metavar="CONTENT:STYLE", help="three sample pairs by default")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--steps", type=int, help="the engine's evaluations; the default spec's")
    parser.add_argument("--dtype", default="auto", help="the engine's arithmetic")
    parser.add_argument("--evaluations", type=int, default=500, help="plain's")
    parser.add_argument("--history", type=int, default=10, help="plain's pairs of memory")
    parser.add_argument("--plot", type=Path, help="write the curves there, as SVG")
    parser.add_argument("--pictures", type=Path, help="write the finished pictures there, to look at")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
