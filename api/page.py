"""The page at `/`: paint a picture from a browser. A client of the API like any other."""

from pathlib import Path

from flask import Blueprint, Response, send_from_directory

STATIC = Path(__file__).parent / "static"
#: Scripts and styles are our own files only; results may come from the object store's address.
POLICY = "default-src 'self'; img-src 'self' blob: http: https:; frame-ancestors 'none'; base-uri 'none'"

blueprint = Blueprint("page", __name__)


@blueprint.get("/")
def index() -> Response:
    """The page itself."""
    return _static("index.html")


@blueprint.get("/static/<name>")
def static_file(name: str) -> Response:
    """Its script, its style sheet and its icon."""
    return _static(name)


def _static(name: str) -> Response:
    response = send_from_directory(STATIC, name, max_age=300)
    response.headers["Content-Security-Policy"] = POLICY
    return response
