"""Every call of one service, as plans: what the blocking and the asynchronous client have in common."""

import os
from collections.abc import Mapping
from typing import Any

from client.batches import BatchCalls
from client.batches import path_of as batch_path
from client.core import Core
from client.events import follow
from client.jobs import Jobs, path_of
from client.models import BATCH_TERMINAL, TERMINAL
from client.pictures import Pictures
from client.plans import Flow
from client.retries import Retries

DEFAULT_URL = "http://127.0.0.1:8000"


class Calls:
    """What the blocking and the asynchronous client have in common: one service's calls, as plans.

    Args:
        url: the service's address; `IMPASTO_URL`, else http://127.0.0.1:8000.
        token: bearer token; `IMPASTO_TOKEN`, else none.
        timeout: seconds to wait for a connection, and for each answer.
        retries: how persistent to be while the service is away.
    """

    def __init__(self, url: str | None, token: str | None, timeout: float, retries: Retries | None) -> None:
        self.core = Core(
            url or os.environ.get("IMPASTO_URL") or DEFAULT_URL,
            token or os.environ.get("IMPASTO_TOKEN") or None,
            timeout,
            retries or Retries(),
        )
        self.pictures = Pictures(self.core)
        self.jobs = Jobs(self.core, self.pictures)
        self.batches = BatchCalls(self.core, self.pictures)

    def job_events(self, id: str, last_id: str | None) -> Flow:  # noqa: A002 - the wire's name
        """See `Impasto.events`."""
        watch = self.jobs.watch(id)
        return follow(
            watch,
            path_of(id, "events"),
            "job",
            lambda job: job.ended,
            lambda data: _ended(data, TERMINAL),
            last_id,
        )

    def batch_events(self, id: str, last_id: str | None) -> Flow:  # noqa: A002
        """See `Batches.events`."""
        watch = self.batches.watch(id)
        return follow(
            watch,
            batch_path(id, "events"),
            "batch",
            lambda batch: batch.ended,
            lambda data: _ended(data, BATCH_TERMINAL),
            last_id,
        )


def _ended(data: Mapping[str, Any], terminal: frozenset[str]) -> bool:
    return data.get("status") in terminal
