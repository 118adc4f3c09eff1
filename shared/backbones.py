"""The catalogue of backbones: what a caller may name, and each one's layers and defaults.

Plain facts without torch, so that the API can validate a spec. How a backbone is built and where its
weights lie is the engine's business (`worker.engine.backbones`). Torchvision's other classification networks
need no entry: see `uncatalogued`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

#: Convolutions per block (Simonyan and Zisserman 2015, table 1, columns A, B, D and E).
VGG11_BLOCKS = (1, 1, 2, 2, 2)
VGG13_BLOCKS = (2, 2, 2, 2, 2)
VGG16_BLOCKS = (2, 2, 3, 3, 3)
VGG19_BLOCKS = (2, 2, 4, 4, 4)

#: The layers of Gatys et al. 2016, section 3: content on conv4_2, style on the first of each block.
GATYS_CONTENT = {"conv4_2": 1.0}
GATYS_STYLE = {"conv1_1": 0.2, "conv2_1": 0.2, "conv3_1": 0.2, "conv4_1": 0.2, "conv5_1": 0.2}


@dataclass(frozen=True)
class Backbone:
    """A feature network that a spec can name.

    Attributes:
        name: what the spec says.
        description: one sentence for people.
        layers: names that content and style layers may use, shallow to deep. In a VGG a name means the
            features after that convolution's ReLU, as in the paper; in others it is torchvision's name of a
            node. Empty where only a worker that has the network knows.
        content_layers: default content layers and their weights; empty where a spec must name its own.
        style_layers: default style layers and their weights, likewise.
        shipped: True where the weights are part of the package, so that nothing need be fetched.
    """

    name: str
    description: str
    layers: tuple[str, ...]
    content_layers: dict[str, float]
    style_layers: dict[str, float]
    shipped: bool = False


def uncatalogued(name: str) -> Backbone:
    """One of torchvision's networks outside the catalogue: a spec names its layers, a worker checks them."""
    return Backbone(name, "A torchvision network; a job that uses it names its layers.", (), {}, {})


def _vgg_layers(blocks: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"conv{b}_{i}" for b, n in enumerate(blocks, start=1) for i in range(1, n + 1))


def _resnet_layers(blocks: tuple[int, ...]) -> tuple[str, ...]:
    """The stem, and the output of every block; a stage's last block goes by the stage's name."""
    inner = [
        name
        for stage, n in enumerate(blocks, start=1)
        for name in (*(f"layer{stage}.{i}" for i in range(n - 1)), f"layer{stage}")
    ]
    return ("relu", *inner)


def _convnext_layers(blocks: tuple[int, ...]) -> tuple[str, ...]:
    """The stem, the output of every block, and between stages what makes the maps smaller."""
    names = []
    for stage, n in enumerate(blocks):
        here = 2 * stage + 1
        names += [f"features.{here - 1}", *(f"features.{here}.{i}" for i in range(n - 1)), f"features.{here}"]
    return tuple(names)


def _features(*places: int) -> tuple[str, ...]:
    return tuple(f"features.{place}" for place in places)


def _equally(names: Sequence[str]) -> dict[str, float]:
    return {name: 1 / len(names) for name in names}


_DENSENET_TRANSITIONS = tuple(f"features.transition{i}.relu" for i in (1, 2, 3))

BACKBONES: dict[str, Backbone] = {
    backbone.name: backbone
    for backbone in (
        Backbone(
            "compact",
            "VGG-19's shape at a quarter of its widths, distilled by this project; weights are included.",
            _vgg_layers((2, 2, 4, 4, 1)),
            GATYS_CONTENT,
            GATYS_STYLE,
            shipped=True,
        ),
        Backbone(
            "vgg19",
            "The paper's network, torchvision's ImageNet weights.",
            _vgg_layers(VGG19_BLOCKS),
            GATYS_CONTENT,
            GATYS_STYLE,
        ),
        Backbone(
            "vgg16",
            "VGG-19's shallower sister, torchvision's ImageNet weights.",
            _vgg_layers(VGG16_BLOCKS),
            GATYS_CONTENT,
            GATYS_STYLE,
        ),
        Backbone(
            "vgg13",
            "Two convolutions a block, torchvision's ImageNet weights.",
            _vgg_layers(VGG13_BLOCKS),
            GATYS_CONTENT,
            GATYS_STYLE,
        ),
        Backbone(
            "vgg11",
            "The shallowest VGG, torchvision's ImageNet weights.",
            _vgg_layers(VGG11_BLOCKS),
            GATYS_CONTENT,
            GATYS_STYLE,
        ),
        # Chosen without trained weights at hand: the stem and the outputs of the stages, one for each scale.
        # Residual networks are known to paint worse than VGG (Wang, Li and Vasconcelos 2021, "Rethinking and
        # Improving the Robustness of Image Style Transfer").
        Backbone(
            "resnet18",
            "A small residual network, torchvision's ImageNet weights.",
            _resnet_layers((2, 2, 2, 2)),
            {"layer3": 1.0},
            _equally(("relu", "layer1", "layer2", "layer3", "layer4")),
        ),
        Backbone(
            "resnet50",
            "A deep residual network, torchvision's first ImageNet weights.",
            _resnet_layers((3, 4, 6, 3)),
            {"layer3": 1.0},
            _equally(("relu", "layer1", "layer2", "layer3", "layer4")),
        ),
        # The layers of Stanford's CS231n, assignment 3, "Style Transfer", which paints with this network.
        Backbone(
            "squeezenet1_1",
            "A very small network of squeezed convolutions, torchvision's ImageNet weights.",
            _features(1, 3, 4, 6, 7, 9, 10, 11, 12),
            {"features.3": 1.0},
            _equally(_features(1, 4, 6, 7)),
        ),
        # Here and below, for want of a precedent: content at an eighth of the picture's side, style at every
        # scale down to a sixteenth, as in VGG.
        Backbone(
            "convnext_tiny",
            "A convolutional network of the transformers' time, torchvision's ImageNet weights.",
            _convnext_layers((3, 3, 9, 3)),
            {"features.3": 1.0},
            _equally(_features(1, 3, 5)),
        ),
        Backbone(
            "densenet121",
            "A network that hands every map on to all later ones, torchvision's ImageNet weights.",
            (
                "features.relu0",
                *(
                    name
                    for i, transition in enumerate(_DENSENET_TRANSITIONS, start=1)
                    for name in (f"features.denseblock{i}", transition)
                ),
                "features.denseblock4",
            ),
            {_DENSENET_TRANSITIONS[1]: 1.0},
            _equally(("features.relu0", *_DENSENET_TRANSITIONS)),
        ),
        Backbone(
            "mobilenet_v3_large",
            "A network made for telephones, torchvision's first ImageNet weights.",
            _features(*range(17)),
            {"features.6": 1.0},
            _equally(_features(1, 3, 6, 12)),
        ),
        Backbone(
            "efficientnet_b0",
            "A small network found by search, torchvision's ImageNet weights.",
            _features(*range(9)),
            {"features.3": 1.0},
            _equally(_features(1, 2, 3, 5)),
        ),
    )
}
