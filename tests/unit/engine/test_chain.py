"""The network run by hand: against automatic differentiation, and what it says of its own reach."""

from collections.abc import Callable, Sequence

import pytest
import torch
from torch import Tensor

from worker.engine.chain import Chain
from worker.engine.vgg import LAYOUTS, VGG, Pooling, Widths

SMALL: Widths = ((4, 5), (6,), (7, 8))
SOME = ("conv1_1", "conv2_1", "conv3_1", "conv4_1", "conv4_2", "conv5_1")
CPU = torch.device("cpu")


@pytest.fixture
def make_vgg(random_network: Callable[[Widths], VGG]) -> Callable[..., VGG]:
    def make(widths: Widths = LAYOUTS["compact"], pooling: Pooling = "avg") -> VGG:
        network = VGG(widths, pooling=pooling)
        network.load_state_dict(random_network(widths).state_dict())
        return network.eval().requires_grad_(requires_grad=False)

    return make


def picture(height: int, width: int, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(3))


def by_autograd(
    vgg: VGG, x: Tensor, layers: Sequence[str], slopes: dict[str, Tensor]
) -> tuple[dict[str, Tensor], Tensor]:
    """Taps and the gradient at the picture, as torch finds them."""
    x = x.clone().requires_grad_()
    found = vgg(x, [name.replace("conv", "relu") for name in layers])
    taps = {name: found[name.replace("conv", "relu")] for name in layers}
    (gradient,) = torch.autograd.grad([taps[n] for n in slopes], x, list(slopes.values()))
    return {name: tap.detach() for name, tap in taps.items()}, gradient


def slopes_at(taps: dict[str, Tensor]) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(4)
    return {name: torch.randn(tap.shape, generator=generator) for name, tap in taps.items()}


def relative(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("pooling", ["avg", "max"])
@pytest.mark.parametrize("size", [(53, 71), (48, 64), (16, 16), (17, 130)])
@pytest.mark.parametrize("layers", [SOME, ("conv1_1",), ("conv1_2", "conv2_2"), ("conv3_4",)])
def test_taps_and_the_image_s_gradient_are_those_of_autograd(
    make_vgg: Callable[..., VGG], pooling: Pooling, size: tuple[int, int], layers: tuple[str, ...]
) -> None:
    vgg, x = make_vgg(pooling=pooling), picture(*size)
    run = Chain(vgg).run(x, layers, record=True)
    slopes = slopes_at(dict(run.taps))
    taps, gradient = by_autograd(vgg, x, layers, slopes)
    for layer in layers:
        torch.testing.assert_close(run.taps[layer], taps[layer], rtol=1e-4, atol=1e-5)
    found = run.backward(slopes)
    assert found.dtype is torch.float32
    assert relative(found, gradient) < 1e-5


def test_a_gradient_at_some_of_the_taps_is_enough(make_vgg: Callable[..., VGG]) -> None:
    vgg, x = make_vgg(), picture(40, 33)
    run = Chain(vgg).run(x, SOME, record=True)
    only = {"conv2_1": slopes_at(dict(run.taps))["conv2_1"]}
    _, gradient = by_autograd(vgg, x, SOME, only)
    assert relative(run.backward(only), gradient) < 1e-5


def test_a_layer_named_twice_is_one_tap(make_vgg: Callable[..., VGG]) -> None:
    chain, x = Chain(make_vgg()), picture(32, 32)
    once = chain.run(x, ["conv2_1"], record=True)
    twice = chain.run(x, ["conv2_1", "conv2_1"], record=True)
    slopes = slopes_at(dict(once.taps))
    assert list(twice.taps) == ["conv2_1"]
    assert torch.equal(once.backward(dict(slopes)), twice.backward(dict(slopes)))


def test_the_order_in_which_layers_are_named_does_not_matter(make_vgg: Callable[..., VGG]) -> None:
    chain, x = Chain(make_vgg()), picture(32, 32)
    taps = chain.run(x, ["conv4_1", "conv1_1"], record=False).taps
    again = chain.run(x, ["conv1_1", "conv4_1"], record=False).taps
    assert all(torch.equal(taps[name], again[name]) for name in ("conv1_1", "conv4_1"))


def test_nothing_behind_the_deepest_layer_is_computed(make_vgg: Callable[..., VGG]) -> None:
    # Given weights that spoil everything from conv3_1 on
    vgg = make_vgg(SMALL)
    vgg.get_submodule("conv3_1").weight.fill_(torch.nan)
    chain = Chain(vgg)
    # I expect no layer before it to notice, and no picture too small for the poolings behind it to fail.
    run = chain.run(picture(4, 5), ["conv2_1"], record=True)
    assert bool(torch.isfinite(run.backward({"conv2_1": torch.ones_like(run.taps["conv2_1"])})).all())
    assert list(run.features) == []


def test_an_unrecorded_run_keeps_only_what_is_tapped(make_vgg: Callable[..., VGG]) -> None:
    run = Chain(make_vgg()).run(picture(32, 32), SOME, record=False)
    assert tuple(run.taps) == SOME
    assert run.features == {}


def test_without_layers_nothing_is_seen_and_nothing_pulls(make_vgg: Callable[..., VGG]) -> None:
    chain = Chain(make_vgg())
    run = chain.run(picture(20, 30), [], record=True)
    assert run.taps == {}
    assert torch.equal(run.backward({}), torch.zeros(2, 3, 20, 30))
    assert chain.halo([]) == 0


def test_an_unknown_layer_is_refused_by_name(make_vgg: Callable[..., VGG]) -> None:
    with pytest.raises(ValueError, match=r"no layer conv9_1 here; there are conv1_1, conv1_2"):
        Chain(make_vgg()).run(picture(16, 16), ["conv1_1", "conv9_1"], record=False)


def test_a_network_with_other_edges_is_refused() -> None:
    with pytest.raises(ValueError, match="replicated"):
        Chain(VGG(SMALL, padding="zeros"))


@pytest.mark.parametrize("pooling", ["avg", "max"])
def test_bfloat16_is_within_a_few_of_its_roundings(make_vgg: Callable[..., VGG], pooling: Pooling) -> None:
    vgg, x = make_vgg(pooling=pooling), picture(53, 71)
    exact, half = Chain(vgg), Chain(vgg).to(CPU, torch.bfloat16)
    runs = [chain.run(x, SOME, record=True) for chain in (exact, half)]
    slopes = slopes_at(dict(runs[0].taps))
    assert runs[1].taps["conv1_1"].dtype is torch.bfloat16
    for number, layer in enumerate(SOME):
        # 2^-8 is one rounding; errors add up from layer to layer.
        assert relative(runs[1].taps[layer].float(), runs[0].taps[layer]) < 0.004 * (number + 1), layer
    gradient = runs[0].backward(slopes)
    rounded = runs[1].backward({name: slope.bfloat16() for name, slope in slopes.items()})
    assert rounded.dtype is torch.float32
    # A ReLU close to 0 or a tie of max pooling may send the gradient another way.
    assert relative(rounded, gradient) < (0.06 if pooling == "avg" else 0.2)


def test_in_bfloat16_a_picture_s_last_digits_still_count(make_vgg: Callable[..., VGG]) -> None:
    # Given two pictures that bfloat16 itself cannot tell apart, 1e-4 apart along the network's slope
    chain, x = Chain(make_vgg()).to(CPU, torch.bfloat16), torch.full((1, 3, 32, 32), 0.7)
    moved = x + 1e-4
    assert torch.equal(x.bfloat16(), moved.bfloat16())
    entered = chain._enter(x), chain._enter(moved)
    assert not torch.equal(*entered)
    sums = [e[:, :3].float() + e[:, 3:].float() for e in entered]
    expected = ((moved - x) / chain._std)[:, :, :1, :1].expand(1, 3, 34, 34)
    torch.testing.assert_close(sums[1] - sums[0], expected, rtol=0.1, atol=0)


@pytest.mark.parametrize("layer", ["conv1_1", "conv2_2", "conv3_1", "conv4_2", "conv5_1"])
def test_a_position_reaches_exactly_as_far_as_its_halo(make_vgg: Callable[..., VGG], layer: str) -> None:
    chain = Chain(make_vgg())
    halo, stride = chain.halo([layer, "conv1_1"]), chain.stride(layer)
    # One position in the middle, with room for its halo on both sides, in a narrow strip.
    side = 2 * (-(-halo // stride) * stride) + stride
    place, first = side // stride // 2, side // stride // 2 * stride
    run = chain.run(picture(side, 16, batch=1), [layer], record=True)
    slope = torch.zeros_like(run.taps[layer])
    slope[:, :, place] = run.taps[layer][:, :, place].sign()
    reached = run.backward({layer: slope}).abs().sum(dim=(0, 1, 3)).nonzero()[:, 0]
    assert int(reached.min()) == first - halo
    assert int(reached.max()) == first + stride - 1 + halo


def test_the_halo_is_that_of_the_deepest_layer(make_vgg: Callable[..., VGG]) -> None:
    chain = Chain(make_vgg())
    assert chain.halo(["conv1_1", "conv3_1"]) == chain.halo(["conv3_1"]) == 1 + 1 + 2 + 2 + 4


def test_grid_and_stride_are_those_of_the_taps(make_vgg: Callable[..., VGG]) -> None:
    chain = Chain(make_vgg())
    for size in ((53, 71), (16, 33)):
        taps = chain.run(picture(*size), chain.layers, record=False).taps
        for layer, tap in taps.items():
            assert tap.shape == (2, chain.channels(layer), *chain.grid(layer, *size))
            assert chain.grid(layer, *size) == tuple(side // chain.stride(layer) for side in size)
    assert chain.least_side == 16


def test_a_deeper_layer_takes_more_memory_and_half_precision_less(make_vgg: Callable[..., VGG]) -> None:
    chain = Chain(make_vgg())
    shallow, deep = chain.bytes_a_pixel(["conv1_1"]), chain.bytes_a_pixel(["conv1_1", "conv5_1"])
    half = chain.to(CPU, torch.bfloat16).bytes_a_pixel(["conv1_1", "conv5_1"])
    assert 0 < shallow < deep
    assert half < deep
