"""Times as callers see them: RFC 3339 in UTC with milliseconds."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import WithJsonSchema

#: The type of such a field in a model.
Timestamp = Annotated[
    str, WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-01-31T12:00:00.000Z"]})
]


def timestamp(seconds: float) -> str:
    """Seconds since the epoch as RFC 3339 in UTC with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def maybe_timestamp(seconds: float | None) -> str | None:
    """The same, of a time that may not have come yet."""
    return None if seconds is None else timestamp(seconds)
