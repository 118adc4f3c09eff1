"""A view as a JSON answer."""

from collections.abc import Mapping

from flask import Response
from pydantic import BaseModel


def reply(view: BaseModel | str, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The answer, of a view or of what is JSON already.

    Callers may keep it, but ask whether it still holds before using it again.
    """
    # All headers at once: setting one later looks through those that are there.
    given = {"Content-Type": "application/json", "Cache-Control": "private, no-cache", **(headers or {})}
    return Response(view if isinstance(view, str) else view.model_dump_json(), status, given)
