"""From a backbone's name to a network: where its weights lie, whether they are right, how to load them.

What backbones there are is said in `shared.backbones`; torchvision's other classification networks are found
by their files. A backbone's weights are looked for under these names, in the folder given and then, for those
the package ships, in `worker/engine/weights`:

    <name>.safetensors    this project's own format: convB_I.weight and .bias, or torchvision's names
    <name>.pth            a torch pickle in torchvision's format; of a VGG also `features` alone
    <name>-<hash>.pth     the same, as torchvision publishes it: the first digits of its SHA-256 in its name

A file with a hash in its name, or with a `<name>.json` beside it that has one under `sha256` (distillation
writes it), is checked against that.
"""

import functools
import hashlib
import json
import pickle
import re
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from shared.backbones import BACKBONES
from worker.engine.errors import BackboneUnavailableError, WeightsCorruptError
from worker.engine.vgg import LAYOUTS, VGG, Pooling, Widths, from_torchvision_state

if TYPE_CHECKING:
    from worker.engine.torchvision_network import TorchvisionNetwork

SHIPPED = Path(__file__).parent / "weights"
"""Weights that are part of the package."""


def available(weights_dir: Path | None) -> tuple[str, ...]:
    """Names of the backbones whose weights are here: the catalogue's in its order, then others by name.

    Files are not opened.
    """
    known = tuple(name for name in BACKBONES if _find(name, weights_dir) is not None)
    return known + _uncatalogued(weights_dir)


def load(name: str, weights_dir: Path | None, pooling: Pooling = "avg") -> "VGG | TorchvisionNetwork":
    """Build a backbone with its weights, frozen, in float32 on the CPU.

    Raises:
        BackboneUnavailableError: the name is unknown, or no weights file is here.
        WeightsCorruptError: the file fails its hash, cannot be read, or holds another network.
    """
    if name not in BACKBONES and name not in _torchvision_names():
        raise BackboneUnavailableError(
            f"there is no backbone {name!r}; there are {', '.join(BACKBONES)}, and others of torchvision's"
        )
    path = _find(name, weights_dir)
    if path is None:
        raise _absent(name, weights_dir)
    check_hash(path)
    if name in LAYOUTS:
        network = VGG(LAYOUTS[name], pooling=pooling)
        network.load_state_dict(_network_state(path, LAYOUTS[name], network))
        return network.eval().requires_grad_(requires_grad=False)
    return _torchvision_network(name, path, pooling)


def identity(name: str, weights_dir: Path | None) -> str:
    """SHA-256 of a backbone's weights file, read anew when the file has changed.

    Raises:
        BackboneUnavailableError: it is not here.
    """
    path = _find(name, weights_dir)
    if path is None:
        raise _absent(name, weights_dir)
    return _sha256(path)


def _absent(name: str, weights_dir: Path | None) -> BackboneUnavailableError:
    where = f"in {weights_dir}" if weights_dir else "here"
    remedy = f"run `impasto weights fetch {name}`" if name in BACKBONES else f"put {name}.pth there"
    return BackboneUnavailableError(f"the weights of {name} are not {where}; {remedy}")


def _sha256(path: Path) -> str:
    return _sha256_as_of(path, path.stat().st_size, path.stat().st_mtime_ns)


@functools.lru_cache(maxsize=64)
def _sha256_as_of(path: Path, _size: int, _changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_hash(path: Path) -> None:
    """Compare a file with the SHA-256 stated in its name or beside it; one without either passes.

    Raises:
        WeightsCorruptError: they differ.
    """
    stated = _stated_hash(path)
    if stated is None:
        return
    found = _sha256(path)
    if not found.startswith(stated):
        raise WeightsCorruptError(f"{path.name} has SHA-256 {found}, not {stated}: fetch it again")


def _find(name: str, weights_dir: Path | None) -> Path | None:
    folders = [weights_dir] if weights_dir else []
    if name in BACKBONES and BACKBONES[name].shipped:
        folders.append(SHIPPED)
    for folder in folders:
        published = sorted(folder.glob(f"{name}-*.pth"))
        for path in (folder / f"{name}.safetensors", folder / f"{name}.pth", *published):
            if path.is_file():
                return path
    return None


def _uncatalogued(weights_dir: Path | None) -> tuple[str, ...]:
    if weights_dir is None or not weights_dir.is_dir():
        return ()
    beginnings = (re.match(r"[a-z0-9_]+", path.name) for path in weights_dir.iterdir())
    named = {match[0] for match in beginnings if match} - BACKBONES.keys()
    known = named.intersection(_torchvision_names()) if named else ()
    return tuple(name for name in sorted(known) if _find(name, weights_dir))


def _torchvision_names() -> tuple[str, ...]:
    # Imported late: torchvision takes a second, and the package's own network does without it.
    from worker.engine.torchvision_nodes import names  # noqa: PLC0415

    return names()


def _stated_hash(path: Path) -> str | None:
    in_name = re.search(r"-([0-9a-f]{8,64})$", path.stem)
    if in_name:
        return in_name[1]
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return None
    try:
        stated = json.loads(beside.read_text(encoding="utf-8"))["sha256"]
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsCorruptError(f"{beside.name} states no SHA-256: {error}") from error
    return str(stated).lower()


def _torchvision_network(name: str, path: Path, pooling: Pooling) -> "TorchvisionNetwork":
    from worker.engine.torchvision_network import TorchvisionNetwork  # noqa: PLC0415 - as above

    try:
        return TorchvisionNetwork(name, _read(path), pooling=pooling)
    except ValueError as error:
        raise WeightsCorruptError(f"{path.name}: {error}") from error


def _network_state(path: Path, widths: Widths, network: VGG) -> dict[str, Tensor]:
    """The file's tensors in float32 under the network's own names, every one present and of its shape."""
    state = _read(path)
    try:
        own = "conv1_1.weight" in state
        renamed = dict(state) if own else from_torchvision_state(state, widths)
    except ValueError as error:
        raise WeightsCorruptError(f"{path.name}: {error}") from error
    expected = {key: value.shape for key, value in network.state_dict().items()}
    wrong = sorted(
        key for key, shape in expected.items() if key not in renamed or renamed[key].shape != shape
    )
    if wrong:
        raise WeightsCorruptError(f"{path.name} lacks {', '.join(wrong)}, or has them in other shapes")
    return {key: renamed[key].float() for key in expected}


def _read(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        # weights_only: a pickle may name tensors, never code. mmap: VGG's unused classifier stays on disk.
        loaded = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise WeightsCorruptError(f"{path.name} cannot be read: {error}") from error
    if not isinstance(loaded, dict):
        raise WeightsCorruptError(f"{path.name} holds no state dictionary")
    return {name: value for name, value in loaded.items() if isinstance(value, Tensor)}
