"""`/metrics` for Prometheus: the store as `shared.jobs.census` finds it, and this process' own traffic.

Every API process tells the same of the store, so that any one of them may be asked: take the largest over
processes, never the sum. While Redis is away the rest is told all the same, with `impasto_redis_up` 0.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from flask import Blueprint, Flask, Response, current_app, request
from prometheus_client import CollectorRegistry, Metric, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest
from prometheus_client.registry import Collector
from redis import Redis

from api import auth, metric_families, traffic
from api.services import services
from api.traffic import Traffic
from api.waiting.hub import Hub
from shared.errors import NotFound, StoreUnavailable
from shared.jobs.census import take_census
from shared.settings import Settings

blueprint = Blueprint("metrics", __name__)

_KEY = "impasto-metrics"


@dataclass(frozen=True)
class _Watched:
    """What scrapes are answered with, and what requests are counted in."""

    registry: CollectorRegistry
    traffic: Traffic


class StoreCollector(Collector):
    """The job store's families, counted anew for each scrape."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def collect(self) -> Iterator[Metric]:
        """The families, as `prometheus_client` asks for them."""
        try:
            census = take_census(self._redis)
        except StoreUnavailable:
            yield metric_families.redis_up(up=False)
            return
        yield metric_families.redis_up(up=True)
        yield from metric_families.of_store(census)


class BuildCollector(Collector):
    """What runs here."""

    def collect(self) -> Iterator[Metric]:
        """The family, as `prometheus_client` asks for it."""
        yield metric_families.build_info()


class HubCollector(Collector):
    """Who waits at this process."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def collect(self) -> Iterator[Metric]:
        """The family, as `prometheus_client` asks for it."""
        yield metric_families.held_callers(len(self._hub.connections))


def attach(app: Flask, settings: Settings, redis: Redis, hub: Hub) -> None:
    """Watch the application's requests, and have something to answer scrapes with. Connects to nothing."""
    watched = _Watched(CollectorRegistry(), Traffic())
    for collector in (BuildCollector(), HubCollector(hub), watched.traffic, StoreCollector(redis)):
        watched.registry.register(collector)
    ProcessCollector(registry=watched.registry)
    app.extensions[_KEY] = watched
    traffic.register(app, watched.traffic, access_log=settings.access_log)


def note_problem(code: str) -> None:
    """Count a problem that a request is answered with."""
    current_app.extensions[_KEY].traffic.problem(code)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Everything, in Prometheus' text format."""
    settings = services().settings
    if settings.metrics == "off":
        raise NotFound("Metrics are switched off here; IMPASTO_METRICS switches them on.")
    if settings.metrics == "token":
        _check_token(settings)
    text = generate_latest(current_app.extensions[_KEY].registry)
    return Response(text, content_type=CONTENT_TYPE_PLAIN_0_0_4, headers={"Cache-Control": "no-store"})


def _check_token(settings: Settings) -> None:
    """Ask for the token of those who watch, where there is one; else for an owner's, where there are any."""
    watcher = settings.metrics_token
    tokens = {"metrics": watcher} if watcher and watcher.get_secret_value() else settings.api_tokens
    if tokens:
        auth.owner_of(request.headers.get("Authorization", ""), tokens)
