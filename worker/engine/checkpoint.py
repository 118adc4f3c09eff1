"""A half-painted picture as bytes: what is needed to go on where a worker stopped.

The format is safetensors: it holds numbers only, so reading one from a store that others write to is safe.
Where checkpoints are kept is left to the callers.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from worker.engine.errors import CheckpointError

_FORMAT = "impasto-checkpoint-2"
"""Bytes of another format are refused, and the painting starts over."""
_IMAGE, _BEST, _STATE = "image", "best", "optimizer."


@dataclass(frozen=True)
class Checkpoint:
    """The state between two evaluations.

    Attributes:
        fingerprint: names the spec and the pictures' shapes; a run with another one refuses the checkpoint.
        step: evaluations done, counted over all levels.
        level: the level they ended in.
        image: (3, H, W) float32 on the CPU, not clamped: the next picture to evaluate.
        losses: of the best picture that the level has met, by term; empty before the first evaluation.
        optimizer: its state, whole or as experience (`worker.engine.optimizers`); without any it starts
            afresh.
        best: the best picture, like `image`; None where it is the one that the optimiser stands at.
    """

    fingerprint: str
    step: int
    level: int
    image: Tensor
    losses: Mapping[str, float] = field(default_factory=dict)
    optimizer: Mapping[str, Tensor] = field(default_factory=dict)
    best: Tensor | None = None

    def to_bytes(self) -> bytes:
        """The checkpoint in safetensors format, with a digest over its tensors."""
        tensors = {_IMAGE: self.image.contiguous()}
        if self.best is not None:
            tensors[_BEST] = self.best.contiguous()
        tensors |= {_STATE + name: value.contiguous() for name, value in self.optimizer.items()}
        facts = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "step": str(self.step),
            "level": str(self.level),
            "losses": json.dumps(dict(self.losses)),
            "digest": _digest(tensors),
        }
        return save(tensors, metadata=facts)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises:
            CheckpointError: the bytes are truncated, damaged or something else.
        """
        try:
            tensors = load(data)
            facts = _metadata(data)
            if facts["format"] != _FORMAT or facts["digest"] != _digest(tensors):
                raise CheckpointError("the checkpoint is damaged or of another format")
            return cls(
                fingerprint=facts["fingerprint"],
                step=int(facts["step"]),
                level=int(facts["level"]),
                image=tensors[_IMAGE],
                losses={str(term): float(loss) for term, loss in json.loads(facts["losses"]).items()},
                optimizer={
                    name.removeprefix(_STATE): value
                    for name, value in tensors.items()
                    if name.startswith(_STATE)
                },
                best=tensors.get(_BEST),
            )
        except (SafetensorError, KeyError, TypeError, AttributeError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"the checkpoint cannot be read: {error}") from error


def _metadata(data: bytes) -> dict[str, str]:
    """The header's free part, which safetensors reads from files only: eight bytes of length, then JSON."""
    length = int.from_bytes(data[:8], "little")
    facts: dict[str, str] = json.loads(data[8 : 8 + length])["__metadata__"]
    return facts


def _digest(tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.sha256()
    for name in sorted(tensors):
        digest.update(f"{name} {tuple(tensors[name].shape)} {tensors[name].dtype}".encode())
        # As bytes: numpy has no bfloat16.
        digest.update(tensors[name].flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()
