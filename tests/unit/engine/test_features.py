"""Calibrated taps: names, means, and pictures of any size."""

from pathlib import Path

import pytest
import torch

from shared.backbones import BACKBONES
from worker.engine import backbones, calibration, losses
from worker.engine.features import Features
from worker.engine.vgg import LAYOUTS, VGG

LAYERS = BACKBONES["compact"].layers


@pytest.fixture
def features(weights_dir: Path) -> Features:
    return Features(backbones.load("compact", weights_dir))


def test_over_the_calibration_set_every_live_channel_averages_one(features: Features) -> None:
    taps = [features(picture, LAYERS) for picture in calibration.pictures()]
    for layer in LAYERS:
        means = torch.stack([tap[layer].features().mean(dim=1) for tap in taps]).mean(dim=0)
        raw = 1 / features.scales([layer])[layer]
        live = raw > raw.min() * 1.01
        torch.testing.assert_close(means[live], torch.ones_like(means[live]), rtol=1e-3, atol=1e-3)
        assert bool((means < 1.01).all())


def test_calibrated_by_layer_channels_keep_their_proportions_and_the_layer_averages_one(
    features: Features,
) -> None:
    taps = [features(picture, LAYERS, "layer") for picture in calibration.pictures()]
    for layer in LAYERS:
        assert len(taps[0][layer].scale.unique()) == 1
        mean = torch.stack([tap[layer].features().mean() for tap in taps]).mean()
        # Below 1 by what the floor of dark channels adds to the layer's mean.
        assert 0.9 < float(mean) < 1.001


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
    scales = Features(network).scales(["conv1_1", "conv2_1"])
    assert bool(torch.isfinite(scales["conv1_1"]).all())
    assert float(scales["conv1_1"][3]) == pytest.approx(float(scales["conv1_1"].max()))
    torch.testing.assert_close(scales["conv2_1"], torch.ones(32))


def test_a_name_means_the_features_after_its_relu(features: Features) -> None:
    tap = features(torch.rand(3, 32, 32), ["conv2_2"])["conv2_2"]
    assert float(tap.activations.min()) == 0
    assert tap.activations.shape == (32, 16 * 16)


def test_the_scaled_gram_is_the_gram_of_the_scaled_features(features: Features) -> None:
    tap = features(torch.rand(3, 32, 32), ["conv3_1"])["conv3_1"]
    torch.testing.assert_close(tap.gram(), losses.gram(tap.features()), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("shape", [(1, 1), (1, 200), (200, 3), (15, 17)])
def test_pictures_too_narrow_for_the_poolings_pass(features: Features, shape: tuple[int, int]) -> None:
    for tap in features(torch.rand(3, *shape), LAYERS).values():
        assert tap.activations.shape[1] >= 1
        assert bool(torch.isfinite(tap.gram()).all())
