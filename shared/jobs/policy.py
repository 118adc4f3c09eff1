"""What the settings mean to the scripts: the arguments that every call is given."""

from shared.errors import AttemptsExhausted, DeadlineExceeded, ErrorInfo, WorkerLost
from shared.jobs.record import SCHEMA, to_json
from shared.settings import Settings

#: An Idempotency-Key is kept this long.
IDEMPOTENCY_SECONDS = 86_400
#: An input outlives its last reference, and a hold, by this long.
GRACE_SECONDS = 3_600
#: After this long another chore may delete what one was given to delete and did not report.
TAKEOVER_SECONDS = 600


def policy(settings: Settings) -> dict[str, object]:
    """Times in milliseconds, limits, and the errors that scripts themselves write into a record."""
    exhausted = AttemptsExhausted(f"all {settings.max_attempts} attempts failed; attempt_errors says how")
    overdue = DeadlineExceeded("the job had not ended when its deadline passed")
    lost = WorkerLost("the worker stopped renewing its lease")
    return {
        "schema": SCHEMA,
        "bells": settings.bells,
        "lease": milliseconds(settings.lease_seconds),
        "retention": milliseconds(settings.retention_seconds),
        "retry_delay": milliseconds(settings.retry_delay),
        "max_attempts": settings.max_attempts,
        "grace": milliseconds(GRACE_SECONDS),
        "takeover": milliseconds(TAKEOVER_SECONDS),
        "idempotency_ttl": milliseconds(IDEMPOTENCY_SECONDS),
        "exhausted": to_json(ErrorInfo.of(exhausted)),
        "overdue": to_json(ErrorInfo.of(overdue)),
        "lost": to_json(ErrorInfo.of(lost)),
    }


def milliseconds(seconds: float) -> int:
    """A duration as the scripts take it."""
    return round(seconds * 1000)
