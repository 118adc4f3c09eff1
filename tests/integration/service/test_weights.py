"""`vgg19` and `vgg16` through the whole house, on weights in torchvision's format that the test makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision

from client import Impasto
from deploy.local import House
from tests.integration.service.support import SECONDS, SMALL, picture
from tests.support.house import running_house

NAMES = ("vgg19", "vgg16")


@pytest.fixture(scope="module")
def stocked_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose weights folder holds random weights, saved as torchvision's files are."""
    weights = tmp_path_factory.mktemp("weights")
    for name in NAMES:
        _save_random(name, weights / f"{name}.pth")
    with running_house(tmp_path_factory.mktemp("stocked"), IMPASTO_WEIGHTS_DIR=str(weights)) as house:
        yield house


@pytest.mark.parametrize("name", NAMES)
def test_a_job_on(name: str, stocked_house: House):
    with Impasto(stocked_house.url) as impasto:
        offered = {backbone.name for backbone in impasto.backbones() if backbone.available}
        spec = {**SMALL, "backbone": name, "steps": 3}

        job = impasto.wait(impasto.submit(picture(), [picture(hue=50)], spec=spec).id, timeout=SECONDS)

    assert offered >= {"compact", *NAMES}
    assert job.spec["backbone"] == name
    assert job.output.width == SMALL["size"]


def _save_random(name: str, path: Path) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in getattr(torchvision.models, name)().state_dict().items()}
    features = {key: shape for key, shape in shapes.items() if key.startswith("features.")}
    torch.save({key: torch.randn(shape) * 0.03 for key, shape in features.items()}, path)
