"""What a caller would rather have: the header `Prefer` (RFC 7240).

A preference that is not understood, or cannot be met, is passed over; one that is met is told in
`Preference-Applied`.
"""

import re

from flask import Response, request
from werkzeug.http import parse_list_header

HEADER, APPLIED = "Prefer", "Preference-Applied"
#: Seconds that a caller may have a request wait; who asks for more has these.
MOST_SECONDS = 60
_PREFERENCE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:=\s*(.*?))?\s*")


def preferences() -> dict[str, str]:
    """The request's preferences by name in lower case; "" for one without a value.

    The first of a name counts.
    """
    found: dict[str, str] = {}
    if HEADER not in request.headers:  # as in most requests; to list a header's values looks through them all
        return found
    for given in parse_list_header(",".join(request.headers.getlist(HEADER))):
        # Parameters, behind a semicolon, mean something to preferences that are not known here.
        if parts := _PREFERENCE.fullmatch(given.split(";", 1)[0]):
            found.setdefault(parts[1].lower(), (parts[2] or "").strip('"'))
    return found


def wait_seconds() -> int | None:
    """For how long the request may wait for what it asks (`wait`, section 4.3); None where it should not."""
    given = preferences().get("wait", "")
    if not (given.isascii() and given.isdigit() and len(given) <= 9):
        return None
    return min(int(given), MOST_SECONDS) or None


def apply_wait(response: Response, seconds: int) -> Response:
    """Tell that it waits, or has."""
    response.headers[APPLIED] = f"wait={seconds}"
    response.vary.add(HEADER)
    return response
