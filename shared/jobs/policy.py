"""What the settings mean to the scripts: the arguments that every call is given."""

from shared.errors import (
    AttemptsExhausted,
    DeadlineExceeded,
    ErrorInfo,
    Fault,
    Quarantined,
    StoreUnavailable,
    WorkerLost,
)
from shared.jobs.hashes import to_json
from shared.jobs.record import SCHEMA
from shared.settings import Settings

#: An Idempotency-Key is kept this long.
IDEMPOTENCY_SECONDS = 86_400
#: After this long another chore may delete what one was given to delete and did not report.
TAKEOVER_SECONDS = 600
#: A round of the reaper that comes after so many intervals is late.
LATE_ROUNDS = 3


def policy(settings: Settings) -> dict[str, object]:
    """Times in milliseconds, limits, and the errors that scripts themselves write into a record."""
    # Scripts put the last attempt's error behind it.
    exhausted = AttemptsExhausted(f"Each of {settings.max_attempts} attempts failed, the last with ")
    overdue = DeadlineExceeded("the job had not ended when its deadline passed")
    lost = WorkerLost("the worker stopped renewing its lease")
    return {
        "schema": SCHEMA,
        "bells": settings.bells,
        "lease": milliseconds(settings.lease_seconds),
        "retention": milliseconds(settings.retention_seconds),
        "retry_delay": milliseconds(settings.retry_delay),
        "max_attempts": settings.max_attempts,
        "output_retention": milliseconds(settings.output_seconds or settings.retention_seconds),
        "upload_retention": milliseconds(settings.upload_seconds or settings.retention_seconds),
        "grace": milliseconds(settings.input_grace_seconds),
        "takeover": milliseconds(TAKEOVER_SECONDS),
        "idempotency_ttl": milliseconds(IDEMPOTENCY_SECONDS),
        "quarantine": milliseconds(settings.quarantine_seconds),
        "exhausted": _written(exhausted),
        "deadly": _written(AttemptsExhausted(_deadly(settings))),
        "quarantined": _written(Quarantined(_QUARANTINED.format(attempts=settings.max_attempts))),
        "overdue": _written(overdue),
        "lost": _written(lost),
    }


def bridging(settings: Settings) -> dict[str, object]:
    """What the reaper goes by when it may be Redis that was away."""
    late = LATE_ROUNDS * settings.reap_seconds
    away = StoreUnavailable("Redis was away until the lease had run out; the attempt is not charged")
    return {
        "pause": milliseconds(late),
        # A worker waits so long for an answer that does not come, and then beats again within a second.
        "grace": milliseconds(min(settings.lease_seconds, settings.redis_timeout + max(late, 1.0))),
        "away": _written(away),
    }


_REMEDY = "ask for a smaller `size`, or give other pictures"
#: Scripts fill in the minutes that are left.
_QUARANTINED = (
    "A job with this spec and these pictures ended its worker in each of {attempts} attempts, so it is not "
    f"tried again for %d min: {_REMEDY}."
)


def _deadly(settings: Settings) -> str:
    """What a job is told whose workers were lost, one after another."""
    detail = f"Each of {settings.max_attempts} attempts lost its worker, so it may be the job that ends them"
    if settings.quarantine_seconds:
        minutes = max(1, round(settings.quarantine_seconds / 60))
        detail += f"; with this spec and these pictures it is not tried again for {minutes} min"
    return f"{detail}: {_REMEDY}."


def _written(fault: Fault) -> str:
    """A fault as scripts write it into a record."""
    return to_json(ErrorInfo.of(fault))


def milliseconds(seconds: float) -> int:
    """A duration as the scripts take it."""
    return round(seconds * 1000)
