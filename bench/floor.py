"""What an evaluation must cost at least on this machine: arithmetic and bytes, counted, over measured rates.

    python -m bench.floor [--networks compact vgg19] [--sizes 256 512] [--device cuda]

An evaluation is the network forward to the deepest layer asked for, the Gram matrices, and the gradient back
to the picture. Counted are

- multiply-adds: 9 C_in C_out a position for a convolution and N^2 for a Gram matrix, once forward and once
  backward (frozen weights have no gradient, and a Gram matrix is symmetric);
- bytes: every activation written once by the layer that makes it and read once by the next, every gradient
  likewise, and the weights each way. Poolings, biases, ReLUs and losses are taken as free, being fused.

Each layer takes, each way, the longer of its arithmetic at the matrix rate and its bytes at the bandwidth;
the floor is their sum. Winograd's or FFT's convolutions, which multiply less, could pass below it.
"""

import argparse
from collections.abc import Collection
from dataclasses import asdict, dataclass

from bench import machine
from bench.rates import Rates, measure
from bench.section import Section, Table, seconds
from shared.backbones import BACKBONES
from worker.engine.vgg import LAYOUTS

BYTES = {"float32": 4, "tf32": 4, "bfloat16": 2}
IMAGE_BYTES = 4
"""The picture and its gradient are float32 whatever the network computes in."""


@dataclass(frozen=True)
class Work:
    """One layer's work one way, forward or backward; the two are alike.

    Attributes:
        name: of the convolution, or of the tap whose Gram matrix it is.
        multiply_adds: how many.
        image: numbers of the picture that are read (forward) or written (backward).
        values: activations, or gradients of such, that are read and written.
        weights: numbers that are read.
    """

    name: str
    multiply_adds: int
    image: int = 0
    values: int = 0
    weights: int = 0

    def bytes(self, arithmetic: str) -> int:
        """Moved one way."""
        return IMAGE_BYTES * self.image + BYTES[arithmetic] * (self.values + self.weights)

    def seconds(self, arithmetic: str, rates: Rates) -> float:
        """At least, one way."""
        arithmetics = 2 * self.multiply_adds / rates.flops[arithmetic]
        return max(arithmetics, self.bytes(arithmetic) / rates.bandwidth)


@dataclass(frozen=True)
class Evaluation:
    """One evaluation of a network's default objective at one size."""

    layers: tuple[Work, ...]

    @property
    def multiply_adds(self) -> int:
        """Of both ways."""
        return 2 * sum(layer.multiply_adds for layer in self.layers)

    @property
    def flops(self) -> int:
        """Floating-point operations: a multiply-add is two."""
        return 2 * self.multiply_adds

    def bytes(self, arithmetic: str) -> int:
        """Moved, both ways."""
        return 2 * sum(layer.bytes(arithmetic) for layer in self.layers)

    def floor(self, arithmetic: str, rates: Rates) -> float:
        """Seconds at least."""
        return 2 * sum(layer.seconds(arithmetic, rates) for layer in self.layers)


def evaluation(network: str, height: int, width: int) -> Evaluation:
    """Count the work of `network` with its default layers at a picture of height x width."""
    backbone = BACKBONES[network]
    return Evaluation(tuple(_layers(network, height, width, backbone.content_layers, backbone.style_layers)))


def _layers(
    network: str, height: int, width: int, content: Collection[str], style: Collection[str]
) -> list[Work]:
    tapped = set(content) | set(style)
    found: list[Work] = []
    channels, read = 3, 0  # the first layer reads the picture, every other what the one before wrote
    for block, outputs in enumerate(LAYOUTS[network], start=1):
        for place, out in enumerate(outputs, start=1):
            name, positions = f"conv{block}_{place}", height * width
            multiply_adds, weights = 9 * channels * out * positions, 9 * channels * out
            image = 0 if found else 3 * positions
            found.append(Work(name, multiply_adds, image, read + out * positions, weights))
            if name in style:
                found.append(Work(f"{name} Gram", out**2 * positions))
            tapped.discard(name)
            if not tapped:
                return found
            channels, read = out, out * positions
        height, width = height // 2, width // 2
    raise ValueError(f"{network} has no layers {', '.join(sorted(tapped))}")


@dataclass(frozen=True)
class Figure:
    """The floor of one network at one size in one arithmetic."""

    network: str
    height: int
    width: int
    arithmetic: str
    multiply_adds: int
    bytes: int
    seconds: float


def figures(rates: Rates, networks: list[str], sizes: list[int]) -> list[Figure]:
    """The floors of contents of three to two."""
    found = []
    for network in networks:
        for size in sizes:
            height, width = size * 2 // 3, size
            one = evaluation(network, height, width)
            found += [
                Figure(
                    network,
                    height,
                    width,
                    arithmetic,
                    one.multiply_adds,
                    one.bytes(arithmetic),
                    one.floor(arithmetic, rates),
                )
                for arithmetic in rates.flops
            ]
    return found


PROSE = """
The rates are the fastest of a few sizes and tries of `torch.mm` and of a copy or triad of large tensors.
The floor of an evaluation (network forward to conv5_1, Gram matrices, gradient back to the picture) follows
layer by layer: the longer of its multiply-adds at the matrix rate and of its bytes at the bandwidth, with
every activation written once and read once each way. Other tables give their seconds as shares of this
floor, measured anew in their own run: 1.00 would be a machine that does nothing else.
"""


def section(options: argparse.Namespace) -> Section:
    """Measure and count."""
    with machine.threads(options.threads):
        rates = measure(options.device, options.side)
    found = figures(rates, options.networks, options.sizes)
    return Section(
        "The floor",
        machine.command("bench.floor"),
        PROSE,
        machine.describe(options.threads, options.device),
        [rates_table(rates), floors_table(found)],
        {"rates": asdict(rates), "floors": [asdict(figure) for figure in found]},
    )


def rates_table(rates: Rates) -> Table:
    """What was measured."""
    rows = [[f"matrix product, {name}", f"{rate / 1e9:.0f} GFLOP/s"] for name, rate in rates.flops.items()]
    return Table(("rate", "measured"), [*rows, ["memory", f"{rates.bandwidth / 1e9:.1f} GB/s"]])


def floors_table(found: list[Figure]) -> Table:
    """What was counted."""
    columns = ("network", "px", "arithmetic", "10^9 multiply-adds", "MB moved", "floor, s")
    rows = [
        [
            f"`{one.network}`",
            f"{one.width} x {one.height}",
            one.arithmetic,
            f"{one.multiply_adds / 1e9:.1f}",
            f"{one.bytes / 1e6:.0f}",
            seconds(one.seconds),
        ]
        for one in found
    ]
    return Table(columns, rows)


def main() -> None:
    """Measure, count and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--networks", nargs="+", choices=sorted(LAYOUTS), default=["compact", "vgg19"])
    parser.add_argument("--sizes", type=int, nargs="+", default=[256, 512])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--side", type=int, help="largest matrix to try, for a quick look")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
