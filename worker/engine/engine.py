"""The engine's door: a device, networks kept between paintings, and `stylize`."""

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from shared.spec import Spec
from worker.engine import backbones, images
from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Outcome, Progress, Style
from worker.engine.device import pick_device, pick_dtype
from worker.engine.features import Features
from worker.engine.painting import Painting
from worker.engine.vgg import Pooling


class Engine:
    """Paints pictures on one device. Networks are loaded once and kept; threads may share an engine."""

    def __init__(
        self,
        weights_dir: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
    ) -> None:
        """Choose where and how to compute.

        Args:
            weights_dir: folder with backbone weights, beside those the package ships.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            dtype: the network's arithmetic: `auto`, `float32` or `bfloat16`.
            threads: CPU threads for torch, in the whole process; 0 leaves them as they are.

        Raises:
            DeviceUnavailableError: the device is not there or lacks the precision.
        """
        self._weights_dir = weights_dir
        self._device = pick_device(device)
        self._dtype = pick_dtype(dtype, self._device)
        self._features: dict[tuple[str, Pooling], Features] = {}
        self._loading = threading.Lock()
        if threads > 0:
            torch.set_num_threads(threads)

    @property
    def device(self) -> str:
        """Where this engine computes."""
        return str(self._device)

    @property
    def dtype(self) -> str:
        """The network's arithmetic."""
        return str(self._dtype).removeprefix("torch.")

    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones whose weights are here."""
        return backbones.available(self._weights_dir)

    def warm(self, backbone: str, pooling: Pooling = "avg") -> Features:
        """Load a backbone, unless it is loaded already.

        Raises:
            BackboneUnavailableError: it is unknown, or its weights are not here.
            WeightsCorruptError: its weights are damaged or another network's.
        """
        key = (backbone, pooling)
        with self._loading:
            if key not in self._features:
                network = backbones.load(backbone, self._weights_dir, pooling)
                self._features[key] = Features(network.to(self._device, self._dtype))  # type: ignore[arg-type]
            return self._features[key]

    def stylize(
        self,
        content: Tensor,
        styles: Sequence[Style],
        spec: Spec,
        on_progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        resume: Checkpoint | None = None,
    ) -> Outcome:
        """Repaint `content` in the manner of `styles`.

        Args:
            content: RGB in [0, 1], float, (3, H, W) on the CPU, of any size.
            styles: one or more; their Gram matrices are averaged by their weights.
            spec: a resolved spec. The result's longest side is `spec.size`, its aspect the content's.
            on_progress: called after every evaluation, in this thread.
            should_stop: asked before every evaluation; True ends the run.
            resume: where an earlier run of the same spec and pictures stood.

        Raises:
            ValueError: a picture is not as described, no style has a weight above 0, the spec is unresolved.
            BackboneUnavailableError: see `warm`; likewise WeightsCorruptError.
            CheckpointError: `resume` belongs to another painting.
            DivergedError: the optimisation found no way on.
            Stopped: `should_stop` answered True; it carries a checkpoint.
            torch.OutOfMemoryError: the device's memory is too small for this size.
        """
        begun = time.perf_counter()
        _check(content, styles)
        features = self.warm(spec.backbone, spec.pooling)
        painting = Painting(features, content.float(), styles, spec, self._device, on_progress, should_stop)
        image = painting.paint(resume)
        seconds = time.perf_counter() - begun
        return Outcome(image, painting.losses, spec.steps, seconds, self.device, self.dtype)


def _check(content: Tensor, styles: Sequence[Style]) -> None:
    images.check(content, "the content")
    for number, style in enumerate(styles, start=1):
        images.check(style.image, f"style {number}")
    if not any(style.weight > 0 for style in styles) or any(style.weight < 0 for style in styles):
        raise ValueError("styles need weights of 0 or more, and one above 0")
