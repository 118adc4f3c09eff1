import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor
from torchvision.models.vgg import cfgs, make_layers

from shared.spec import Spec
from worker.engine import BackboneUnavailableError, Engine, Style, WeightsCorruptError, backbones
from worker.engine.vgg import LAYOUTS

#: torchvision's own tables: configurations D and E of Simonyan and Zisserman 2015.
TORCHVISION = {"vgg19": "E", "vgg16": "D"}


def features_of(name: str) -> dict[str, Tensor]:
    """Random weights in torchvision's own layout, without the 400 MB of its classifier."""
    torch.manual_seed(0)
    modules = make_layers(cfgs[TORCHVISION[name]])
    return {f"features.{key}": value for key, value in modules.state_dict().items()}


def published(folder: Path, name: str, state: dict[str, Tensor]) -> Path:
    """Save as torchvision publishes: the first digits of the SHA-256 in the file's name."""
    draft = folder / "draft.pth"
    torch.save(state, draft)
    digest = hashlib.sha256(draft.read_bytes()).hexdigest()
    return draft.rename(folder / f"{name}-{digest[:8]}.pth")


@pytest.mark.parametrize("name", ["vgg19", "vgg16"])
def test_a_published_file_and_safetensors_hold_the_same_network_and_paint(
    name: str, tmp_path: Path, make_spec: Callable[..., Spec], photograph: Tensor, texture: Tensor
) -> None:
    state = features_of(name)
    folders = tmp_path / "published", tmp_path / "safetensors"
    for folder in folders:
        folder.mkdir()
    published(folders[0], name, state)
    save_file(state, folders[1] / f"{name}.safetensors")
    first, second = (backbones.load(name, folder).state_dict() for folder in folders)
    assert all(torch.equal(first[key], second[key]) for key in first | second)
    engine = Engine(folders[0], device="cpu", dtype="float32")
    assert name in engine.backbones()
    image = engine.stylize(photograph, [Style(texture)], make_spec(name, size=32, steps=2)).image
    assert bool(torch.isfinite(image).all())


def test_a_damaged_published_file_is_refused(tmp_path: Path) -> None:
    path = published(tmp_path, "vgg16", {"features.0.weight": torch.zeros(64, 3, 3, 3)})
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(WeightsCorruptError, match="SHA-256"):
        backbones.load("vgg16", tmp_path)


def test_weights_that_are_not_those_of_the_card_beside_them_are_refused(
    tmp_path: Path, weights_dir: Path
) -> None:
    data = (weights_dir / "compact.safetensors").read_bytes()
    (tmp_path / "compact.safetensors").write_bytes(data)
    card = tmp_path / "compact.json"
    card.write_text(json.dumps({"sha256": hashlib.sha256(data).hexdigest()}))
    assert backbones.load("compact", tmp_path).widths == LAYOUTS["compact"]
    card.write_text(json.dumps({"sha256": "0" * 64}))
    with pytest.raises(WeightsCorruptError, match="SHA-256"):
        backbones.load("compact", tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("data", [b"", b"no weights at all", b"<html>captive portal</html>" * 99])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, suffix: str, data: bytes) -> None:
    (tmp_path / f"vgg19{suffix}").write_bytes(data)
    with pytest.raises(WeightsCorruptError, match="cannot be read"):
        backbones.load("vgg19", tmp_path)


def test_a_pickle_that_would_run_code_is_refused_and_not_run(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[Path]]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"features.0.weight": Trap()}, tmp_path / "vgg19.pth")
    with pytest.raises(WeightsCorruptError):
        backbones.load("vgg19", tmp_path)
    assert not (tmp_path / "sprung").exists()


def test_another_network_s_weights_are_refused(tmp_path: Path) -> None:
    torch.save(features_of("vgg16"), tmp_path / "vgg19.pth")
    with pytest.raises(WeightsCorruptError, match=r"vgg19\.pth"):
        backbones.load("vgg19", tmp_path)


def test_absent_weights_are_named_with_what_to_run(tmp_path: Path) -> None:
    assert "vgg19" not in backbones.available(tmp_path)
    with pytest.raises(BackboneUnavailableError, match="weights fetch vgg19"):
        Engine(tmp_path, device="cpu").warm("vgg19")


def test_an_unknown_backbone_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BackboneUnavailableError, match="nasnet"):
        backbones.load("nasnet", tmp_path)


def test_an_unknown_backbone_cannot_be_warmed(engine: Engine) -> None:
    with pytest.raises(BackboneUnavailableError, match="nasnet"):
        engine.warm("nasnet")


def test_a_network_is_loaded_once_for_each_pooling(engine: Engine) -> None:
    engine.warm("compact")
    assert engine.features("compact") is engine.features("compact")
    assert engine.features("compact", "max") is not engine.features("compact")
