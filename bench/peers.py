"""Other projects' seconds an evaluation, beside the engine's in the same run.

    python -m bench.peers --peers DIR [--size 512]

DIR holds checkouts of neural-style-pt (ProGamerGov) and, if wanted, style-transfer-pytorch (crowsonkb). Each
runs unchanged, in a process of its own, with as many threads as the engine, on random weights: speed does not
depend on values. The time comes from the lines that it prints after each iteration. Peers and engine take
turns, and medians over the rounds are given.
"""

import argparse
import os
import re
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from bench import machine
from bench.inputs import Pair, noise, random_state, random_weights
from bench.painting import one_level, timed
from bench.section import Section, Table, ratio, seconds
from bench.stopwatch import Mark, Stopwatch, pace
from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Style
from worker.engine.files import encode
from worker.engine.vgg import LAYOUTS

NEURAL_STYLE, STYLE_TRANSFER = "neural-style-pt", "style-transfer-pytorch"
ITERATION = re.compile(r"^Iteration (\d+) / \d+")
RECIPE_ITERATIONS = 1000
"""neural-style-pt's default."""

EVALUATIONS = {"compact": 8, "vgg19": 3}
"""The engine's timed evaluations in one of its turns."""


class PeerError(Exception):
    """A peer's process failed or printed no iterations; carries the end of its output."""


def marks(lines: Iterable[str], clock: Callable[[], float]) -> Iterator[Mark]:
    """The iterations among a peer's lines, each with the second at which its line came."""
    for line in lines:
        found = ITERATION.match(line)
        if found:
            yield Mark(int(found[1]), clock())


def run(command: list[str], folder: Path, threads: int) -> float:
    """Seconds an iteration of a peer's process, what precedes its first line left out.

    Raises:
        PeerError: it failed.
    """
    count = str(threads)
    environment = os.environ | {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "PYTHONUNBUFFERED": "1",
    }
    clock = Stopwatch()
    said: list[str] = []

    def heard(lines: Iterable[str]) -> Iterator[str]:
        for line in lines:
            said.append(line)
            yield line

    with subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as process:
        assert process.stdout is not None
        found = list(marks(heard(process.stdout), clock.seconds))
    try:
        if process.returncode == 0:
            return pace(found)
    except ValueError:
        pass
    raise PeerError(f"{Path(command[1]).name} ended with {process.returncode}:\n{''.join(said[-20:])}")


@contextmanager
def workplace(pair: Pair) -> Iterator[Path]:
    """A folder with what the peers read: the pair as files, and VGG-19's weights at random."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "content.png").write_bytes(encode(pair.content, "png", 0))
        (folder / "style.png").write_bytes(encode(pair.style, "png", 0))
        torch.save(torchvision_state(), folder / "vgg19.pth")
        yield folder


def torchvision_state() -> dict[str, torch.Tensor]:
    """Random weights of VGG-19's convolutions under torchvision's names."""
    state = random_state("vgg19")
    renamed: dict[str, torch.Tensor] = {}
    index = 0
    for block, outputs in enumerate(LAYOUTS["vgg19"], start=1):
        for place in range(1, len(outputs) + 1):
            for part in ("weight", "bias"):
                renamed[f"features.{index}.{part}"] = state[f"conv{block}_{place}.{part}"]
            index += 2
        index += 1
    return renamed


def neural_style(
    checkout: Path, folder: Path, size: int, iterations: int, threads: int, device: str, every: int = 1
) -> float:
    """Seconds an iteration of neural-style-pt's default recipe.

    `-disable_check` lets the weights' file go without the classifier, which is never run. A GPU's peer prints
    seldom (`every`), since each line waits for the device.
    """
    on = ["-gpu", "c"] if device == "cpu" else ["-gpu", "0", "-backend", "cudnn", "-cudnn_autotune"]
    files = ["-content_image", "content.png", "-style_image", "style.png", "-output_image", "out.png"]
    count = ["-num_iterations", str(iterations), "-print_iter", str(every), "-save_iter", "0"]
    # A relative path: the script guesses the network from the whole name.
    weights = ["-model_file", "vgg19.pth", "-disable_check", "-image_size", str(size)]
    script = str(checkout / "neural_style.py")
    return run([sys.executable, script, *on, *files, *count, *weights], folder, threads)


def style_transfer(
    checkout: Path, folder: Path, size: int, iterations: int, threads: int, device: str
) -> float:
    """Seconds an iteration of style-transfer-pytorch at its last scale."""
    driver = str(Path(__file__).with_name("peer_driver.py"))
    arguments = [str(checkout), "content.png", "style.png", str(size), str(iterations), device]
    return run([sys.executable, driver, *arguments], folder, threads)


@dataclass(frozen=True)
class Figures:
    """Medians, in seconds.

    Attributes:
        iterations: of each peer that was there, one iteration.
        evaluations: the engine's, by network, one evaluation.
        job: the engine's default job from the call to the picture.
        dtype: the engine's arithmetic. job_evaluations: how many the default job has.
    """

    iterations: dict[str, float]
    evaluations: dict[str, float]
    job: float
    dtype: str
    job_evaluations: int

    @property
    def recipe(self) -> float:
        """neural-style-pt's default recipe, extrapolated.

        Its history of 100 is not yet full in the sample, so this is a little less than it would take.
        """
        return RECIPE_ITERATIONS * self.iterations[NEURAL_STYLE]


def compare(options: argparse.Namespace) -> Figures:
    """Let peers and engine take turns."""
    pair = noise(options.size)
    checkout = options.peers.resolve()
    job = resolve({"size": options.size, "steps": options.steps}, BACKBONES["compact"])
    found: dict[str, list[float]] = {}
    with workplace(pair) as folder, random_weights("compact", "vgg19") as weights:
        engine = Engine(weights, device="cpu", threads=options.threads)
        for network in EVALUATIONS:
            engine.warm(network)

        def peer(name: str, function: Callable[..., float]) -> None:
            if (checkout / name).is_dir():
                it = function(
                    checkout / name, folder, options.size, options.iterations, options.threads, "cpu"
                )
                found.setdefault(name, []).append(it)

        for _ in range(options.rounds):
            for name, function in ((NEURAL_STYLE, neural_style), (STYLE_TRANSFER, style_transfer)):
                peer(name, function)
                for network, count in EVALUATIONS.items():
                    taken, _ = timed(engine, pair, one_level(network, options.size, count + 1))
                    found.setdefault(network, []).append(taken)
            outcome = engine.stylize(pair.content, [Style(pair.style)], job)
            found.setdefault("job", []).append(outcome.seconds)
    medians = {name: statistics.median(times) for name, times in found.items()}
    return Figures(
        {name: medians[name] for name in (NEURAL_STYLE, STYLE_TRANSFER) if name in medians},
        {name: medians[name] for name in EVALUATIONS},
        medians["job"],
        outcome.dtype,
        outcome.evaluations,
    )


PROSE = """
At 512 px (content 512 x 341, style 512 x 512), random weights, the same number of threads, in turns;
medians over the rounds. neural-style-pt (ProGamerGov) runs its default recipe (VGG-19, max pooling, L-BFGS,
history 100) for some iterations, and its time for the recipe's 1000 is extrapolated from them;
style-transfer-pytorch (crowsonkb) runs its defaults (VGG-19, max pooling, Adam, Wasserstein-2 style loss)
at the last scale only. Peers are run for seconds an iteration only. The default job is the engine's whole
painting with `compact`, targets and resizing included. Not run: gordicaleksa's
pytorch-neural-style-transfer, which needs OpenCV and downloads its weights.
"""


def tables(figures: Figures) -> list[Table]:
    """Evaluations, and whole jobs."""
    evaluations = [
        [
            peer,
            seconds(theirs),
            f"`{network}` ({figures.dtype})",
            seconds(ours),
            ratio(ours / theirs),
        ]
        for peer, theirs in figures.iterations.items()
        for network, ours in figures.evaluations.items()
    ]
    found = [Table(("peer", "s an iteration", "engine", "s an evaluation", "ratio"), evaluations)]
    if NEURAL_STYLE in figures.iterations:
        row = [
            f"{figures.recipe:.0f}",
            f"{figures.job:.1f}",
            str(figures.job_evaluations),
            f"1/{figures.recipe / figures.job:.0f}",
        ]
        columns = ("neural-style-pt's recipe, s (extrapolated)", "default job, s", "evaluations", "ratio")
        found.append(Table(columns, [row]))
    return found


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    with machine.threads(options.threads):
        figures = compare(options)
    return Section(
        "Other projects",
        machine.command("bench.peers"),
        PROSE,
        machine.describe(options.threads),
        tables(figures),
        asdict(figures),
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--peers", type=Path, required=True, help="folder with the checkouts")
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--iterations", type=int, default=15, help="of a peer in one of its turns")
    parser.add_argument("--steps", type=int, help="of the default job, for a quick look")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
