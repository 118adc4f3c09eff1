"""What a caller needs: a small typed Python client and the `impasto` command.

Imports `shared.spec` and `shared.backbones` only; `impasto stylize` and `impasto weights` load
`worker.engine` where that is installed. The service's addresses and JSON are those of `docs/api.md`.
"""

from client.api import Impasto
from client.errors import (
    ApiError,
    DamagedError,
    ImpastoError,
    JobFailed,
    UnfinishedError,
    UnreachableError,
    WaitTimeoutError,
)
from client.models import Job, Style, Upload
from client.retries import Retries

__all__ = [
    "ApiError",
    "DamagedError",
    "Impasto",
    "ImpastoError",
    "Job",
    "JobFailed",
    "Retries",
    "Style",
    "UnfinishedError",
    "UnreachableError",
    "Upload",
    "WaitTimeoutError",
]
