"""The default objective once more, in the plainest form: autograd, float32, one picture.

It is what pictures are judged by and what the textbook loop minimises, so it shares nothing with the engine
that it measures but the tables of widths and layers, the weights' file and the calibration pictures. Formulas
and constants are those of docs/engine.md under `normalized`; a test holds the two to the same numbers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from bench.inputs import fitted, scaled
from shared.spec import Spec
from worker.engine import calibration
from worker.engine.vgg import IMAGENET, LAYOUTS

SHIPPED = Path(calibration.__file__).parent / "weights"

LEAST_SHARE = 0.1
"""A channel's mean over the calibration set counts as at least this share of its layer's."""

LEAST_ENERGY = 1e-3
"""A target's energy counts as at least this, in units of the energy of features that are 1 everywhere."""


class Network:
    """A VGG with average pooling and replicate padding, as frozen tensors.

    `dtype` is its arithmetic; in bfloat16 it is laid out channels-last, which is what processors want then.
    """

    def __init__(
        self, name: str, state: Mapping[str, Tensor], dtype: torch.dtype = torch.float32, device: str = "cpu"
    ) -> None:
        self._widths = LAYOUTS[name]
        self._scales: dict[str, float] = {}
        self._dtype = dtype
        last = torch.channels_last if dtype is torch.bfloat16 else torch.contiguous_format
        self._layout = last
        self._state = {
            key: value.to(device, dtype).contiguous(memory_format=last)
            if value.ndim == 4
            else value.to(device, dtype)
            for key, value in state.items()
        }
        self._mean, self._deviation = (
            torch.tensor(values, device=device).view(1, 3, 1, 1) for values in (IMAGENET.mean, IMAGENET.std)
        )

    def __call__(self, images: Tensor, layers: Sequence[str]) -> dict[str, Tensor]:
        """Float32 features (B, N, M) after the ReLU of `images` (B, 3, H, W) at the layers."""
        wanted = set(layers)
        x = ((images - self._mean) / self._deviation).to(self._dtype, memory_format=self._layout)
        found: dict[str, Tensor] = {}
        for block, outputs in enumerate(self._widths, start=1):
            for place in range(1, len(outputs) + 1):
                name = f"conv{block}_{place}"
                x = F.pad(x, (1, 1, 1, 1), mode="replicate")
                x = F.relu(F.conv2d(x, self._state[f"{name}.weight"], self._state[f"{name}.bias"]))
                if name in wanted:
                    found[name] = x.flatten(2).float()
                if len(found) == len(wanted):
                    return found
            x = F.avg_pool2d(x, 2)
        raise ValueError(f"the network has no layers {', '.join(sorted(wanted - set(found)))}")

    def scales(self, layers: Sequence[str]) -> dict[str, float]:
        """What each layer's features are multiplied by, so that they average 1 over the calibration set."""
        missing = [name for name in layers if name not in self._scales]
        if missing:
            with torch.no_grad():
                seen = self(calibration.pictures().to(self._mean.device), missing)
            for name, features in seen.items():
                mean = features.mean(dim=(0, 2))
                self._scales[name] = 1 / float(mean.clamp_min(LEAST_SHARE * float(mean.mean())).mean())
        return {name: self._scales[name] for name in layers}


def shipped(name: str, dtype: torch.dtype = torch.float32) -> Network:
    """A network with the weights that the package ships."""
    return Network(name, load_file(SHIPPED / f"{name}.safetensors"), dtype)


class Objective:
    """alpha content + beta style + TV, for one content and one style at the spec's full size."""

    def __init__(self, network: Network, spec: Spec, content: Tensor, style: Tensor) -> None:
        """Take content and style (3, H, W) of any size; compute the targets, on the pictures' device."""
        plain = spec.weighting == "normalized" and spec.color == "style" and spec.photorealism == 0
        if not plain or not spec.content_layers or not spec.style_layers:
            raise ValueError(
                "the reference knows a resolved spec in `normalized` without further controls only"
            )
        self._network = network
        self._spec = spec
        self.content_layers, self.style_layers = spec.content_layers, spec.style_layers
        self._layers = tuple(self.content_layers | self.style_layers)
        self._scales = network.scales(self._layers)
        self.content = scaled(content, spec.size)
        with torch.no_grad():
            wanted = network(self.content[None], tuple(self.content_layers))
            longest = round(spec.size * spec.style_scale)
            seen = network(scaled(style, longest)[None], tuple(self.style_layers))
        self._contents = {name: self._scales[name] * features[0] for name, features in wanted.items()}
        self._styles = {name: self._statistics(name, features[0]) for name, features in seen.items()}

    def _statistics(self, layer: str, features: Tensor) -> tuple[Tensor, ...]:
        """What of features (N, M) is matched: the Gram matrix per position, or covariance and mean."""
        features = self._scales[layer] * features
        gram = features @ features.T / features.shape[1]
        if self._spec.style_loss == "gram":
            return (gram,)
        mean = features.mean(dim=1)
        return gram - mean.outer(mean), mean

    def _style(self, layer: str, features: Tensor) -> Tensor:
        """Squared distance of each statistic in units of the style's own; the mean over the statistics."""
        distances = [
            (found - target).square().sum() / target.square().sum().clamp_min(LEAST_ENERGY * target.numel())
            for found, target in zip(self._statistics(layer, features), self._styles[layer], strict=True)
        ]
        return torch.stack(distances).mean()

    def terms(self, image: Tensor) -> dict[str, Tensor]:
        """The terms before their weights, and `total`, at `image` (3, H, W)."""
        features = {name: found[0] for name, found in self._network(image[None], self._layers).items()}
        content = style = image.new_zeros(())
        for name, weight in self.content_layers.items():
            target = self._contents[name]
            difference = self._scales[name] * features[name] - target
            energy = target.square().mean().clamp_min(LEAST_ENERGY)
            content = content + weight * difference.square().mean() / energy
        for name, weight in self.style_layers.items():
            style = style + weight * self._style(name, features[name])
        down, right = image[:, 1:] - image[:, :-1], image[:, :, 1:] - image[:, :, :-1]
        tv = down.square().mean() + right.square().mean()
        spec = self._spec
        total = spec.content_weight * content + spec.style_weight * style + spec.tv_weight * tv
        return {"total": total, "content": content, "style": style, "tv": tv}

    def __call__(self, image: Tensor) -> Tensor:
        """The total, a scalar with a graph to `image` (3, H, W)."""
        return self.terms(image)["total"]

    @torch.no_grad()
    def judge(self, image: Tensor) -> float:
        """The total at a picture of any size, enlarged to the full size first."""
        height, width = self.content.shape[-2:]
        # A picture of full size stays as it is: an optimiser's own may leave [0, 1].
        full = image if image.shape[-2:] == (height, width) else fitted(image, (height, width))
        return float(self(full.to(self.content.device)))
