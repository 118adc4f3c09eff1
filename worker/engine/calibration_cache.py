"""Calibrations on disk, so that a worker need not look at the calibration set again when it starts.

One small safetensors file for every network, precision and kind of device, with the means of all the layers
that were ever asked for: as many as the network has, whatever callers name. It lies in the weights folder, or
in the user's cache folder where that is not to be written to. A cache is a convenience: a folder that cannot
be written to means none, a file that cannot be read counts as absent and is written anew.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.engine.calibration import CALIBRATION_SET, channel_means
from worker.engine.network import Network

FORMAT = 1
"""Rises when networks or means are computed in another way; what was kept before is then no longer met."""


@dataclass(frozen=True)
class Key:
    """What means depend on, but for the layer.

    Attributes:
        weights_sha256: of the network's weights file, see `backbones.identity`.
        pooling: the network's.
        dtype: its arithmetic, as `Engine.dtype` names it.
        device: the kind of device it runs on, such as `cuda`.
        calibration_set: the pictures that the means are taken over.
        format: see `FORMAT`.
    """

    weights_sha256: str
    pooling: str
    dtype: str
    device: str
    calibration_set: str = CALIBRATION_SET
    format: int = FORMAT


class CalibrationCache:
    """Means by layer, kept in the first of some folders that takes them."""

    def __init__(self, weights_dir: Path | None) -> None:
        """Use the weights folder where there is one, then the user's cache folder."""
        self._folders = [folder for folder in (weights_dir, _user_folder()) if folder is not None]

    def load(self, key: Key) -> dict[str, Tensor]:
        """The means (N,) of every layer that was stored under this key, float32 on the CPU; maybe none."""
        means: dict[str, Tensor] = {}
        for folder in reversed(self._folders):
            with contextlib.suppress(OSError, SafetensorError):
                found = load((folder / _file(key)).read_bytes())
                means |= {layer: values for layer, values in found.items() if _sound(values)}
        return means

    def store(self, key: Key, means: Mapping[str, Tensor]) -> None:
        """Add layers' means to those kept under this key, in one step, where a folder can be written to."""
        kept = self.load(key) | {layer: values.float().cpu().contiguous() for layer, values in means.items()}
        data = save(kept, metadata={name: str(value) for name, value in asdict(key).items()})
        for folder in self._folders:
            with contextlib.suppress(OSError):
                folder.mkdir(parents=True, exist_ok=True)
                _replace(folder / _file(key), data)
                return


class KeptMeans:
    """Gives a network's means as `calibration.channel_means` does, from the cache where it has them."""

    def __init__(self, cache: CalibrationCache, key: Key) -> None:
        self._cache = cache
        self._key = key

    def __call__(self, network: Network, layers: Sequence[str]) -> dict[str, Tensor]:
        """Mean activation (N,) of each channel of the layers, on the network's device."""
        kept = self._cache.load(self._key)
        missing = [layer for layer in layers if layer not in kept]
        if missing:
            measured = channel_means(network, missing)
            self._cache.store(self._key, measured)
            kept |= measured
        return {layer: kept[layer].to(network.device) for layer in layers}


def _replace(path: Path, data: bytes) -> None:
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        part.write_bytes(data)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def _sound(values: Tensor) -> bool:
    usable = values.dtype == torch.float32 and values.ndim == 1
    return usable and bool((values.isfinite() & (values > 0)).all())


def _file(key: Key) -> str:
    digest = hashlib.sha256(json.dumps(asdict(key), sort_keys=True).encode()).hexdigest()
    return f"calibration-{digest[:16]}.safetensors"


def _user_folder() -> Path | None:
    given = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(given) if given else Path.home() / ".cache") / "impasto"
    except RuntimeError:  # a user without a home
        return None
