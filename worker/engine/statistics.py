"""Styles' statistics, kept: ten thousand contents in one style compute it once.

They are kept in this process and, where the caller gives a place, beyond it. A key names everything that the
numbers depend on, so nothing kept ever goes stale.
"""

import hashlib
import json
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Protocol

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.engine.moments import Moments

FORMAT = 2
"""Rises when a network's features or their moments are computed in another way; what an earlier version kept
beyond the process is then no longer met."""

IN_MEMORY = 256 * 2**20
"""Bytes of statistics that a process keeps."""

_DIGEST = hashlib.sha256().digest_size

Found = dict[str, Moments]
"""By layer, moments per position of one picture: (1, 1, N, N) and (1, 1, N), on the CPU."""


class Store(Protocol):
    """A place beyond the process. It may forget and it may fail, but it does not raise."""

    def get(self, key: str) -> bytes | None:
        """What was put under a key, if it is still there."""

    def put(self, key: str, data: bytes) -> None:
        """Keep something for as long as the place likes."""


class Statistics:
    """Keeps what was computed; threads may share it."""

    def __init__(self, store: Store | None = None, in_memory: int = IN_MEMORY) -> None:
        self._store = store
        self._limit = in_memory
        self._kept: OrderedDict[str, Found] = OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def of(self, facts: Mapping[str, object], measure: Callable[[], Found]) -> Found:
        """The statistics that `facts` name: kept ones, or those that `measure` finds."""
        key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._fetch(key)
        if found is None:
            found = measure()
            if self._store is not None:
                self._store.put(key, _pack(found))
        self._keep(key, found)
        return found

    def _fetch(self, key: str) -> Found | None:
        data = self._store.get(key) if self._store is not None else None
        if data is None:
            return None
        try:
            return _unpack(data)
        except (SafetensorError, KeyError, ValueError):
            return None

    def _keep(self, key: str, found: Found) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = found
            self._bytes += _size(found)
            while self._bytes > self._limit and len(self._kept) > 1:
                _, oldest = self._kept.popitem(last=False)
                self._bytes -= _size(oldest)


def digest(image: Tensor) -> str:
    """Names a picture by what it holds."""
    pixels = image.detach().cpu().contiguous()
    if pixels.dtype is torch.bfloat16:  # which numpy does not know
        pixels = pixels.float()
    return hashlib.sha256(f"{tuple(pixels.shape)}".encode() + pixels.numpy().tobytes()).hexdigest()


def _size(found: Found) -> int:
    return sum(one.second.nbytes + (0 if one.first is None else one.first.nbytes) for one in found.values())


def _pack(found: Found) -> bytes:
    """A digest, since a damaged number would be a number as well, and then safetensors."""
    tensors = {f"second.{layer}": one.second.contiguous() for layer, one in found.items()}
    tensors |= {
        f"first.{layer}": one.first.contiguous() for layer, one in found.items() if one.first is not None
    }
    data = save(tensors)
    return hashlib.sha256(data).digest() + data


def _unpack(packed: bytes) -> Found:
    stated, data = packed[:_DIGEST], packed[_DIGEST:]
    if hashlib.sha256(data).digest() != stated:
        raise ValueError("damaged")
    tensors = load(data)
    layers = [name.removeprefix("second.") for name in tensors if name.startswith("second.")]
    return {layer: Moments(tensors[f"second.{layer}"], tensors.get(f"first.{layer}")) for layer in layers}
