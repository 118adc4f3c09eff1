"""Conditions and ranges of what is answered as a file: RFC 9110, sections 13 and 14.

Werkzeug takes a range before it looks at the conditions, takes a weak tag in `If-Range` for the strong one,
and refuses `If-Match: *`. Here the steps are those of section 13.2.2; what is in a range is left to Werkzeug.

Files have a strong entity tag and no date, so that conditions on dates are none (13.1.3, 13.1.4) and a date
in `If-Range` never holds (13.1.5).
"""

import re

from flask import Response, request

from shared.errors import PreconditionFailed

#: One range of bytes: from a place, between two places, or the last ones (section 14.1.2).
_RANGE = re.compile(r"bytes=(?:(\d{1,100})-(\d{1,100})?|-(\d{1,100}))", re.ASCII | re.IGNORECASE)


def apply(response: Response, length: int) -> Response:
    """The answer to this request, given that of a GET without conditions.

    Args:
        response: the whole file, with its ETag.
        length: bytes of it.

    Raises:
        PreconditionFailed: `If-Match` names other files.
        RequestedRangeNotSatisfiable: by Werkzeug, when the range begins behind the end.
    """
    response.accept_ranges = "bytes"
    tag, _ = response.get_etag()
    if tag is None:
        raise AssertionError("a file has an entity tag")
    if request.if_match and not request.if_match.contains(tag):
        raise PreconditionFailed("It is another file by now: ask without `If-Match`.")
    if request.if_none_match.contains_weak(tag):
        response.status_code = 304
    elif _takes_range(length) and request.headers.get("If-Range", f'"{tag}"').strip() == f'"{tag}"':
        asked = {"REQUEST_METHOD": "GET", "HTTP_RANGE": request.headers["Range"]}
        response.make_conditional(asked, accept_ranges=True, complete_length=length)
    return response


def _takes_range(length: int) -> bool:
    """Whether the request's Range is one valid range and not the whole; others are ignored (section 14.2).

    A valid one that begins beyond the `length` counts, and is then not satisfiable.
    """
    parts = _RANGE.fullmatch(request.headers.get("Range", ""))
    if request.method != "GET" or not parts:
        return False
    first, last, suffix = parts.groups()
    if suffix:
        return int(suffix) < length
    return not last or int(first) <= int(last)
