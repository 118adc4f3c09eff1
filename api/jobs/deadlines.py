"""The header `Cancel-After`: a job's deadline for callers who leave the body alone.

It says the same as the body's `deadline_seconds` and is made that, so that a repeated request is known again
whichever way it says so.
"""

import re

from flask import request

from shared.errors import InvalidRequest
from shared.requests.bodies import Parsed
from shared.requests.models import LONGEST_DEADLINE, JobRequest

CANCEL_AFTER_HEADER = "Cancel-After"
#: Seconds, or whole hours, minutes and seconds with their units.
PATTERN = r"^(?=\d)(\d{1,9}(\.\d{1,9})?|(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?)$"
_UNITS = re.compile(r"(\d+)([hms])")
_SECONDS = {"h": 3600.0, "m": 60.0, "s": 1.0}


def with_deadline(parsed: Parsed[JobRequest]) -> Parsed[JobRequest]:
    """The body with the header's deadline in it; what is wrong with the header is added to the faults."""
    given = request.headers.get(CANCEL_AFTER_HEADER)
    if given is None:
        return parsed
    tree = parsed.tree if isinstance(parsed.tree, dict) else {}
    if tree.get("deadline_seconds") is not None:
        detail = f"`{CANCEL_AFTER_HEADER}` and the body's `deadline_seconds` say the same; leave one out."
        parsed.faults.append(InvalidRequest(detail, pointer=f"/headers/{CANCEL_AFTER_HEADER}"))
    elif (seconds := _seconds(given)) is None:
        days = LONGEST_DEADLINE / 86_400
        detail = f"This is a time from 1 s to {days:.0f} days, such as 90, 90s, 5m, 2h or 1h30m."
        parsed.faults.append(InvalidRequest(detail, pointer=f"/headers/{CANCEL_AFTER_HEADER}"))
    elif parsed.model is not None:
        parsed.model = parsed.model.model_copy(update={"deadline_seconds": seconds})
    return parsed


def _seconds(text: str) -> float | None:
    """The time that a header gives; None when it is none, or out of bounds."""
    text = text.strip()
    if not re.fullmatch(PATTERN, text, re.ASCII):
        return None
    parts = _UNITS.findall(text)
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in parts) if parts else float(text)
    return seconds if 1 <= seconds <= LONGEST_DEADLINE else None
