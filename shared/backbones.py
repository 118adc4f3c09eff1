"""The catalogue of backbones: what a caller may name, and each one's layers and defaults.

Plain facts without torch, so that the API can validate a spec. How a backbone is built and where its
weights lie is the engine's business (`worker.engine.backbones`).
"""

from dataclasses import dataclass

#: Convolutions per block of VGG-16 and VGG-19 (Simonyan and Zisserman 2015, table 1, columns D and E).
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
        layers: names that content and style layers may use, shallow to deep. A name means the features
            after that convolution's ReLU, as in the paper.
        content_layers: default content layers and their weights.
        style_layers: default style layers and their weights.
        shipped: True where the weights are part of the package, so that nothing need be fetched.
    """

    name: str
    description: str
    layers: tuple[str, ...]
    content_layers: dict[str, float]
    style_layers: dict[str, float]
    shipped: bool = False


def _vgg_layers(blocks: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(f"conv{b}_{i}" for b, n in enumerate(blocks, start=1) for i in range(1, n + 1))


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
    )
}
