"""How fast the engine paints: seconds an evaluation and a picture, beside a bare baseline in the same run.

    python bench/engine.py [--json] [--threads N] [--sizes 256 512] [--networks compact vgg19]

The baseline is the same network in the textbook way: autograd, a Gram matrix a layer, `torch.optim.LBFGS`,
one evaluation a step. Engine and baseline take turns, so that both meet the same noise; medians are given.
Weights are random: they cost what trained ones cost.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from shared.backbones import BACKBONES, GATYS_CONTENT, GATYS_STYLE
from shared.spec import resolve
from worker.engine import Engine, Progress, Style
from worker.engine.vgg import LAYOUTS, VGG

EVALUATIONS = {"compact": 6, "vgg19": 3}
"""Timed evaluations a round; each round is preceded by one that is not timed."""
ROUNDS = 3
PICTURE_NETWORK = "compact"
"""The network whose whole pictures are painted; those of larger ones are left to a larger machine."""


@dataclass(frozen=True)
class Figure:
    """One line of the result. Seconds are medians; the ratio is engine to baseline."""

    network: str
    size: int
    engine_seconds: float
    baseline_seconds: float
    ratio: float
    picture_seconds: float | None


def pictures(size: int) -> tuple[Tensor, Tensor]:
    """A content of three to two and a square style."""
    generator = torch.Generator().manual_seed(0)
    return torch.rand(3, size * 2 // 3, size, generator=generator), torch.rand(
        3, size, size, generator=generator
    )


@contextmanager
def weights(network: str) -> Iterator[Path]:
    """A folder with random weights that keep the activations' scale."""
    torch.manual_seed(0)
    module = VGG(LAYOUTS[network])
    for name in module.convolutions:
        torch.nn.init.kaiming_normal_(module.get_submodule(name).weight)
    with tempfile.TemporaryDirectory() as folder:
        save_file(dict(module.state_dict()), Path(folder) / f"{network}.safetensors")
        yield Path(folder)


def engine_times(engine: Engine, network: str, size: int, evaluations: int) -> list[float]:
    """Seconds of each of the engine's evaluations at full size, its optimiser's step included."""
    content, style = pictures(size)
    spec = resolve({"size": size, "steps": evaluations + 1, "pyramid": 1}, BACKBONES[network])
    marks: list[float] = []

    def mark(_: Progress) -> None:
        marks.append(time.perf_counter())

    engine.stylize(content, [Style(style)], spec, mark)
    return [after - before for before, after in pairwise(marks)]


def baseline_times(network: VGG, size: int, evaluations: int) -> list[float]:
    """The same for the textbook loop."""
    content, style = (picture[None] for picture in pictures(size))
    content_layers = [name.replace("conv", "relu") for name in GATYS_CONTENT]
    style_layers = [name.replace("conv", "relu") for name in GATYS_STYLE]
    with torch.no_grad():
        wanted = network(content, content_layers)
        grams = {name: textbook_gram(found) for name, found in network(style, style_layers).items()}
    x = content.clone().requires_grad_()
    optimizer = torch.optim.LBFGS([x], max_iter=1, history_size=10)

    def closure() -> Tensor:
        optimizer.zero_grad()
        found = network(x, content_layers + style_layers)
        loss = sum((found[name] - wanted[name]).square().mean() for name in content_layers)
        loss = loss + 1e-3 * sum(
            (textbook_gram(found[name]) - grams[name]).square().mean() for name in style_layers
        )
        loss.backward()
        return loss

    seconds = []
    for _ in range(evaluations + 1):
        begun = time.perf_counter()
        optimizer.step(closure)
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]


def textbook_gram(features: Tensor) -> Tensor:
    """F F^T / M of (1, N, H, W)."""
    flat = features[0].flatten(1)
    return flat @ flat.T / flat.shape[1]


def picture_seconds(engine: Engine, network: str, size: int) -> float:
    """Seconds of one picture on the defaults, resizing and targets included."""
    content, style = pictures(size)
    spec = resolve({"size": size}, BACKBONES[network])
    return engine.stylize(content, [Style(style)], spec).seconds


def measure(network: str, size: int, *, whole_picture: bool) -> Figure:
    """One network at one size."""
    ours: list[float] = []
    theirs: list[float] = []
    with weights(network) as folder:
        engine = Engine(folder, device="cpu")
        plain = engine.warm(network).network
        for _ in range(ROUNDS):
            ours += engine_times(engine, network, size, EVALUATIONS[network])
            theirs += baseline_times(plain, size, EVALUATIONS[network])
        whole = picture_seconds(engine, network, size) if whole_picture else None
    our_median, their_median = statistics.median(ours), statistics.median(theirs)
    return Figure(network, size, our_median, their_median, our_median / their_median, whole)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    parser.add_argument("--threads", type=int, default=0, help="torch's CPU threads; 0 leaves them")
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--networks", nargs="+", choices=sorted(EVALUATIONS), default=["compact", "vgg19"])
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    figures = [
        measure(network, size, whole_picture=network == PICTURE_NETWORK)
        for network in options.networks
        for size in options.sizes
    ]
    machine = {"cores": os.cpu_count(), "threads": torch.get_num_threads(), "torch": torch.__version__}
    if options.json:
        print(json.dumps({"machine": machine, "figures": [asdict(figure) for figure in figures]}, indent=2))
        return
    print(", ".join(f"{value} {name}" for name, value in machine.items()))
    print(f"{'network':8} {'px':>5} {'s/evaluation':>13} {'baseline':>9} {'ratio':>6} {'s/picture':>10}")
    for figure in figures:
        whole = f"{figure.picture_seconds:10.1f}" if figure.picture_seconds is not None else f"{'-':>10}"
        print(
            f"{figure.network:8} {figure.size:5} {figure.engine_seconds:13.3f} "
            f"{figure.baseline_seconds:9.3f} {figure.ratio:6.2f} {whole}"
        )


if __name__ == "__main__":
    main()
