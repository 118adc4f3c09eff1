"""Torchvision's networks through the whole house, on weights in its format that the test makes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision

from client import Impasto, JobFailed
from deploy.local import House
from tests.integration.service.support import SECONDS, SMALL, picture
from tests.support.house import running_house

NAMES = ("vgg19", "vgg16")
#: It is not in the catalogue.
OTHER = "squeezenet1_0"


@pytest.fixture(scope="module")
def stocked_house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    """A house whose weights folder holds random weights, saved as torchvision's files are."""
    weights = tmp_path_factory.mktemp("weights")
    for name in NAMES:
        _save_random(name, weights / f"{name}.pth")
    torch.save(torchvision.models.squeezenet1_0().state_dict(), weights / f"{OTHER}.pth")
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


def test_a_network_outside_the_catalogue_paints_on_named_layers(stocked_house: House):
    layers = {"content_layers": {"features.6": 1.0}, "style_layers": {"features.1": 0.5, "features.4": 0.5}}
    with Impasto(stocked_house.url) as impasto:
        spec = {**SMALL, "backbone": OTHER, "steps": 3, **layers}
        job = impasto.wait(impasto.submit(picture(), [picture(hue=50)], spec=spec).id, timeout=SECONDS)
    assert job.output.width == SMALL["size"]


def test_a_layer_that_only_the_painter_can_tell_is_wrong_fails_the_job_with_its_field(stocked_house: House):
    layers = {"content_layers": {"features.6": 1.0}, "style_layers": {"features.99": 1.0}}
    with Impasto(stocked_house.url) as impasto:
        spec = {**SMALL, "backbone": OTHER, "steps": 3, **layers}
        submitted = impasto.submit(picture(), [picture(hue=50)], spec=spec)
        with pytest.raises(JobFailed) as failed:
            impasto.wait(submitted.id, timeout=SECONDS)
        error = impasto.get(submitted.id).raw["error"]
    assert "no layer features.99" in str(failed.value)
    assert (error["code"], error["pointer"]) == ("invalid_request", "/spec/style_layers")


def _save_random(name: str, path: Path) -> None:
    torch.manual_seed(0)
    with torch.device("meta"):
        shapes = {k: v.shape for k, v in getattr(torchvision.models, name)().state_dict().items()}
    features = {key: shape for key, shape in shapes.items() if key.startswith("features.")}
    torch.save({key: torch.randn(shape) * 0.03 for key, shape in features.items()}, path)
