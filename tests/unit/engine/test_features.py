"""Calibration, and pictures too narrow for the network."""

import pytest
import torch

from shared.backbones import BACKBONES
from worker.engine import calibration
from worker.engine.chain import Chain
from worker.engine.features import Features, at_least, fold_back
from worker.engine.vgg import LAYOUTS, VGG
from worker.engine.view import View

LAYERS = BACKBONES["compact"].layers


def test_over_the_calibration_set_every_live_channel_averages_one(features: Features) -> None:
    taps = features.run(calibration.pictures(), LAYERS).taps
    for layer in LAYERS:
        scale = features.scales([layer])[layer]
        means = (taps[layer] * scale.view(-1, 1, 1)).mean(dim=(0, 2, 3))
        live = 1 / scale > (1 / scale).min() * 1.01
        torch.testing.assert_close(means[live], torch.ones_like(means[live]), rtol=1e-3, atol=1e-3)
        assert bool((means < 1.01).all())


def test_calibrated_by_layer_channels_keep_their_proportions_and_the_layer_averages_one(
    features: Features,
) -> None:
    taps = features.run(calibration.pictures(), LAYERS).taps
    for layer, scale in features.scales(LAYERS, "layer").items():
        assert len(scale.unique()) == 1
        # Below 1 by what the floor of dark channels adds to the layer's mean.
        assert 0.9 < float(scale[0] * taps[layer].mean()) < 1.001


def test_the_calibration_set_is_the_same_every_time_and_varied() -> None:
    first, second = calibration.pictures(), calibration.pictures()
    assert torch.equal(first, second)
    assert 0 <= float(first.min()) <= float(first.max()) <= 1
    assert float(first.std()) > 0.2


def test_a_dead_channel_is_not_amplified_and_a_dead_network_does_no_harm() -> None:
    network = VGG(LAYOUTS["compact"]).requires_grad_(requires_grad=False)
    with torch.no_grad():
        network.get_submodule("conv1_1").weight[3] = 0
        network.get_submodule("conv1_1").bias[3] = -1
        network.get_submodule("conv2_1").weight.zero_()
        network.get_submodule("conv2_1").bias.zero_()
    scales = Features(Chain(network)).scales(["conv1_1", "conv2_1"])
    assert bool(torch.isfinite(scales["conv1_1"]).all())
    assert float(scales["conv1_1"][3]) == pytest.approx(float(scales["conv1_1"].max()))
    torch.testing.assert_close(scales["conv2_1"], torch.ones(32))


def test_a_layer_is_measured_once(features: Features) -> None:
    measured: list[str] = []

    def means(network: Chain, layers: list[str]) -> dict[str, torch.Tensor]:
        measured.extend(layers)
        return calibration.channel_means(network, layers)

    counted = Features(features.network, means)
    counted.scales(["conv1_1"])
    counted.scales(["conv1_1", "conv2_1"], "layer")
    counted.scales(["conv2_1"])
    assert measured == ["conv1_1", "conv2_1"]


def test_a_name_means_the_features_after_its_relu(features: Features) -> None:
    tap = features.run(torch.rand(1, 3, 32, 32), ["conv2_2"]).taps["conv2_2"]
    assert float(tap.min()) == 0
    assert tap.shape == (1, 32, 16, 16)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 3), (15, 17)])
def test_pictures_too_narrow_for_the_poolings_pass(features: Features, shape: tuple[int, int]) -> None:
    view = View(features, LAYERS, LAYERS)
    picture = torch.rand(1, 3, *shape)
    for layer, seen in view.content(picture).items():
        assert min(seen.shape[-2:]) >= 1, layer
    for found in view.style(picture).values():
        assert bool(torch.isfinite(found.second).all())


@pytest.mark.parametrize("shape", [(1, 1), (5, 40), (40, 9), (16, 16), (20, 30)])
def test_folding_back_is_the_gradient_of_continuing_a_narrow_picture(shape: tuple[int, int]) -> None:
    picture = torch.rand(2, 3, *shape, dtype=torch.float64).requires_grad_()
    widened = at_least(picture, 16)
    assert min(widened.shape[-2:]) >= 16
    slope = torch.rand_like(widened)
    (expected,) = torch.autograd.grad(widened, picture, slope)
    torch.testing.assert_close(fold_back(slope, *shape), expected)
