from pathlib import Path

import pytest
import torch

from bench.networks import fold, offer, random_network
from worker.engine import Engine
from worker.engine.calibration import pictures
from worker.engine.distill.teacher import CollaborativeEncoder
from worker.engine.vgg import LAYOUTS, VGG

SMALL = ((4, 4), (6,), (8,), (8,), (8,))


def test_a_random_network_is_the_same_each_time_and_another_with_another_seed() -> None:
    first, second, other = random_network(SMALL), random_network(SMALL), random_network(SMALL, seed=1)
    for name, weight in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[name], weight, atol=0, rtol=0)
    assert not torch.equal(first.state_dict()["conv1_1.weight"], other.state_dict()["conv1_1.weight"])


def test_every_channel_of_a_random_network_has_mean_0_and_deviation_1_over_the_calibration_set() -> None:
    network = random_network(SMALL)
    for found in network(pictures(), network.convolutions).values():
        torch.testing.assert_close(found.mean(dim=(0, 2, 3)), torch.zeros(found.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(found.std(dim=(0, 2, 3)), torch.ones(found.shape[1]), atol=1e-4, rtol=0)


def test_the_engine_paints_with_a_network_that_is_offered_to_it(tmp_path: Path) -> None:
    network = random_network(LAYOUTS["compact"])
    assert offer(network, tmp_path) == "compact"
    loaded = Engine(tmp_path, device="cpu", dtype="float32").features("compact").network
    picture = pictures()[:1]
    (found,) = loaded.run(picture, ["conv5_1"], record=False).taps.values()
    torch.testing.assert_close(found, network(picture, ["relu5_1"])["relu5_1"], rtol=1e-3, atol=1e-4)


def test_a_network_of_a_shape_that_the_engine_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="widths"):
        offer(VGG(SMALL), tmp_path)


def test_a_folded_teacher_sees_what_the_teacher_sees_to_the_picture_s_very_edge() -> None:
    generator = torch.Generator().manual_seed(0)
    trunk = random_network(SMALL).state_dict()
    state = {f"conv{name[4]}{name[6:]}": tensor for name, tensor in trunk.items()}
    state["conv0.weight"] = torch.randn(3, 3, 1, 1, generator=generator)
    state["conv0.bias"] = torch.randn(3, generator=generator)
    teacher = CollaborativeEncoder(state, pooling="avg", padding="replicate")
    image = torch.rand(1, 3, 32, 40, generator=generator)
    found, expected = (network(image, teacher.convolutions) for network in (fold(teacher), teacher))
    for name in teacher.convolutions:
        torch.testing.assert_close(found[name], expected[name], atol=1e-4, rtol=1e-4)
