"""The application: rooms put together. What each does is in its own module."""

from collections.abc import Callable
from typing import Any

from flask import Flask

from api import (
    auth,
    catalogue,
    documentation,
    events,
    health,
    hosts,
    metrics,
    page,
    problems,
    request_ids,
    services,
    uploads,
    waits,
)
from api.batches import archive
from api.batches import routes as batches
from api.jobs import results
from api.jobs import routes as jobs
from api.webhooks import routes as webhooks
from shared.logs import set_up_logging
from shared.settings import Settings
from shared.settings import settings as read_settings

_ROOMS = (
    jobs.blueprint,
    events.blueprint,
    results.blueprint,
    batches.blueprint,
    archive.blueprint,
    uploads.blueprint,
    webhooks.blueprint,
    catalogue.blueprint,
    health.blueprint,
    metrics.blueprint,
    documentation.blueprint,
    page.blueprint,
)


class Application(Flask):
    """Flask without coroutines, for which it would look anew at each handler and hook in each request."""

    def ensure_sync(self, func: Callable[..., Any]) -> Callable[..., Any]:
        """The function itself: none of ours is a coroutine."""
        return func


def create_app(settings: Settings) -> Flask:
    """The application on these settings. Nothing is connected to before the first request."""
    app = Application("api", static_folder=None)
    app.url_map.merge_slashes = False  # `//v1/jobs` is not there, rather than a redirect
    services.attach(app, settings)
    found = app.extensions[services.KEY]
    metrics.attach(app, settings, found.redis, found.hub)
    waits.register(app, settings.api_redis_seconds)
    request_ids.register(app)
    hosts.register(app)
    auth.register(app)
    problems.register(app)
    for blueprint in _ROOMS:
        app.register_blueprint(blueprint)
    return app


def from_environment() -> Flask:
    """The application on this process' settings, for gunicorn."""
    settings = read_settings()
    auth.check_binding(settings)
    set_up_logging(settings)
    return create_app(settings)
