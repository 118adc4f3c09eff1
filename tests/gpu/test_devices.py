"""Other devices paint what the CPU paints, within what another order of summation allows."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from shared.backbones import BACKBONES
from shared.spec import resolve
from worker.engine import Engine, Outcome, Style
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
    here, there = (paint(Engine(weights_dir, name), 2, "lbfgs") for name in ("cpu", device))
    assert there.device.startswith(device)
    assert there.losses["total"] == pytest.approx(here.losses["total"], rel=1e-3)
    torch.testing.assert_close(there.image, here.image, rtol=0, atol=2e-2)


@pytest.mark.parametrize("device", [CUDA, MPS])
@pytest.mark.parametrize("optimizer", ["lbfgs", "adam"])
def test_a_device_gets_as_far_as_the_cpu_does(device: str, optimizer: str, weights_dir: Path) -> None:
    here, there = (paint(Engine(weights_dir, name), 60, optimizer) for name in ("cpu", device))
    assert there.losses["total"] == pytest.approx(here.losses["total"], rel=0.05)


@pytest.mark.parametrize("device", [CUDA])
def test_bfloat16_gets_nearly_as_far_as_float32(device: str, weights_dir: Path) -> None:
    full, half = (paint(Engine(weights_dir, device, dtype), 60, "lbfgs") for dtype in ("float32", "bfloat16"))
    assert half.dtype == "bfloat16"
    assert half.losses["total"] < 1.2 * full.losses["total"]
