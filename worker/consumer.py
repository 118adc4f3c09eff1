"""Celery's consumer as our workers need it: back within a second of Redis, however long that was away.

Celery's own waits up to half a minute between two tries, and logs each. Which bells there are and what they
start is not its concern.
"""

import logging
import warnings
from typing import Any

from celery.exceptions import CPendingDeprecationWarning
from celery.worker.consumer import Consumer
from celery.worker.consumer.consumer import CONNECTION_RETRY
from celery.worker.state import maybe_shutdown
from kombu.connection import Connection

from worker.outage import Outage

RECONNECT_SECONDS = 1.0
_PART = "consumer"


def patient_consumer(outage: Outage) -> type[Consumer]:
    """A class for Celery's `worker_consumer` that reports to `outage`."""
    logging.getLogger("celery.worker.consumer.consumer").addFilter(_not_of_connections)

    class PatientConsumer(Consumer):  # type: ignore[misc]
        def ensure_connected(self, conn: Connection) -> Connection:
            conn.ensure_connection(  # type: ignore[no-untyped-call]
                lambda error, _: outage.away(_PART, _reason(error)),
                interval_start=RECONNECT_SECONDS,
                interval_step=0,
                interval_max=RECONNECT_SECONDS,
                callback=maybe_shutdown,
            )
            self.first_connection_attempt = False
            outage.back(_PART)
            return conn

        def on_connection_error_before_connected(self, exc: Exception) -> None:
            outage.away(_PART, _reason(exc))

        def on_connection_error_after_connected(self, exc: Exception) -> None:
            outage.away(_PART, _reason(exc))
            # That a later Celery will cancel tasks here by default, of which ours is told not to.
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            super().on_connection_error_after_connected(exc)

    return PatientConsumer


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def _not_of_connections(record: logging.LogRecord) -> bool:
    """Leave out what the outage has said already."""
    arguments: Any = record.args
    return not (isinstance(arguments, tuple) and CONNECTION_RETRY in arguments)
