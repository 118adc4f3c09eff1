"""What a caller needs: a small typed Python client and the `impasto` command.

Imports `shared.spec` and `shared.backbones` only; `impasto stylize` and `impasto weights` load
`worker.engine` where that is installed. The service's addresses and JSON are those of `docs/api.md`.
"""

from client import webhooks
from client.aio import AsyncImpasto
from client.api import Impasto
from client.errors import (
    ApiError,
    BatchFailed,
    BatchTimeoutError,
    DamagedError,
    ImpastoError,
    JobFailed,
    UnfinishedError,
    UnreachableError,
    UnsendableError,
    WaitTimeoutError,
    WebhookError,
)
from client.models import Batch, Event, Job, Outcome, Request, Result, Style, Upload
from client.retries import Retries

__all__ = [
    "ApiError",
    "AsyncImpasto",
    "Batch",
    "BatchFailed",
    "BatchTimeoutError",
    "DamagedError",
    "Event",
    "Impasto",
    "ImpastoError",
    "Job",
    "JobFailed",
    "Outcome",
    "Request",
    "Result",
    "Retries",
    "Style",
    "UnfinishedError",
    "UnreachableError",
    "UnsendableError",
    "Upload",
    "WaitTimeoutError",
    "WebhookError",
    "webhooks",
]
