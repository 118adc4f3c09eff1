"""Pictures a minute when several are painted as one batch.

    python -m bench.batches [--size 256] [--batches 1 4 16] [--networks compact] [--device cpu]

The pictures of a batch have one size and differ in content and style weight, as the jobs of different people
do. Each batch paints whole pictures on the defaults, after one small batch that counts nothing. Weights are
random.
"""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from bench import machine
from bench.inputs import noise, random_weights
from bench.section import Section, Table, ratio, seconds
from bench.stopwatch import Stopwatch
from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Outcome, Style
from worker.engine.contract import Request
from worker.engine.vgg import LAYOUTS


@dataclass(frozen=True)
class Figure:
    """One batch.

    Attributes:
        batch: pictures asked for. painted: how many the engine says it painted together.
        seconds: until all were painted; a median over the rounds.
    """

    network: str
    size: int
    batch: int
    painted: int
    dtype: str
    device: str
    seconds: float

    @property
    def per_minute(self) -> float:
        """Pictures a minute."""
        return 60 * self.batch / self.seconds


def requests(
    network: str, size: int, batch: int, wanted: Mapping[str, Any], *, square: bool = False
) -> list[Request]:
    """So many jobs that differ in content and style weight; `wanted` is the rest of their spec."""
    found = []
    for number in range(batch):
        pair = noise(size, number, square_content=square)
        weight = {"size": size, "style_weight": 10.0 * (1 + number)}
        spec = resolve({**wanted, **weight}, BACKBONES[network])
        found.append(Request(pair.content, [Style(noise(size).style)], spec))
    return found


def paint(engine: Engine, jobs: Sequence[Request]) -> tuple[float, list[Outcome]]:
    """Paint a batch; give its seconds and outcomes. Raises what kept a picture from being painted."""
    clock = Stopwatch()
    found = engine.stylize_batch(jobs)
    taken = clock.seconds()
    outcomes = []
    for one in found:
        if isinstance(one, Exception):
            raise one
        outcomes.append(one)
    return taken, outcomes


def measure(
    engine: Engine, network: str, size: int, batches: Sequence[int], steps: int | None, rounds: int
) -> list[Figure]:
    """All batches of one network, in turns."""
    paint(engine, requests(network, size, 1, {"steps": 2}))
    times: dict[int, list[float]] = {batch: [] for batch in batches}
    outcomes: dict[int, Outcome] = {}
    for _ in range(rounds):
        for batch in batches:
            taken, found = paint(engine, requests(network, size, batch, {"steps": steps}))
            times[batch].append(taken)
            outcomes[batch] = found[0]
    return [
        Figure(
            network,
            size,
            batch,
            outcomes[batch].batch,
            outcomes[batch].dtype,
            outcomes[batch].device,
            statistics.median(times[batch]),
        )
        for batch in batches
    ]


PROSE = """
Whole pictures at 256 px on the defaults; those of a batch differ in content and style weight. *Painted
together* is what the engine reports. The last column compares pictures a minute with the same network's
batch of the first row.
"""


def table(figures: Sequence[Figure]) -> Table:
    """One row a batch."""
    columns = (
        "network",
        "px",
        "device",
        "arithmetic",
        "batch",
        "painted together",
        "s",
        "pictures a minute",
        "ratio",
    )
    first = {one.network: one for one in reversed(figures)}
    rows = [
        [
            f"`{one.network}`",
            str(one.size),
            one.device,
            one.dtype,
            str(one.batch),
            str(one.painted),
            seconds(one.seconds),
            f"{one.per_minute:.1f}",
            ratio(one.per_minute / first[one.network].per_minute),
        ]
        for one in figures
    ]
    return Table(columns, rows)


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    with machine.threads(options.threads), random_weights(*options.networks) as folder:
        engine = Engine(folder, device=options.device, threads=options.threads)
        figures = [
            figure
            for network in options.networks
            for figure in measure(
                engine, network, options.size, options.batches, options.steps, options.rounds
            )
        ]
    return Section(
        "Many jobs at once",
        machine.command("bench.batches"),
        PROSE,
        machine.describe(options.threads, options.device),
        [table(figures)],
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--networks", nargs="+", choices=sorted(LAYOUTS), default=["compact"])
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", type=int, help="evaluations a picture; the default spec's")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
