"""Engines on small networks of known random weights, so that a test needs no trained file."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from shared.backbones import BACKBONES
from shared.spec import FULL_STRENGTH_SIZE, Spec, resolve
from worker.engine import Engine, backbones
from worker.engine.chain import Chain
from worker.engine.contract import Request
from worker.engine.features import Features
from worker.engine.level import Level, Subject
from worker.engine.objective import Objective
from worker.engine.statistics import Statistics
from worker.engine.vgg import LAYOUTS, VGG, Widths


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors gain nothing from threads, and a busy machine makes them wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def random_network() -> Callable[[Widths], VGG]:
    """Makes networks whose weights keep the activations' scale from layer to layer (He et al. 2015)."""
    return build_random


def build_random(widths: Widths) -> VGG:
    torch.manual_seed(0)
    network = VGG(widths)
    for name in network.convolutions:
        torch.nn.init.kaiming_normal_(network.get_submodule(name).weight)
        torch.nn.init.normal_(network.get_submodule(name).bias, std=0.1)
    return network.eval().requires_grad_(requires_grad=False)


@pytest.fixture(scope="session")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that offers `compact` with random weights."""
    folder = tmp_path_factory.mktemp("weights")
    save_file(dict(build_random(LAYOUTS["compact"]).state_dict()), folder / "compact.safetensors")
    return folder


@pytest.fixture
def engine(weights_dir: Path) -> Engine:
    """In float32, whatever the processor has, so that figures mean the same on every machine."""
    return Engine(weights_dir, device="cpu", dtype="float32")


@pytest.fixture
def make_spec() -> Callable[..., Spec]:
    def make(backbone: str = "compact", **fields: Any) -> Spec:
        request: Mapping[str, Any] = {"size": 64, "steps": 20, "pyramid": 1, **fields}
        # Small pictures stand for large ones here: with their style weight.
        spec = resolve({**request, "size": FULL_STRENGTH_SIZE}, BACKBONES[backbone])
        return spec.model_copy(update={"size": request["size"]})

    return make


@pytest.fixture
def photograph() -> Tensor:
    """Smooth forms with edges, (3, 48, 64)."""
    return waves(48, 64, frequency=0.15)


@pytest.fixture
def texture() -> Tensor:
    """A fine regular pattern, (3, 56, 56)."""
    return waves(56, 56, frequency=0.9)


def waves(height: int, width: int, frequency: float) -> Tensor:
    rows = torch.arange(height)[:, None] * frequency
    columns = torch.arange(width)[None] * frequency
    channels = [torch.sin(rows + k) * torch.cos(columns * (1 + k / 2)) for k in range(3)]
    picture = torch.stack(channels) / 2 + 0.5
    return torch.where(picture > 0.6, picture, picture * 0.5)


@pytest.fixture(scope="session")
def features(weights_dir: Path) -> Features:
    """The engine's own view of `compact`, in float32."""
    return Features(Chain(backbones.load("compact", weights_dir)))


@pytest.fixture
def objective_of(features: Features) -> Callable[..., Objective]:
    """Makes the objective of some requests at one size, seen whole or in tiles."""

    def make(requests: Sequence[Request], size: tuple[int, int], tile_side: int | None = None) -> Objective:
        level = Level(features, "random", size, max(size), tile_side, Statistics())
        return level.objective([Subject(request) for request in requests])

    return make
