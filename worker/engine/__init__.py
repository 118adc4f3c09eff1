"""Gatys style transfer as a library: tensors and a spec in, a picture out; no Celery, Redis, S3 or HTTP.

`Engine` is the door; `docs/engine.md` says what it does and why.
"""

import os

# Threads of torch that wait for one another spin, which on a machine with other work starves whom they wait
# for: beside other busy processes a picture took eight times as long. Let them spin for some microseconds and
# then sleep. The OpenMP library reads this when torch is loaded.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

from worker.engine.checkpoint import Checkpoint
from worker.engine.contract import Outcome, Progress, Request, Stopped, Style
from worker.engine.engine import Engine
from worker.engine.errors import (
    BackboneUnavailableError,
    CheckpointError,
    DeviceLostError,
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
    "DeviceLostError",
    "DeviceUnavailableError",
    "DivergedError",
    "Engine",
    "EngineError",
    "Outcome",
    "Progress",
    "Request",
    "Stopped",
    "Style",
    "UnknownLayerError",
    "WeightsCorruptError",
]
