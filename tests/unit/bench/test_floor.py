"""What an evaluation must cost is counted right."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from bench import floor
from bench.inputs import random_state
from bench.rates import Rates, measure
from bench.reference import Network
from shared.backbones import GATYS_CONTENT, GATYS_STYLE

HEIGHT, WIDTH = 36, 50  # odd after one pooling, as 341 is after none


@pytest.mark.parametrize("name", ["compact", "vgg19"])
def test_the_networks_arithmetic_is_what_torch_counts(name: str) -> None:
    network = Network(name, random_state(name))
    image = torch.rand(1, 3, HEIGHT, WIDTH, requires_grad=True)
    layers = tuple(GATYS_CONTENT | GATYS_STYLE)
    with FlopCounterMode(display=False) as forward:
        features = network(image, layers)
    with FlopCounterMode(display=False) as backward:
        torch.autograd.grad(sum(found.sum() for found in features.values()), image)
    counted = floor.evaluation(name, HEIGHT, WIDTH).layers
    convolutions = 2 * sum(work.multiply_adds for work in counted if "Gram" not in work.name)
    assert forward.get_total_flops() == convolutions
    assert backward.get_total_flops() == convolutions


def test_the_gram_matrices_arithmetic_is_what_torch_counts() -> None:
    features = Network("compact", random_state("compact"))(
        torch.rand(1, 3, HEIGHT, WIDTH), tuple(GATYS_STYLE)
    )
    with FlopCounterMode(display=False) as counter:
        for found in features.values():
            found[0] @ found[0].T
    counted = floor.evaluation("compact", HEIGHT, WIDTH).layers
    assert counter.get_total_flops() == 2 * sum(work.multiply_adds for work in counted if "Gram" in work.name)


def test_every_activation_is_written_once_and_read_once_each_way() -> None:
    network = Network("compact", random_state("compact"))
    names = [
        work.name for work in floor.evaluation("compact", HEIGHT, WIDTH).layers if "Gram" not in work.name
    ]
    features = network(torch.rand(1, 3, HEIGHT, WIDTH), names)
    sizes = [features[name].numel() for name in names]
    weights = sum(random_state("compact")[f"{name}.weight"].numel() for name in names)
    moved = 2 * (sum(sizes) + sum(sizes[:-1]) + weights)  # nobody reads the deepest further
    for arithmetic, width in (("float32", 4), ("bfloat16", 2)):
        image = 2 * 4 * 3 * HEIGHT * WIDTH
        assert floor.evaluation("compact", HEIGHT, WIDTH).bytes(arithmetic) == image + width * moved


def test_the_floor_is_the_slower_of_arithmetic_and_memory() -> None:
    one = floor.evaluation("compact", HEIGHT, WIDTH)
    busy = Rates({"float32": 1e9}, bandwidth=1e30)
    assert one.floor("float32", busy) == pytest.approx(one.flops / 1e9)
    starved = Rates({"float32": 1e30}, bandwidth=1e9)
    assert one.floor("float32", starved) == pytest.approx(one.bytes("float32") / 1e9)
    # Thirty operations a byte: the first layer waits for memory, the deep ones for arithmetic.
    slow, mixed = Rates({"float32": 1e30}, 1e9 / 30), Rates({"float32": 1e9}, 1e9 / 30)
    assert max(one.floor("float32", busy), one.floor("float32", slow)) < one.floor("float32", mixed)
    assert one.floor("float32", mixed) < one.floor("float32", busy) + one.floor("float32", slow)


def test_a_network_without_a_tapped_layer_has_no_floor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(floor.LAYOUTS, "compact", floor.LAYOUTS["compact"][:4])
    with pytest.raises(ValueError, match="conv5_1"):
        floor.evaluation("compact", HEIGHT, WIDTH)


def test_the_machines_rates_are_measured() -> None:
    rates = measure(side_limit=64)
    assert set(rates.flops) == {"float32", "bfloat16"}
    assert min(*rates.flops.values(), rates.bandwidth) > 0
