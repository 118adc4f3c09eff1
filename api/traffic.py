"""What this process has answered: counted and timed for `/metrics`, and one line each in the log.

The counts are this process' own and begin with it, as Prometheus expects of counters: what is summed up over
processes is its business. A time ends when the answer begins; what is streamed afterwards is not in it.
"""

import logging
import threading
import time
from bisect import bisect_left
from collections.abc import Iterable
from http import HTTPStatus

from flask import Flask, Response, g, request
from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily
from prometheus_client.registry import Collector

log = logging.getLogger("impasto.access")

#: Upper ends of the buckets, in seconds.
BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0)
#: What stands for addresses and methods that there are not, so that no caller can make up labels.
UNKNOWN = "other"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
#: Asked every few seconds by what watches the service: their lines say nothing.
_QUIET = frozenset({"/healthz", "/readyz", "/metrics"})

#: What a route's address names, by what the log calls it.
_NAMED = {"job_id": "job_id", "batch_id": "batch"}

#: Method and route.
_Where = tuple[str, str]


class Traffic(Collector):
    """Counts of requests, problems and times; safe to share between threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._requests: dict[tuple[str, str, str], int] = {}
        self._times: dict[_Where, list[int]] = {}
        self._seconds: dict[_Where, float] = {}
        self._problems: dict[str, int] = {}

    def answered(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        where, what = (method, route), (method, route, str(status))
        bucket = bisect_left(BOUNDS, seconds)
        with self._lock:
            self._requests[what] = self._requests.get(what, 0) + 1
            if where not in self._times:
                self._times[where], self._seconds[where] = [0] * (len(BOUNDS) + 1), 0.0
            self._times[where][bucket] += 1
            self._seconds[where] += seconds

    def problem(self, code: str) -> None:
        """A request was answered with this problem."""
        with self._lock:
            self._problems[code] = self._problems.get(code, 0) + 1

    def collect(self) -> Iterable[Metric]:
        """The families, as `prometheus_client` asks for them."""
        requests = CounterMetricFamily(
            "impasto_api_requests",
            "Requests that this process has answered. An address that there is not has the route `other`.",
            labels=("method", "route", "status"),
        )
        times = HistogramMetricFamily(
            "impasto_api_request_duration_seconds",
            "Time from a request's arrival in the application to the beginning of its answer.",
            labels=("method", "route"),
        )
        problems = CounterMetricFamily(
            "impasto_api_problems",
            "Problems that this process has answered with, by code: refusals among them, such as "
            "`store_unavailable`, `storage_unavailable` and `quarantined`.",
            labels=("code",),
        )
        with self._lock:
            for what, number in self._requests.items():
                requests.add_metric(what, number)
            for where, counts in self._times.items():
                times.add_metric(where, _cumulative(counts), self._seconds[where])
            for code, number in self._problems.items():
                problems.add_metric((code,), number)
        return requests, times, problems


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    total, found = 0, []
    for bound, count in zip((*map(str, BOUNDS), "+Inf"), counts, strict=True):
        total += count
        found.append((bound, float(total)))
    return found


def register(app: Flask, traffic: Traffic, *, access_log: bool) -> None:
    """Watch every request. To be registered first: then it begins before all others and ends after them."""

    def begin() -> None:
        g.began = time.perf_counter()

    def end(response: Response) -> Response:
        seconds = time.perf_counter() - g.began
        route = request.url_rule.rule if request.url_rule else UNKNOWN
        method = request.method if request.method in _METHODS else UNKNOWN
        traffic.answered(method, route, response.status_code, seconds)
        quiet = route in _QUIET and response.status_code < HTTPStatus.BAD_REQUEST
        if access_log and not quiet and log.isEnabledFor(logging.INFO):
            _tell(method, route, response.status_code, seconds)
        return response

    app.before_request(begin)
    app.after_request(end)


def _tell(method: str, route: str, status: int, seconds: float) -> None:
    """One line: what an address has beside its route is told of jobs and batches only, never a query."""
    milliseconds = round(seconds * 1000, 1)
    named = request.view_args or {}
    fields = {"method": method, "route": route, "status": status, "duration_ms": milliseconds}
    fields |= {name: named[key] for key, name in _NAMED.items() if key in named}
    log.info("%s %s %d in %.1f ms", method, route, status, milliseconds, extra={"fields": fields})
