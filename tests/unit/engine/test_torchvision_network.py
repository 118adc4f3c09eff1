"""Torchvision's networks by named nodes, on random weights in torchvision's own format."""

import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from shared.backbones import BACKBONES, uncatalogued
from shared.spec import resolve
from worker.engine import (
    BackboneUnavailableError,
    Engine,
    Style,
    UnknownLayerError,
    WeightsCorruptError,
    backbones,
    calibration,
)
from worker.engine.torchvision_network import TorchvisionNetwork
from worker.engine.torchvision_nodes import TRACING, Skeleton, names, skeleton
from worker.engine.vgg import IMAGENET, LAYOUTS

CATALOGUED = [name for name in BACKBONES if name not in LAYOUTS]

#: A layer of each network, and how its plain model's modules are run up to it.
SHALLOW = {"resnet50": "layer2", "squeezenet1_1": "features.6", "convnext_tiny": "features.3"}

SHAPES = {
    "resnet50": {
        "relu": (64, 32, 48),
        "layer2": (512, 8, 12),
        "layer2.3.relu_2": (512, 8, 12),
        "layer4": (2048, 2, 3),
    },
    "squeezenet1_1": {"features.1": (64, 31, 47), "features.6": (256, 7, 11), "features.12": (512, 3, 5)},
    "convnext_tiny": {"features.0": (96, 16, 24), "features.3": (192, 8, 12), "features.7": (768, 2, 3)},
}


@pytest.fixture(scope="module", params=list(SHALLOW))
def plain(request: pytest.FixtureRequest) -> tuple[str, nn.Module]:
    return request.param, random_model(request.param)


def random_model(name: str) -> nn.Module:
    """A plain torchvision network as if trained: normalisations have statistics, branches weight."""
    torch.manual_seed(0)
    model = torchvision.models.get_model(name, weights=None).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    for parameter, values in model.named_parameters():
        if parameter.endswith(
            "layer_scale"
        ):  # ConvNeXt begins with a millionth, and its blocks would not show
            nn.init.constant_(values, 0.5)
    return model.requires_grad_(requires_grad=False)


def pictures() -> Tensor:
    torch.manual_seed(1)
    return torch.rand(2, 3, 64, 96)


def normalized(images: Tensor) -> Tensor:
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std))
    return (images - mean) / std


def run_up_to(model: nn.Module, layer: str, images: Tensor) -> Tensor:
    """The plain model's own forward pass, watched at a module by a hook."""
    seen: list[Tensor] = []
    with model.get_submodule(layer).register_forward_hook(lambda _module, _args, out: seen.append(out)):
        model(normalized(images))
    return seen[0]


def distance(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def test_taps_have_the_channels_and_the_size_of_their_nodes(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    network = TorchvisionNetwork(name, model.state_dict())
    taps = network.run(pictures(), list(SHAPES[name]), record=False).taps
    assert {layer: tuple(tap.shape) for layer, tap in taps.items()} == {
        layer: (2, *shape) for layer, shape in SHAPES[name].items()
    }
    assert not any(tap.requires_grad for tap in taps.values())


def test_taps_and_gradient_are_those_of_the_plain_model(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    layers = [SHALLOW[name], list(SHAPES[name])[-1]]
    network = TorchvisionNetwork(name, model.state_dict(), pooling="max", padding="zeros")
    run = network.run(pictures(), layers, record=True)
    images = pictures().requires_grad_()
    expected = [run_up_to(model, layer, images) for layer in layers]
    weights = [torch.randn_like(tap) for tap in expected]
    for layer, tap in zip(layers, expected, strict=True):
        assert distance(run.taps[layer], tap.detach()) < 1e-5
    gradient = run.backward(dict(zip(layers, weights, strict=True)))
    [wanted] = torch.autograd.grad(expected, images, weights)
    assert gradient.dtype == torch.float32
    assert distance(gradient, wanted) < 1e-5


def test_a_gradient_flows_inside_no_grad_and_for_some_of_the_taps(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    layer = SHALLOW[name]
    network = TorchvisionNetwork(name, model.state_dict())
    with torch.no_grad():
        both = network.run(pictures(), list(SHAPES[name]), record=True)
        one = network.run(pictures(), [layer], record=True)
        ones = {layer: torch.ones_like(one.taps[layer])}
        torch.testing.assert_close(both.backward(ones), one.backward(ones), rtol=1e-4, atol=1e-6)


def test_where_no_layer_counts_nothing_comes_back(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    run = TorchvisionNetwork(name, model.state_dict()).run(pictures(), [], record=True)
    assert torch.equal(run.backward({}), torch.zeros_like(pictures()))


def test_a_run_goes_back_once_and_only_if_it_was_recorded() -> None:
    network = TorchvisionNetwork("squeezenet1_1", random_model("squeezenet1_1").state_dict())
    run = network.run(pictures(), ["features.1"], record=True)
    ones = {"features.1": torch.ones_like(run.taps["features.1"])}
    run.backward(ones)
    with pytest.raises(RuntimeError, match="once"):
        run.backward(ones)
    with pytest.raises(RuntimeError, match="recorded"):
        network.run(pictures(), ["features.1"], record=False).backward(ones)


def test_nothing_behind_the_deepest_layer_is_run(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    network = TorchvisionNetwork(name, model.state_dict())
    ran: list[str] = []
    for path, module in network._model.named_modules():
        module.register_forward_pre_hook(lambda _module, _args, path=path: ran.append(path))
    network.run(pictures(), [SHALLOW[name]], record=False)
    assert any(path.startswith(SHALLOW[name]) for path in ran)
    deeper = {"resnet50": ("layer3", "layer4", "fc"), "squeezenet1_1": ("features.7", "classifier")}
    behind = deeper.get(name, ("features.4", "features.7", "classifier"))
    assert not [path for path in ran if path.startswith(behind)]


def test_bfloat16_comes_near_and_its_gradient_is_float32(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    layer = SHALLOW[name]
    exact = TorchvisionNetwork(name, model.state_dict()).run(pictures(), [layer], record=True)
    network = TorchvisionNetwork(name, model.state_dict()).to(torch.device("cpu"), torch.bfloat16)
    rough = network.run(pictures(), [layer], record=True)
    tap = rough.taps[layer]
    assert tap.dtype == torch.bfloat16
    assert tap.is_contiguous(memory_format=torch.channels_last)
    assert F.cosine_similarity(tap.float().flatten(), exact.taps[layer].flatten(), dim=0) > 0.99
    ones = torch.ones_like(exact.taps[layer])
    first, second = exact.backward({layer: ones}), rough.backward({layer: ones})
    assert second.dtype == torch.float32
    assert F.cosine_similarity(first.flatten(), second.flatten(), dim=0) > 0.95


def test_a_flat_picture_looks_flat_everywhere(plain: tuple[str, nn.Module]) -> None:
    """The picture's edge is repeated: nothing of it is seen, and no frame is painted."""
    name, model = plain
    network = TorchvisionNetwork(name, model.state_dict())
    flat = torch.full((1, 3, 96, 96), 0.7)
    for tap in network.run(flat, list(SHAPES[name]), record=False).taps.values():
        centre = tap[:, :, tap.shape[2] // 2, tap.shape[3] // 2, None, None]
        assert distance(tap, centre.expand_as(tap)) < 1e-4


def test_average_pooling_takes_the_place_of_max_pooling() -> None:
    state = random_model("resnet18").state_dict()
    averaged, greatest = (
        TorchvisionNetwork("resnet18", state, pooling=pooling) for pooling in ("avg", "max")
    )
    stem, pooled = (
        averaged.run(pictures(), [layer], record=False).taps[layer] for layer in ("relu", "maxpool")
    )
    wanted = F.avg_pool2d(stem, 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(pooled, wanted, rtol=1e-5, atol=1e-6)
    maximum = greatest.run(pictures(), ["maxpool"], record=False).taps["maxpool"]
    torch.testing.assert_close(maximum, F.max_pool2d(stem, 3, 2, 1), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [
        ("resnet18", "bn1", "relu"),
        ("densenet121", "features.norm5", "relu"),
        ("squeezenet1_1", "features.0", "features.1"),
    ],
)
def test_a_tap_before_a_relu_is_not_what_the_relu_makes_of_it(name: str, before: str, after: str) -> None:
    network = TorchvisionNetwork(name, random_model(name).state_dict())
    taps = network.run(pictures(), [before, after], record=False).taps
    assert float(taps[before].min()) < 0
    torch.testing.assert_close(taps[after], taps[before].relu())


@pytest.mark.parametrize("name", CATALOGUED)
def test_the_catalogue_s_layers_are_torchvision_s_and_stand_shallow_to_deep(name: str) -> None:
    layers = list(skeleton(name).layers)
    places = [layers.index(layer) for layer in BACKBONES[name].layers]
    assert places == sorted(places)


@pytest.mark.parametrize("name", [*SHALLOW, "densenet121", "alexnet"])
def test_the_least_side_is_the_least_that_every_layer_sees(name: str) -> None:
    network = TorchvisionNetwork(name, random_model(name).state_dict())
    side = network.least_side
    taps = network.run(torch.rand(1, 3, side, side), network.layers, record=False).taps
    assert all(min(tap.shape) >= 1 for tap in taps.values())
    if side > 1:
        with pytest.raises(RuntimeError, match=r"small|size|greater"):
            network.run(torch.rand(1, 3, side - 1, side - 1), network.layers, record=False)


def test_what_gives_no_map_is_no_layer_and_unknown_names_are_told() -> None:
    network = TorchvisionNetwork("resnet18", random_model("resnet18").state_dict())
    assert not {"x", "avgpool", "flatten", "fc"} & set(network.layers)
    with pytest.raises(UnknownLayerError, match=r"no layer layer9, fc here; there are layer\d") as caught:
        network.run(pictures(), ["layer1", "layer9", "fc"], record=False)
    assert caught.value.layers == ("layer9", "fc")
    assert isinstance(caught.value, ValueError)


def test_networks_that_take_one_size_only_are_no_backbones() -> None:
    assert {"resnet50", "swin_t", "regnet_y_400mf"} <= set(names())
    assert not [name for name in names() if "vit" in name]
    with pytest.raises(ValueError, match="vit_b_16"):
        skeleton("vit_b_16")


def test_a_network_runs_while_another_thread_loads_one() -> None:
    """torch.fx replaces the call of every module in the process while it traces."""
    network = TorchvisionNetwork("squeezenet1_1", random_model("squeezenet1_1").state_dict())
    # Drawn once: a network that is made draws numbers from the same source.
    shown = pictures()
    expected = network.run(shown, ["features.7"], record=False).taps["features.7"]
    thread = threading.Thread(target=lambda: [Skeleton("resnet18") for _ in locked()])
    thread.start()
    ran = 0
    while thread.is_alive() or not ran:
        found = network.run(shown, ["features.7"], record=False).taps["features.7"]
        assert torch.equal(found, expected)
        ran += 1
    thread.join()


def locked() -> Iterator[int]:
    """Three turns, each under the lock that `skeleton` takes; it would make one network once only."""
    for turn in range(3):
        with TRACING:
            yield turn


@pytest.fixture(scope="module")
def state() -> dict[str, Tensor]:
    return random_model("squeezenet1_1").state_dict()


def test_a_published_file_and_safetensors_hold_the_same_network(
    state: dict[str, Tensor], tmp_path: Path
) -> None:
    folders = tmp_path / "published", tmp_path / "safetensors"
    for folder in folders:
        folder.mkdir()
    torch.save(state, folders[0] / "draft")
    digest = hashlib.sha256((folders[0] / "draft").read_bytes()).hexdigest()
    (folders[0] / "draft").rename(folders[0] / f"squeezenet1_1-{digest[:8]}.pth")
    save_file(state, folders[1] / "squeezenet1_1.safetensors")
    taps = [
        backbones.load("squeezenet1_1", folder)
        .run(pictures(), ["features.7"], record=False)
        .taps["features.7"]
        for folder in folders
    ]
    assert torch.equal(*taps)
    assert all("squeezenet1_1" in backbones.available(folder) for folder in folders)


def test_a_network_outside_the_catalogue_is_found_by_its_file(tmp_path: Path) -> None:
    torch.save(random_model("shufflenet_v2_x0_5").state_dict(), tmp_path / "shufflenet_v2_x0_5.pth")
    for name in ("vit_b_16.pth", "mine.pth", "resnet34.json", "calibration-12345678.safetensors"):
        (tmp_path / name).touch()
    assert backbones.available(tmp_path) == ("compact", "shufflenet_v2_x0_5")
    network = backbones.load("shufflenet_v2_x0_5", tmp_path)
    assert network.run(pictures(), ["stage2"], record=False).taps["stage2"].shape == (2, 48, 8, 12)


@pytest.mark.parametrize("damage", ["missing", "shape", "surplus"])
def test_another_network_s_weights_are_refused_and_named(
    state: dict[str, Tensor], tmp_path: Path, damage: str
) -> None:
    key = "features.0.weight"
    changes = {"shape": {key: torch.zeros(1)}, "surplus": {"surprise": torch.zeros(1)}}.get(damage, {})
    kept = {name: value for name, value in state.items() if damage != "missing" or name != key}
    torch.save({**kept, **changes}, tmp_path / "squeezenet1_1.pth")
    wanted = "surprise" if damage == "surplus" else key
    with pytest.raises(WeightsCorruptError, match=rf"squeezenet1_1\.pth: {wanted}"):
        backbones.load("squeezenet1_1", tmp_path)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_file_that_holds_no_weights_is_refused(tmp_path: Path, suffix: str) -> None:
    (tmp_path / f"resnet50{suffix}").write_bytes(b"<html>captive portal</html>" * 99)
    with pytest.raises(WeightsCorruptError, match="cannot be read"):
        backbones.load("resnet50", tmp_path)


def test_absent_weights_are_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BackboneUnavailableError, match="weights fetch resnet50"):
        backbones.load("resnet50", tmp_path)
    with pytest.raises(BackboneUnavailableError, match=r"put resnet34\.pth there"):
        backbones.load("resnet34", tmp_path)
    with pytest.raises(BackboneUnavailableError, match="no backbone 'vit_b_16'"):
        backbones.load("vit_b_16", tmp_path)


def test_densenet_s_published_names_are_understood(tmp_path: Path) -> None:
    state = random_model("densenet121").state_dict()
    old = {
        key.replace(".norm1.", ".norm.1.").replace(".conv2.", ".conv.2."): value
        for key, value in state.items()
        if not key.endswith("num_batches_tracked")
    }
    assert old.keys() != state.keys()
    torch.save(old, tmp_path / "densenet121.pth")
    network = backbones.load("densenet121", tmp_path)
    expected = TorchvisionNetwork("densenet121", state)
    layer = "features.transition1.relu"
    found, wanted = (one.run(pictures(), [layer], record=False).taps[layer] for one in (network, expected))
    assert torch.equal(found, wanted)


def test_mnasnet_loads_without_the_version_that_only_pickles_carry(tmp_path: Path) -> None:
    save_file(random_model("mnasnet0_5").state_dict(), tmp_path / "mnasnet0_5.safetensors")
    assert "layers.8" in backbones.load("mnasnet0_5", tmp_path).layers


def test_layers_on_both_sides_of_zero_are_calibrated_by_their_size() -> None:
    network = TorchvisionNetwork("convnext_tiny", random_model("convnext_tiny").state_dict())
    layers = ["features.0", "features.3"]
    taps = network.run(calibration.pictures(), layers, record=False).taps
    assert float(taps["features.0"].min()) < 0
    means = calibration.means(taps)
    for layer in layers:
        sizes = taps[layer].abs().mean(dim=(0, 2, 3))
        floor = calibration.LEAST_SHARE * sizes.mean()
        torch.testing.assert_close(means[layer], sizes.clamp_min(floor))


def test_grids_and_strides_are_those_of_the_taps(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    network = TorchvisionNetwork(name, model.state_dict())
    images = torch.rand(1, 3, 101, 75)
    for layer, tap in network.run(images, list(SHAPES[name]), record=False).taps.items():
        assert network.grid(layer, 101, 75) == tap.shape[2:]
        assert abs(101 / network.stride(layer) - tap.shape[2]) < 2


def test_memory_grows_with_depth_and_shrinks_with_precision(plain: tuple[str, nn.Module]) -> None:
    name, model = plain
    network = TorchvisionNetwork(name, model.state_dict())
    first, *_, last = SHAPES[name]
    shallow, deep = network.bytes_a_pixel([first]), network.bytes_a_pixel([last])
    assert shallow < deep
    network.to(torch.device("cpu"), torch.bfloat16)
    assert network.bytes_a_pixel([last]) < 0.7 * deep


@pytest.mark.parametrize("name", [*SHALLOW, "regnet_y_400mf"])
def test_it_paints(name: str, tmp_path: Path, photograph: Tensor, texture: Tensor) -> None:
    """On the default layers, or outside the catalogue on named ones."""
    torch.save(random_model(name).state_dict(), tmp_path / f"{name}.pth")
    layers = {"content_layers": {"trunk_output.block2": 1.0}, "style_layers": {"stem": 1.0}}
    request = {"size": 64, "steps": 12, "pyramid": 1, **({} if name in BACKBONES else layers)}
    losses: list[float] = []
    outcome = Engine(tmp_path, device="cpu", dtype="float32").stylize(
        photograph,
        [Style(texture)],
        resolve(request, BACKBONES.get(name) or uncatalogued(name)),
        on_progress=lambda progress: losses.append(progress.losses["total"]),
    )
    assert outcome.image.shape == (3, 48, 64)
    assert bool(outcome.image.isfinite().all())
    assert min(losses) < 0.7 * losses[0]


def test_a_layer_that_a_network_outside_the_catalogue_lacks_stops_the_painting(
    tmp_path: Path, photograph: Tensor, texture: Tensor
) -> None:
    torch.save(random_model("regnet_y_400mf").state_dict(), tmp_path / "regnet_y_400mf.pth")
    request = {"size": 32, "content_layers": {"trunk_output.block2": 1.0}, "style_layers": {"block9": 1.0}}
    spec = resolve(request, uncatalogued("regnet_y_400mf"))
    with pytest.raises(UnknownLayerError, match="no layer block9"):
        Engine(tmp_path, device="cpu").stylize(photograph, [Style(texture)], spec)
