"""Pictures larger than memory: resident set and seconds of two evaluations.

    python -m bench.large [--cases compact:4096 compact:4096:2 ...] [--optimizer lbfgs]

A case is a network, a size, and the GiB that a painting may take (without, what is free). Each is a process
of its own, so that its high-water mark is its own. Weights are random.
"""

import argparse
import contextlib
import json
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from bench.inputs import Pair, noise, random_weights
from bench.painting import timed
from bench.section import Section, Table, seconds
from bench.stopwatch import Stopwatch
from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine

CASES = ("compact:4096", "compact:4096:4", "vgg19:2048", "vgg19:2048:3")
EVALUATIONS = 2


@dataclass(frozen=True)
class Figure:
    """One case.

    Attributes:
        allowed: GiB that the engine was told to take at most, None for what is free.
        before: resident bytes with the network loaded and warm and the two pictures made.
        peak: the most that was ever resident.
        evaluation: seconds of the second evaluation, the optimiser's step before it included.
        whole: seconds of the whole call.
    """

    network: str
    height: int
    width: int
    allowed: float | None
    optimizer: str
    dtype: str
    tiled: bool
    before: int
    peak: int
    evaluation: float
    whole: float

    @property
    def bytes_a_pixel(self) -> float:
        """What painting added, by the picture's pixels."""
        return (self.peak - self.before) / (self.height * self.width)


def resident() -> tuple[int, int]:
    """Bytes resident now and at most so far.

    The kernel's own mark of this program (VmHWM) where there is one: `ru_maxrss` of a child also remembers
    what its parent had.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = dict(re.findall(r"^(VmRSS|VmHWM):\s+(\d+) kB$", status.read_text(), re.MULTILINE))
        return 1024 * int(found["VmRSS"]), 1024 * int(found["VmHWM"])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return most, most


def forget_peak() -> None:
    """Let the high-water mark begin anew, so that loading the network does not hide what painting takes."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def measure(case: str, optimizer: str, threads: int) -> Figure:
    """One case in this process."""
    network, size, allowed = parsed(case)
    both = noise(size)
    # The style in the shape of the content: a square one would take half as much memory again.
    pair = Pair(both.name, both.content, both.style[:, : both.content.shape[1]].contiguous())
    del both
    wanted = {"size": size, "steps": EVALUATIONS, "pyramid": 1, "optimizer": optimizer}
    with random_weights(network) as folder:
        engine = Engine(folder, device="cpu", threads=threads, memory_bytes=int((allowed or 0) * 2**30))
        engine.warm(network)
        forget_peak()
        before, _ = resident()
        clock = Stopwatch()
        evaluation, outcome = timed(engine, pair, resolve(wanted, BACKBONES[network]))
        whole = clock.seconds()
        _, peak = resident()
    height, width = pair.content.shape[-2:]
    return Figure(
        network,
        height,
        width,
        allowed,
        optimizer,
        outcome.dtype,
        outcome.tiled,
        before,
        peak,
        evaluation,
        whole,
    )


def parsed(case: str) -> tuple[str, int, float | None]:
    """Network, size, and GiB allowed or None, of `network:size` or `network:size:GiB`."""
    network, size, *allowed = case.split(":")
    return network, int(size), float(allowed[0]) if allowed else None


def elsewhere(case: str, optimizer: str, threads: int) -> Figure:
    """One case in a process of its own."""
    command = [sys.executable, "-m", "bench.large", "--case", case, "--optimizer", optimizer]
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [*command, "--threads", str(threads)], cwd=root, check=True, text=True, stdout=subprocess.PIPE
    )
    return Figure(**json.loads(done.stdout))


PROSE = """
One level, two evaluations, content and style of the same size, each case in a process of its own. *Allowed*
is what the engine was told that a painting may take. *Before* is the resident set with torch, the network
and the two pictures; *peak* the most ever resident (VmHWM). Bytes a pixel are what painting added to it.
The evaluation's seconds are those of the second one with the step before it; the whole call has targets and
resizing in it too. What the optimiser keeps grows with its history: ten L-BFGS pairs are in no step of
these but are in a real run (see [the engine](engine.md)).
"""


def table(figures: Sequence[Figure]) -> Table:
    """One row a case."""
    columns = (
        "network",
        "px",
        "optimiser",
        "arithmetic",
        "allowed, GiB",
        "tiled",
        "before, GB",
        "peak, GB",
        "bytes a pixel",
        "s an evaluation",
        "whole call, s",
    )
    rows = [
        [
            f"`{one.network}`",
            f"{one.width} x {one.height}",
            one.optimizer,
            one.dtype,
            "what is free" if one.allowed is None else f"{one.allowed:g}",
            "yes" if one.tiled else "no",
            f"{one.before / 1e9:.2f}",
            f"{one.peak / 1e9:.2f}",
            f"{one.bytes_a_pixel:.0f}",
            seconds(one.evaluation),
            seconds(one.whole),
        ]
        for one in figures
    ]
    return Table(columns, rows)


def section(options: argparse.Namespace) -> Section:
    """Measure all cases."""
    figures = [elsewhere(case, options.optimizer, options.threads) for case in options.cases]
    return Section(
        "Pictures larger than memory",
        machine.command("bench.large"),
        PROSE,
        machine.describe(options.threads),
        [table(figures)],
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--cases", nargs="+", metavar="NETWORK:SIZE[:GIB]", default=CASES)
    parser.add_argument(
        "--case", metavar="NETWORK:SIZE[:GIB]", help="measure one in this process, print JSON"
    )
    parser.add_argument("--optimizer", choices=["lbfgs", "adam"], default="lbfgs")
    options = parser.parse_args()
    if options.case:
        print(json.dumps(asdict(measure(options.case, options.optimizer, options.threads))))
        return
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
