"""Who asks: the owner behind a bearer token.

Without tokens everything belongs to `local`, and the API may be reached over loopback only
(`check_binding`). Keys, scopes and tenants would come in here.
"""

from collections.abc import Mapping
from hmac import compare_digest

from flask import Flask, g, request
from pydantic import SecretStr

from api.hosts import loopback
from api.services import services
from shared import logs
from shared.errors import Unauthorized
from shared.settings import Settings

LOCAL_OWNER = "local"
#: Everything below needs a token where tokens are set; health, documentation and the page do not.
_GUARDED = "/v1/"


class OpenToAllError(ValueError):
    """The API would be reachable from other machines without asking for a token."""


def check_binding(settings: Settings) -> None:
    """Refuse to listen beyond loopback without tokens.

    Raises:
        OpenToAllError: with what to set.
    """
    if not settings.api_tokens and not loopback(settings.api_host):
        raise OpenToAllError(
            f"IMPASTO_API_HOST is {settings.api_host}, but IMPASTO_API_TOKENS is empty: anyone could use it. "
            'Set tokens, such as {"alice": "a-long-random-string"}, or listen on 127.0.0.1.'
        )


def register(app: Flask) -> None:
    """Find the owner before every request to the versioned API."""
    app.before_request(_authenticate)


def _authenticate() -> None:
    if request.path.startswith(_GUARDED):
        tokens = services().settings.api_tokens
        g.owner = owner_of(request.headers.get("Authorization", ""), tokens) if tokens else LOCAL_OWNER
        logs.add(owner=g.owner)


def owner_of(authorization: str, tokens: Mapping[str, SecretStr]) -> str:
    """Whose token a request brings.

    Args:
        authorization: its header of that name.
        tokens: by owner; at least one.

    Raises:
        Unauthorized: it brings none of them.
    """
    scheme, _, token = authorization.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("Send the header `Authorization: Bearer <token>`.")
    given, owner = token.strip().encode(), None
    # Every token is compared, in constant time each, so that the answer's time tells nothing.
    for name, secret in tokens.items():
        if compare_digest(given, secret.get_secret_value().encode()):
            owner = name
    if owner is None:
        raise Unauthorized("This token is not known here; check it for missing characters.")
    return owner
