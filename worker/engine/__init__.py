"""Gatys style transfer as a library: tensors and a spec in, a picture out; no Celery, Redis, S3 or HTTP.

`Engine` is the door; `docs/engine.md` says what it does and why.
"""

from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Outcome, Progress, Stopped, Style
from worker.engine.engine import Engine
from worker.engine.errors import (
    BackboneUnavailableError,
    CheckpointError,
    DeviceUnavailableError,
    DivergedError,
    EngineError,
    UnknownLayerError,
    WeightsCorruptError,
)

__all__ = [
    "BackboneUnavailableError",
    "Checkpoint",
    "CheckpointError",
    "DeviceUnavailableError",
    "DivergedError",
    "Engine",
    "EngineError",
    "Outcome",
    "Progress",
    "Stopped",
    "Style",
    "UnknownLayerError",
    "WeightsCorruptError",
]
