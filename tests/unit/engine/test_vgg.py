"""The feature network: its names, its shapes, its poolings, and that it agrees with torchvision."""

import pytest
import torch
from torchvision.models import vgg as torchvision_vgg

from worker.engine.vgg import IMAGENET, LAYOUTS, VGG, Preprocessing, from_torchvision_state

SMALL = ((4, 5), (6,), (7, 8))
UNCHANGED = Preprocessing(mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))


def picture(height: int = 19, width: int = 24) -> torch.Tensor:
    return torch.rand(2, 3, height, width, generator=torch.Generator().manual_seed(3))


def test_layers_are_named_by_block_and_place() -> None:
    assert VGG(SMALL).layers == (
        *("conv1_1", "relu1_1", "conv1_2", "relu1_2", "pool1"),
        *("conv2_1", "relu2_1", "pool2"),
        *("conv3_1", "relu3_1", "conv3_2", "relu3_2", "pool3"),
    )


def test_compact_reaches_conv5_1_at_a_quarter_of_vgg19s_widths() -> None:
    compact, full = VGG(LAYOUTS["compact"]), VGG(LAYOUTS["vgg19"])
    assert compact.convolutions == full.convolutions[:13]
    assert compact.convolutions[-1] == "conv5_1"
    assert [4 * compact.channels(name) for name in compact.convolutions] == [
        full.channels(name) for name in compact.convolutions
    ]


def test_each_layer_has_its_channels_and_its_stride() -> None:
    network = VGG(SMALL)
    for name, features in network(picture(40, 48), network.layers).items():
        stride = network.stride(name)
        assert features.shape == (2, network.channels(name), 40 // stride, 48 // stride)
    assert [network.stride(f"pool{block}") for block in (1, 2, 3)] == [2, 4, 8]


def test_relu_is_the_convolution_with_its_negative_part_removed() -> None:
    features = VGG(SMALL)(picture(), ["conv3_1", "relu3_1"])
    assert features["conv3_1"].min() < 0
    assert torch.equal(features["relu3_1"], features["conv3_1"].clamp_min(0))


def test_features_come_in_the_networks_order_whatever_was_asked_first() -> None:
    assert list(VGG(SMALL)(picture(), ["relu2_1", "relu1_1", "relu2_1"])) == ["relu1_1", "relu2_1"]


def test_nothing_behind_the_deepest_layer_asked_for_is_computed() -> None:
    # Given a picture too small for the third pooling, only asking that far can fail.
    network, small = VGG(SMALL), picture(7, 7)
    assert list(network(small, ["relu3_2"])) == ["relu3_2"]
    with pytest.raises(ValueError, match="too small for pool3"):
        network(small, ["pool3"])


def test_pooling_is_the_average_unless_max_is_asked_for() -> None:
    x = torch.rand(1, 3, 8, 8)
    average, largest = VGG(SMALL), VGG(SMALL, pooling="max")
    largest.load_state_dict(average.state_dict())
    relu = average(x, ["relu1_2"])["relu1_2"]
    blocks = relu.unfold(2, 2, 2).unfold(3, 2, 2)
    torch.testing.assert_close(average(x, ["pool1"])["pool1"], blocks.mean(dim=(-2, -1)))
    torch.testing.assert_close(largest(x, ["pool1"])["pool1"], blocks.amax(dim=(-2, -1)))


def test_a_flat_picture_stays_flat_when_edges_are_replicated() -> None:
    flat = torch.full((1, 3, 16, 16), 0.4)
    features = VGG(SMALL)(flat, ["relu3_2"])["relu3_2"]
    torch.testing.assert_close(features, features[:, :, :1, :1].expand_as(features))
    framed = VGG(SMALL, padding="zeros")(flat, ["relu3_2"])["relu3_2"]
    assert not torch.allclose(framed, framed[:, :, :1, :1].expand_as(framed))


def test_preprocessing_belongs_to_the_network() -> None:
    network, plain = VGG(SMALL), VGG(SMALL, preprocessing=UNCHANGED)
    plain.load_state_dict(network.state_dict())
    x = picture()
    normalised = (x - torch.tensor(IMAGENET.mean).view(1, 3, 1, 1)) / torch.tensor(IMAGENET.std).view(
        1, 3, 1, 1
    )
    torch.testing.assert_close(network(x, ["relu3_2"]), plain(normalised, ["relu3_2"]))


def test_an_unknown_layer_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match=r"no layer conv9_1 here; there are conv1_1, relu1_1"):
        VGG(SMALL)(picture(), ["conv1_1", "conv9_1"])


def test_an_unknown_pooling_is_refused() -> None:
    with pytest.raises(ValueError, match="'avg' or 'max'"):
        VGG(SMALL, pooling="median")  # type: ignore[arg-type]


@pytest.mark.parametrize(("name", "column"), [("vgg16", "D"), ("vgg19", "E")])
def test_torchvisions_weights_give_torchvisions_features(name: str, column: str) -> None:
    # Given torchvision's network at random weights, padding and pooling as it was trained
    with torch.random.fork_rng():
        torch.manual_seed(1)
        theirs = torchvision_vgg.make_layers(torchvision_vgg.cfgs[column])
    ours = VGG(LAYOUTS[name], pooling="max", padding="zeros", preprocessing=UNCHANGED)
    ours.load_state_dict(from_torchvision_state(theirs.state_dict(), LAYOUTS[name]))
    # I expect the same features at every layer
    x = picture(33, 40)
    with torch.no_grad():
        found = ours(x, ours.layers)
        for layer, module in zip(ours.layers, theirs, strict=True):
            # torchvision's ReLUs work in place: what comes in must not change under us.
            x = module(x.clone())
            torch.testing.assert_close(found[layer], x)


def torchvision_state(prefix: str = "features.") -> dict[str, torch.Tensor]:
    """A state in torchvision's layout for the small widths: ReLU and pooling count as modules."""
    shapes = {0: (4, 3), 2: (5, 4), 5: (6, 5), 8: (7, 6), 10: (8, 7)}
    state = {f"{prefix}{n}.weight": torch.rand(*shape, 3, 3) for n, shape in shapes.items()}
    return state | {f"{prefix}{n}.bias": torch.rand(shape[0]) for n, shape in shapes.items()}


def test_a_whole_network_and_its_features_alone_both_load() -> None:
    whole = torchvision_state() | {"classifier.0.weight": torch.rand(2, 2)}
    alone = {name.removeprefix("features."): tensor for name, tensor in torchvision_state().items()}
    for state in (whole, alone):
        VGG(SMALL).load_state_dict(from_torchvision_state(state, SMALL))


def test_layers_behind_the_tables_last_are_dropped() -> None:
    assert set(from_torchvision_state(torchvision_state(), SMALL[:1])) == {
        *("conv1_1.weight", "conv1_1.bias", "conv1_2.weight", "conv1_2.bias")
    }


def test_a_state_of_another_network_is_refused_with_the_tensor_named() -> None:
    with pytest.raises(ValueError, match=r"features\.5\.weight should be \(6, 5, 3, 3\) and is nothing"):
        from_torchvision_state({k: v for k, v in torchvision_state().items() if ".5." not in k}, SMALL)
    with pytest.raises(
        ValueError, match=r"features\.0\.weight should be \(64, 3, 3, 3\) and is \(4, 3, 3, 3\)"
    ):
        from_torchvision_state(torchvision_state(), LAYOUTS["vgg19"])
