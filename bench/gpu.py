"""What is asked of a CUDA device: one picture, a batch of 16, and neural-style-pt on the same device.

    python -m bench.gpu [--peers DIR] [--output docs/benchmarks-gpu.md]

Without a CUDA device it says so and measures nothing. `--device cpu` lets the same code run anywhere, at a
size that bears it; such figures mean nothing.
"""

import argparse
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from bench import batches, floor, machine
from bench.inputs import noise, random_weights
from bench.painting import one_level
from bench.peers import NEURAL_STYLE, neural_style, workplace
from bench.rates import Rates, measure
from bench.section import Section, Table, line, ratio, seconds
from bench.stopwatch import Mark, Stopwatch, pace
from worker.engine import Engine, Progress, Style

NETWORK = "vgg19"


@dataclass(frozen=True)
class Single:
    """One picture: seconds of the first call, compilation included, and of a later one (median)."""

    first: float
    later: float
    dtype: str


@dataclass(frozen=True)
class Batch:
    """A batch.

    Attributes:
        batch: pictures asked for. painted: how many the engine says it painted together.
        first: seconds of the first call. whole: of the second.
        evaluation: seconds of one evaluation of all the pictures.
        share_whole, share_loop: of the matrix rate in bfloat16, by the whole call and by the evaluations.
        peak_bytes: the most that torch had allocated on the device.
    """

    batch: int
    painted: int
    first: float
    whole: float
    evaluation: float
    share_whole: float
    share_loop: float
    peak_bytes: int


@dataclass(frozen=True)
class Figures:
    """All of it. `peer` is neural-style-pt's seconds an iteration, None without its checkout."""

    size: int
    evaluations: int
    single: Single
    batch: Batch
    peer: float | None

    @property
    def throughput(self) -> float | None:
        """Pictures a second of the batch, to the peer's for as many iterations."""
        if self.peer is None:
            return None
        return (self.batch.batch / self.batch.whole) * (self.evaluations * self.peer)


def single(engine: Engine, size: int, evaluations: int, rounds: int) -> Single:
    """Paint one picture a few times."""
    pair, spec = noise(size, square_content=True), one_level(NETWORK, size, evaluations)
    times = []
    for _ in range(rounds + 1):
        clock = Stopwatch()
        outcome = engine.stylize(pair.content, [Style(pair.style)], spec)
        times.append(clock.seconds())
    return Single(times[0], statistics.median(times[1:]), outcome.dtype)


def batch(engine: Engine, count: int, rates: Rates, options: argparse.Namespace) -> Batch:
    """Paint a batch twice; the first call may compile and counts apart."""
    size, evaluations = options.size, options.evaluations
    wanted = {"steps": evaluations, "pyramid": 1}
    jobs = batches.requests(NETWORK, size, count, wanted, square=True)
    first, _ = batches.paint(engine, jobs)
    marks: list[Mark] = []
    clock = Stopwatch()

    def mark(progress: Progress) -> None:
        marks.append(Mark(progress.step, clock.seconds()))

    cuda = options.device.startswith("cuda")
    if cuda:
        torch.cuda.reset_peak_memory_stats(options.device)
    whole, outcomes = batches.paint(engine, [replace(jobs[0], on_progress=mark), *jobs[1:]])
    peak = torch.cuda.max_memory_allocated(options.device) if cuda else 0
    flops = count * floor.evaluation(NETWORK, size, size).flops
    evaluation, rate = pace(marks), rates.flops["bfloat16"]
    return Batch(
        count,
        outcomes[0].batch,
        first,
        whole,
        evaluation,
        flops * evaluations / whole / rate,
        flops / evaluation / rate,
        peak,
    )


def peer(options: argparse.Namespace) -> float | None:
    """neural-style-pt's seconds an iteration on this device, where its checkout is."""
    checkout = options.peers and (options.peers / NEURAL_STYLE).resolve()
    if not checkout or not checkout.is_dir():
        return None
    every = max(1, options.iterations // 3)
    with workplace(noise(options.size, square_content=True)) as folder:
        return neural_style(
            checkout, folder, options.size, options.iterations, options.threads, options.device, every
        )


PROSE = """
Square pictures, `vgg19` with random weights, one level. The first call may compile and is told apart. The
batch's pictures differ in content and style weight; its share of the matrix rate is the counted arithmetic
of its evaluations (see `bench/floor.py`) over its seconds, to the rate of `torch.mm` in bfloat16 measured
in this run: of the whole call, targets and transfers included, and of the loop alone. neural-style-pt runs
its default recipe with cuDNN and its autotuner on the same device, one picture at a time; throughput is
pictures a second for the same number of evaluations.
"""


def tables(figures: Figures, rates: Rates, rooms: Sequence[batches.Figure]) -> list[Table]:
    """What was asked and what came, rates, and pictures a minute."""
    one, many, size = figures.single, figures.batch, f"{figures.size} x {figures.size}"
    work = f"{size}, {figures.evaluations} evaluations"
    rows = [
        [f"one picture, {work}, {one.dtype}", f"{seconds(one.later)} s", "1 s or less on an H200"],
        ["its first call, compilation included", f"{seconds(one.first)} s", "bounded"],
        [f"batch of {many.batch}, {work}", f"{seconds(many.whole)} s", "-"],
        ["its first call", f"{seconds(many.first)} s", "bounded"],
        ["pictures painted together", str(many.painted), str(many.batch)],
        ["its share of the bfloat16 matrix rate, whole call", ratio(many.share_whole), "0.45 or more"],
        ["its share of the bfloat16 matrix rate, loop alone", ratio(many.share_loop), "-"],
        ["its peak memory on the device", f"{many.peak_bytes / 1e9:.1f} GB", "-"],
    ]
    if figures.peer is not None and figures.throughput is not None:
        rows += [
            ["neural-style-pt, an iteration", f"{seconds(figures.peer)} s", "-"],
            ["throughput to neural-style-pt's", f"{figures.throughput:.1f}", "8 or more"],
        ]
    return [Table(("what", "measured", "asked"), rows), floor.rates_table(rates), batches.table(rooms)]


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    networks = [NETWORK, "compact"]
    with machine.threads(options.threads), random_weights(*networks) as folder:
        rates = measure(options.device, options.side)
        engine = Engine(folder, device=options.device, dtype=options.dtype, threads=options.threads)
        figures = Figures(
            options.size,
            options.evaluations,
            single(engine, options.size, options.evaluations, options.rounds),
            batch(engine, options.batch, rates, options),
            peer(options),
        )
        rooms = [
            found
            for network in networks
            for found in batches.measure(
                engine, network, options.room, options.batches, options.steps, options.rounds
            )
        ]
    return Section(
        "On a GPU",
        machine.command("bench.gpu"),
        PROSE,
        machine.describe(options.threads, options.device),
        tables(figures, rates, rooms),
        {
            "rates": asdict(rates),
            "figures": asdict(figures),
            "throughput": figures.throughput,
            "batches": [asdict(one) for one in rooms],
        },
    )


def main() -> None:
    """Measure, print, and write the page where that is asked for."""
    parser = machine.options(__doc__)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16", help="the engine's arithmetic")
    parser.add_argument("--peers", type=Path, help="folder with neural-style-pt's checkout")
    parser.add_argument("--output", type=Path, help="write the page there")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--evaluations", type=int, default=500)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=150, help="of neural-style-pt")
    parser.add_argument("--room", type=int, default=256, help="size of the pictures counted by the minute")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--steps", type=int, help="evaluations of those pictures; the default spec's")
    parser.add_argument("--side", type=int, help="largest matrix for the rates, for a quick look")
    options = parser.parse_args()
    if options.device.startswith("cuda") and not torch.cuda.is_available():
        print("There is no CUDA device here: nothing was measured, nothing was written.")
        return
    found = section(options)
    if options.output:
        options.output.write_text(f"# Benchmarks on a GPU\n\n{line(found.machine)}\n\n{found.markdown()}\n")
    found.publish(as_json=options.json)


if __name__ == "__main__":
    main()
