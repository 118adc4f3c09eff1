"""How long one request may wait for Redis, in all its calls, before its caller is told to try again."""

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

from shared.patience import patience

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def register(app: Flask, seconds: float) -> None:
    """Give each request so many seconds; an answer that is sent bit by bit has the time until its first."""
    serve: Wsgi = app.wsgi_app

    def limited(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        with patience(seconds):
            return serve(environ, start_response)

    app.wsgi_app = limited  # type: ignore[method-assign]
