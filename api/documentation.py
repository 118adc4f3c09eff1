"""The API's description: `/openapi.json` for programs, `/docs` for people."""

import json
import re
from functools import cache

from flask import Blueprint, Response, render_template
from markupsafe import Markup, escape

from api.openapi import document, every_fault

blueprint = Blueprint("documentation", __name__)

#: The page brings its own style and loads nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


@blueprint.app_template_filter("marked")
def marked(text: str | None) -> Markup:
    """Text with what stands in backticks as code."""
    return Markup(re.sub(r"`([^`]+)`", r"<code>\1</code>", str(escape(text or ""))))  # noqa: S704 - escaped


@blueprint.get("/openapi.json")
def openapi() -> Response:
    """The OpenAPI document."""
    return Response(_openapi_json(), mimetype="application/json")


@blueprint.get("/docs")
def docs() -> Response:
    """The same as a page."""
    page = render_template("docs.html", document=document(), faults=every_fault())
    response = Response(page, mimetype="text/html")
    response.headers["Content-Security-Policy"] = _POLICY
    return response


@cache
def _openapi_json() -> str:
    return json.dumps(document(), indent=1)
