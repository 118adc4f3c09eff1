"""The engine's door: a device, networks kept between paintings, `stylize` and `stylize_batch`."""

import logging
import math
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from shared.backbones import BACKBONES
from shared.spec import Spec, resolve
from worker.engine import backbones, failures, images, memory
from worker.engine.calibration_cache import CalibrationCache, KeptMeans, Key
from worker.engine.chain import Chain
from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Outcome, Progress, Request, Style
from worker.engine.device import pick_arithmetic, pick_device
from worker.engine.features import Features
from worker.engine.network import Network
from worker.engine.painting import Painted, Painting, Studio, agreement
from worker.engine.statistics import Statistics, Store
from worker.engine.vgg import VGG, Pooling

log = logging.getLogger(__name__)


class Engine:
    """Paints pictures on one device. Networks are loaded once and kept; threads may share an engine."""

    def __init__(
        self,
        weights_dir: Path | None = None,
        device: str = "auto",
        dtype: str = "auto",
        threads: int = 0,
        memory_bytes: int = 0,
        statistics: Store | None = None,
    ) -> None:
        """Choose where and how to compute.

        Args:
            weights_dir: folder with backbone weights, beside those the package ships.
            device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
            dtype: the network's arithmetic: `auto`, `float32`, `tf32` or `bfloat16`.
            threads: CPU threads for torch, in the whole process; 0 leaves them as they are.
            memory_bytes: what a painting may take; 0 for a share of what is free when it begins.
            statistics: a place where styles' statistics are kept beyond this process.

        Raises:
            DeviceUnavailableError: the device is not there or lacks the precision.
        """
        self._weights_dir = weights_dir
        self._device = pick_device(device)
        self._arithmetic = pick_arithmetic(dtype, self._device)
        self._memory_bytes = memory_bytes
        self._kept = Statistics(statistics)
        self._features: dict[tuple[str, Pooling], Features] = {}
        self._names: dict[tuple[str, Pooling], str] = {}
        self._loading = threading.Lock()
        if threads > 0:
            torch.set_num_threads(threads)
        if self._device.type == "cpu":
            memory.keep_freed_memory()
        self._arithmetic.set_up(self._device)

    @property
    def device(self) -> str:
        """Where this engine computes."""
        return str(self._device)

    @property
    def dtype(self) -> str:
        """The network's arithmetic."""
        return self._arithmetic.name

    def backbones(self) -> tuple[str, ...]:
        """Names of the backbones whose weights are here."""
        return backbones.available(self._weights_dir)

    def warm(self, backbone: str, pooling: Pooling = "avg") -> None:
        """Load and calibrate a backbone and run it once, so that the first painting waits for nothing.

        Raises:
            BackboneUnavailableError: it is unknown, or its weights are not here.
            WeightsCorruptError: its weights are damaged or another network's.
        """
        self.features(backbone, pooling)
        if backbone not in BACKBONES:
            return  # its layers are named by each job
        spec = resolve({"size": 64, "steps": 2, "pooling": pooling}, BACKBONES[backbone])
        picture = torch.linspace(0, 1, 3 * 64 * 64).view(3, 64, 64)
        self.stylize(picture, [Style(picture)], spec)

    def features(self, backbone: str, pooling: Pooling = "avg") -> Features:
        """A backbone's calibrated network, loaded unless it is already. Raises as `warm` does."""
        key = (backbone, pooling)
        with self._loading:
            if key not in self._features:
                self._features[key], self._names[key] = self._load(backbone, pooling)
            return self._features[key]

    def _load(self, backbone: str, pooling: Pooling) -> tuple[Features, str]:
        """The network, and a name for its numbers: the file may be another one later, the network stays."""
        identity = backbones.identity(backbone, self._weights_dir)
        loaded = backbones.load(backbone, self._weights_dir, pooling)
        network: Network = Chain(loaded) if isinstance(loaded, VGG) else loaded
        key = Key(identity, pooling, self.dtype, self._device.type)
        means = KeptMeans(CalibrationCache(self._weights_dir), key)
        features = Features(network.to(self._device, self._arithmetic.dtype), means)
        return features, f"{backbone} {identity} {self.dtype}"

    def stylize(
        self,
        content: Tensor,
        styles: Sequence[Style],
        spec: Spec,
        on_progress: Callable[[Progress], None] | None = None,
        should_stop: Callable[[], bool] | None = None,
        resume: Checkpoint | None = None,
        init: Tensor | None = None,
    ) -> Outcome:
        """Repaint `content` in the manner of `styles`.

        Args:
            content: RGB in [0, 1], float, (3, H, W) on the CPU, of any size.
            styles: one or more; the goals of those of one region are averaged by their weights.
            spec: a resolved spec. The result's longest side is `spec.size`, its aspect the content's.
            on_progress: called after every evaluation, on a GPU after every eighth, in this thread.
            should_stop: asked as often, before an evaluation; True ends the run.
            resume: where an earlier run of the same spec and pictures stood.
            init: the picture to start from, (3, h, w), where `spec.init` is `picture`; its middle is taken.

        Raises:
            ValueError: a picture is not as described, no style has a weight above 0, the spec is unresolved.
            BackboneUnavailableError: see `warm`; likewise WeightsCorruptError.
            CheckpointError: `resume` belongs to another painting.
            DivergedError: the optimisation found no way on.
            Stopped: `should_stop` answered True; it carries a checkpoint.
            torch.OutOfMemoryError: memory is too small for this size, tiled as well.
            DeviceLostError: the device has failed; this process can paint no more on it.
        """
        request = Request(content, styles, spec, init, on_progress, should_stop, resume)
        (result,) = self.stylize_batch([request])
        if isinstance(result, Exception):
            raise result
        return result

    def stylize_batch(self, requests: Sequence[Request]) -> list[Outcome | Exception]:
        """Paint several pictures as one batch: each as `stylize` would, but for the order of sums.

        They agree in backbone, pooling, output size in pixels, steps, pyramid, optimiser, weighting, style
        loss, names of layers, and in the step at which they resume; all else is each one's own.

        Returns:
            In order, a picture's outcome, or the exception that `stylize` would have raised for it alone.

        Raises:
            ValueError: the requests do not agree.
            BackboneUnavailableError: see `warm`; likewise WeightsCorruptError.
            torch.OutOfMemoryError: they do not fit into memory together.
            DeviceLostError: the device has failed; this process can paint no more on it.
        """
        begun = time.perf_counter()
        results: dict[int, Outcome | Exception] = {}
        sound = []
        for item, request in enumerate(requests):
            try:
                _check(request)
            except ValueError as error:
                results[item] = error
            else:
                sound.append(item)
        if sound:
            painted = self._paint_or_give_back([requests[item] for item in sound])
            seconds = time.perf_counter() - begun
            for item, result in zip(sound, painted, strict=True):
                results[item] = (
                    result
                    if isinstance(result, Exception)
                    else Outcome(
                        result.image,
                        result.losses,
                        requests[item].spec.steps,
                        seconds,
                        self.device,
                        self.dtype,
                        len(sound),
                        result.tiled,
                    )
                )
        return [results[item] for item in range(len(requests))]

    def capacity(self, spec: Spec, height: int, width: int) -> int:
        """How many pictures of this size in pixels can be painted together and gain by it, at least 1.

        Raises as `warm` does, and DeviceLostError.
        """
        with failures.told_apart(self._device):
            features = self.features(spec.backbone, spec.pooling)
            return memory.capacity(
                height * width,
                features.network.bytes_a_pixel(_layers(spec)),
                spec.optimizer,
                self._budget(),
                self._device,
            )

    def memory_held(self) -> int:
        """Bytes of GPU memory that this process' tensors take; 0 where there is no GPU of that kind."""
        return torch.cuda.memory_allocated(self._device) if self._device.type == "cuda" else 0

    def memory_total(self) -> int:
        """Bytes of memory that the GPU has; 0 likewise."""
        if self._device.type != "cuda":
            return 0
        return torch.cuda.get_device_properties(self._device).total_memory

    def _paint_or_give_back(self, requests: Sequence[Request]) -> list[Painted | Exception]:
        """Paint, and where memory ran out return what was taken, so that whoever comes next finds as much."""
        try:
            with failures.told_apart(self._device):
                return self._paint(requests)
        except torch.OutOfMemoryError as error:
            reason = str(error)
        # Outside the handler: the exception would keep the failed run's tensors alive, wherever it is kept.
        memory.recover(self._device)
        raise torch.OutOfMemoryError(reason)

    def _paint(self, requests: Sequence[Request]) -> list[Painted | Exception]:
        spec = requests[0].spec
        _agree(requests)
        studio = Studio(
            self.features(spec.backbone, spec.pooling),
            self._names[spec.backbone, spec.pooling],
            self._kept,
            self._budget(),
        )
        self._insist_on_room(requests, studio.features.network)
        try:
            return self._paint_in(studio, requests)
        finally:
            height, width = images.size_for(requests[0].content, spec.size)
            each = memory.picture_bytes(
                height * width, studio.features.network.bytes_a_pixel(_layers(spec)), spec.optimizer
            )
            if self._device.type == "cpu" and len(requests) * each > memory.KEPT_SHARE * studio.budget:
                memory.give_back()

    def _insist_on_room(self, requests: Sequence[Request], network: Network) -> None:
        """Raise torch.OutOfMemoryError where a CPU's memory is too small for the smallest way to paint these.

        A GPU says so itself, without harm. A machine grants what it does not have, and when it is used, its
        kernel ends the process.
        """
        if self._device.type == "cuda":
            return
        least, what = max(_needs(requests, network))
        room = memory.SHARE * memory.free(self._device)
        if least > room:
            raise torch.OutOfMemoryError(
                f"{what} {least / 2**20:.0f} MiB at least, of {room / 2**20:.0f} MiB"
            )

    def _paint_in(self, studio: Studio, requests: Sequence[Request]) -> list[Painted | Exception]:
        spec = requests[0].spec
        try:
            with failures.told_apart(self._device):
                return Painting(studio, requests).paint()
        except torch.OutOfMemoryError:
            if len(requests) > 1 or studio.features.network.halo(_layers(spec)) is None:
                raise
        # Outside the handler: the exception would keep the failed run's tensors alive.
        memory.recover(self._device)
        log.warning("out of memory; painting once more, in the smallest tiles")
        return Painting(studio, requests).paint(force_tiles=True)

    def _budget(self) -> int:
        return self._memory_bytes or int(memory.SHARE * memory.free(self._device))


def _layers(spec: Spec) -> tuple[str, ...]:
    return tuple({**(spec.content_layers or {}), **(spec.style_layers or {})})


def _needs(requests: Sequence[Request], network: Network) -> Iterator[tuple[float, str]]:
    """What these take at least, one after the other, in bytes and in words: the pictures, and each style."""
    spec = requests[0].spec
    activation_bytes, halo = network.bytes_a_pixel(_layers(spec)), network.halo(_layers(spec))
    height, width = images.size_for(requests[0].content, spec.size)
    pictures = memory.least_bytes(height * width, len(requests), activation_bytes, halo, spec.optimizer)
    yield pictures, f"{width} x {height} px take"
    for request in requests:
        longest = round(request.spec.size * request.spec.style_scale)
        for style in request.styles:
            height, width = images.size_for(style.image, longest)
            seen = memory.style_bytes(height * width, activation_bytes, halo)
            yield seen, f"a style looked at with {width} x {height} px takes"


def _agree(requests: Sequence[Request]) -> None:
    """Raise ValueError where requests cannot be one batch."""
    first, *others = map(agreement, requests)
    differing = [name for name, value in first.items() if any(other[name] != value for other in others)]
    if differing:
        raise ValueError(f"a batch's requests differ in what they have to share: {', '.join(differing)}")


def _check(request: Request) -> None:
    styles, spec = request.styles, request.spec
    images.check(request.content, "the content")
    for number, style in enumerate(styles, start=1):
        images.check(style.image, f"style {number}")
        for mask, what in ((style.mask, "mask"), (style.region, "region")):
            if mask is not None:
                images.check_mask(mask, f"the {what} of style {number}")
        if style.mask is not None and not bool(style.mask.any()):
            raise ValueError(f"the mask of style {number} is empty: nothing of the style is left")
    weights = [style.weight for style in styles]
    if not all(0 <= weight < math.inf for weight in weights) or not any(weights):
        raise ValueError("styles need weights of 0 or more, finite, and one above 0")
    if (request.init is not None) != (spec.init == "picture"):
        raise ValueError("a picture to start from goes with `init` set to `picture`, and the reverse")
    if request.init is not None:
        images.check(request.init, "the picture to start from")
    if spec.content_layers is None or spec.style_layers is None:
        raise ValueError("the spec names no layers: resolve it first")
