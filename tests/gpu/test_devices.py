"""Other devices paint what the CPU paints, within what another order of summation allows."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Outcome, Style, images, loop
from worker.engine.adam import Adam
from worker.engine.contract import Request
from worker.engine.lbfgs import LBFGS
from worker.engine.level import Level, Subject
from worker.engine.loop import Loop
from worker.engine.statistics import Statistics
from worker.engine.vgg import LAYOUTS, VGG

CUDA = pytest.param(
    "cuda",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device on this machine"),
    ],
)
MPS = pytest.param(
    "mps",
    marks=[
        pytest.mark.gpu,
        pytest.mark.skipif(not torch.backends.mps.is_available(), reason="no Apple GPU on this machine"),
    ],
)


@pytest.fixture(scope="module")
def weights_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    network = VGG(LAYOUTS["compact"])
    for name in network.convolutions:
        torch.nn.init.kaiming_normal_(network.get_submodule(name).weight)
    folder = tmp_path_factory.mktemp("weights")
    save_file(dict(network.state_dict()), folder / "compact.safetensors")
    return folder


def paint(engine: Engine, steps: int, optimizer: str) -> Outcome:
    generator = torch.Generator().manual_seed(1)
    content, style = (torch.rand(3, 60, 80, generator=generator) for _ in range(2))
    request = {"size": 128, "steps": steps, "pyramid": 2, "init": "noise", "optimizer": optimizer}
    return engine.stylize(content, [Style(style)], resolve(request, BACKBONES["compact"]))


@pytest.mark.parametrize("device", [CUDA, MPS])
def test_a_device_starts_as_the_cpu_does(device: str, weights_dir: Path) -> None:
    here, there = (paint(Engine(weights_dir, name, "float32"), 2, "lbfgs") for name in ("cpu", device))
    assert there.device.startswith(device)
    assert there.losses["total"] == pytest.approx(here.losses["total"], rel=1e-3)
    torch.testing.assert_close(there.image, here.image, rtol=0, atol=2e-2)


@pytest.mark.parametrize("device", [CUDA, MPS])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_device_gets_as_far_as_the_cpu_does(device: str, optimizer: str, weights_dir: Path) -> None:
    here, there = (paint(Engine(weights_dir, name, "float32"), 60, optimizer) for name in ("cpu", device))
    assert there.losses["total"] == pytest.approx(here.losses["total"], rel=0.05)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("dtype", ["tf32", "bfloat16"])
def test_a_lower_precision_gets_nearly_as_far_as_float32(device: str, dtype: str, weights_dir: Path) -> None:
    full, low = (paint(Engine(weights_dir, device, name), 60, "lbfgs") for name in ("float32", dtype))
    assert low.dtype == dtype
    assert low.losses["total"] < 1.2 * full.losses["total"]


def requests(steps: int, optimizer: str, size: int = 96, batch: int = 3) -> list[Request]:
    """Pictures of one size with a style each."""
    generator = torch.Generator().manual_seed(1)
    fields = {"size": size, "steps": steps, "pyramid": 1, "optimizer": optimizer}
    spec = resolve(fields, BACKBONES["compact"])
    pictures = [[torch.rand(3, 60, 80, generator=generator) for _ in range(2)] for _ in range(batch)]
    return [Request(content, [Style(style)], spec) for content, style in pictures]


def loop_of(engine: Engine, of: list[Request], tile_side: int | None = None) -> Loop:
    """The loop that a painting of these requests runs, at their own size."""
    size = images.size_for(of[0].content, of[0].spec.size)
    features = engine.features("compact")
    level = Level(features, "random", size, max(size), tile_side, Statistics())
    x = torch.stack([images.resize(one.content, size) for one in of]).to(engine.device)
    optimizer = Adam(x) if of[0].spec.optimizer == "adam" else LBFGS(x)
    return Loop(level.objective([Subject(one) for one in of]), optimizer)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("tile_side", [None, 32])
def test_a_replayed_graph_does_what_eager_steps_do(
    device: str, optimizer: str, tile_side: int | None, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine(weights_dir, device, "float32")
    recorded = loop_of(engine, requests(1, optimizer), tile_side)
    monkeypatch.setattr(loop, "EAGER", 2**30)
    eager = loop_of(engine, requests(1, optimizer), tile_side)
    for _ in range(12):
        recorded.advance()
        eager.advance()
        # Atomic sums come in any order, and L-BFGS makes up to ten times the difference of it a step.
        torch.testing.assert_close(recorded.terms[:, 0], eager.terms[:, 0], rtol=1e-2, atol=0)
    assert recorded._graph is not None
    assert eager._graph is None
    torch.testing.assert_close(recorded.optimizer.x, eager.optimizer.x, rtol=0, atol=5e-2)


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_graph_is_recorded_anew_when_a_picture_leaves(
    device: str, optimizer: str, weights_dir: Path
) -> None:
    stepped = loop_of(Engine(weights_dir, device, "float32"), requests(1, optimizer))
    for _ in range(6):
        stepped.advance()
    stepped.keep([0, 2])
    before = stepped.terms[:, 0].clone()
    for _ in range(20):
        stepped.advance()
    assert stepped.terms.shape[0] == 2
    assert bool((stepped.best_terms[:, 0] < before).all())


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_the_loop_never_waits_for_the_device(
    device: str, optimizer: str, dtype: str, weights_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loop, "EAGER", 2**30)
    stepped = loop_of(Engine(weights_dir, device, dtype), requests(1, optimizer))
    stepped.advance()
    torch.cuda.set_sync_debug_mode("error")
    try:
        for _ in range(3):
            stepped.advance()
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert bool(torch.isfinite(stepped.terms).all())


@pytest.mark.parametrize("device", [CUDA])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_batch_gets_where_its_pictures_get_alone(device: str, optimizer: str, weights_dir: Path) -> None:
    engine, of = Engine(weights_dir, device, "float32"), requests(24, optimizer)
    for request, together in zip(of, engine.stylize_batch(of), strict=True):
        assert isinstance(together, Outcome)
        alone = engine.stylize(request.content, request.styles, request.spec)
        assert together.losses["total"] == pytest.approx(alone.losses["total"], rel=0.05)


@pytest.mark.parametrize("device", [CUDA])
def test_a_tiled_gradient_is_the_whole_one(device: str, weights_dir: Path) -> None:
    engine, of = Engine(weights_dir, device, "float32"), requests(1, "adam", size=256, batch=1)
    whole, tiled = (loop_of(engine, of, side) for side in (None, 64))
    x = torch.rand_like(whole.optimizer.x)
    one, other = (each._objective(x) for each in (whole, tiled))
    torch.testing.assert_close(other.terms, one.terms, rtol=1e-4, atol=1e-7)
    assert float((other.gradient - one.gradient).norm() / one.gradient.norm()) < 1e-4


@pytest.mark.parametrize("device", [CUDA])
def test_too_little_device_memory_is_met_with_tiles(device: str, weights_dir: Path) -> None:
    # Given an engine that believes it has room, on a device that gives half of what is needed
    side = 2048
    request = requests(2, "adam", size=side, batch=1)[0]
    engine = Engine(weights_dir, device, "float32", memory_bytes=2**60)
    layers = tuple({**(request.spec.content_layers or {}), **(request.spec.style_layers or {})})
    a_pixel = engine.features("compact").network.bytes_a_pixel(layers)
    _, total = torch.cuda.mem_get_info()
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(min(1.0, 0.5 * side * side * 0.75 * a_pixel / total))
    try:
        outcome = engine.stylize(request.content, request.styles, request.spec)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert outcome.tiled
    assert bool(torch.isfinite(outcome.image).all())
