"""Runs style-transfer-pytorch on random weights and prints its iterations; started by `bench.peers`.

    python bench/peer_driver.py CHECKOUT CONTENT STYLE SIZE ITERATIONS DEVICE

Its own command downloads VGG-19's weights, so torchvision's constructor is made to return the same network
with random ones; and its package imports a web server, so the module that paints is imported without it.
Nothing of what it computes is changed.
"""

import importlib
import sys
import types
from pathlib import Path
from typing import Any

import torch
import torchvision
from PIL import Image


def random_vgg19(weights: object = None) -> Any:  # noqa: ARG001, ANN401 - torchvision's own signature
    """VGG-19 without its classifier, which nobody asks for and which is most of it."""
    features = torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs["E"])
    for module in features:
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(module.weight)
            torch.nn.init.zeros_(module.bias)  # type: ignore[arg-type] - VGG has biases
    return types.SimpleNamespace(features=features)


def main() -> None:
    """Paint one size from the content, as the project's own command does at its last scale."""
    checkout, content, style, size, iterations, device = sys.argv[1:]
    package = types.ModuleType("style_transfer")
    package.__path__ = [str(Path(checkout) / "style_transfer")]
    sys.modules["style_transfer"] = package
    torchvision.models.vgg19 = random_vgg19
    torch.manual_seed(0)
    transfer = importlib.import_module("style_transfer.style_transfer").StyleTransfer(devices=[device])
    pictures = [Image.open(path).convert("RGB") for path in (content, style)]

    def report(iterate: Any) -> None:  # noqa: ANN401 - its own class
        print(f"Iteration {iterate.i} / {iterate.i_max}", flush=True)

    transfer.stylize(
        pictures[0],
        pictures[1:],
        min_scale=int(size),
        end_scale=int(size),
        initial_iterations=int(iterations),
        callback=report,
    )


if __name__ == "__main__":
    main()
