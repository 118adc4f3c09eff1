"""Requests a second for submit and poll, against bare Flask handlers in the same run.

Run as `python -m bench.api [--json]`. Two gunicorn servers with the API's own settings, the API and a bare
Flask application, share one Valkey, run as the service runs it. Cases take turns in rounds, so that what else
the machine does meets all of them; the figures are medians over the rounds, the ratios medians of each
round's.

No worker listens, so the API rings bells for the first submits only, as it does while workers are busy.
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

import redis
from celery import Celery
from flask import Flask, request

from bench import machine
from bench.load import Loaded, exchange, load, message
from bench.section import Section, Table, ratio
from shared.jobs.keys import Key
from shared.jobs.record import PaintProgress, Queue, Stage
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers
from shared.redis import connect
from shared.settings import Settings, settings
from tests.support.api import ApiServer
from tests.support.jobs import new_job
from tests.support.rig import PRODUCTION
from tests.support.valkey import ValkeyServer, start_valkey

STYLES = 5
WARM_UP_SECONDS = 0.3
#: More polls than can be answered in a second; the API remembers as many jobs as that and more.
POLLS_A_SECOND = 2000
STATIC, HGETALL, DELAY = "bare: static JSON", "bare: HGETALL", "bare: delay()"
HEALTH, SUBMIT = "API: /healthz", "API: submit"
POLL, WAITING, UNCHANGED = "API: poll, painting", "API: poll, waiting", "API: poll, unchanged (304)"
FIRST, STRANGE = "API: poll, the first after the submit", "API: poll, of a job it has not seen"
#: What each case of the API is compared with.
AGAINST = {
    HEALTH: STATIC,
    POLL: HGETALL,
    WAITING: HGETALL,
    FIRST: HGETALL,
    STRANGE: HGETALL,
    UNCHANGED: HGETALL,
    SUBMIT: DELAY,
}
TICK = os.sysconf("SC_CLK_TCK")

PROSE = """
The bare cases are Flask handlers under the same gunicorn settings: one returns static JSON, one makes one
`HGETALL` with redis-py and returns it as JSON, one calls `delay()` of a plain Celery task with the
request's body. API, bare application, Valkey (`appendfsync always`, for both) and what sends the requests
share {cores} cores; polls go to {jobs} jobs in turn, which do not change meanwhile: the API remembers what
it wrote of the jobs that were submitted or polled last, and asks whether that still holds. *The first after
the submit* is each job's own first poll, of jobs that were submitted to the same process; *a job it has not
seen* was submitted elsewhere (in a batch, or to another process), and is waiting as well. *server ms* is
the processor time of the server's process for a request, *busy* the share of one core that it used,
*sender* what the sending processes used: where the first is near 1 and far above the second, the server is
measured, whose interpreter computes on one core. No worker listens during the run, so a submit rings only
the first few bells. A submit is one script in Redis and waits for one sync of the append-only file; callers
at the same time share a sync. The API's access log is {log}: the bare routes have none.
"""


def body(number: int) -> dict[str, Any]:
    """A request for a job, as one of many: its own content, one of a few styles."""
    return {
        "content": f"https://pictures.example.org/customers/4711/{number:06}-at-dawn.jpg",
        "styles": [f"https://pictures.example.org/styles/{number % STYLES}.jpg"],
        "spec": {"preset": "painting", "size": 768, "seed": 7},
        "metadata": {"order": f"A-{number}"},
    }


def bare() -> Flask:
    """What the API is measured against: the least that Flask, redis-py and Celery can do."""
    app = Flask("bare")
    client = redis.Redis.from_url(settings().redis_url, decode_responses=True)
    celery = Celery("bare", broker=settings().redis_url)
    celery.conf.task_ignore_result = True

    @celery.task
    def paint(body: dict[str, Any]) -> None:
        """Nobody runs it."""

    @app.get("/healthz")
    def healthz() -> dict[str, Any]:
        return {"status": "ok"}

    @app.get("/hgetall/<uid>")
    def hgetall(uid: str) -> dict[str, Any]:
        return client.hgetall(Key.JOB + uid)  # type: ignore[return-value]

    @app.post("/delay")
    def delay() -> tuple[dict[str, Any], int]:
        return {"id": paint.delay(request.get_json()).id}, 202

    return app


@dataclass(frozen=True)
class Case:
    """One kind of request.

    Attributes:
        name: for the table. port: of its server. messages: the requests' bytes, sent in turn.
    """

    name: str
    port: int
    messages: Sequence[bytes]


@dataclass
class Rounds:
    """What the rounds of one case came to: requests a second, latencies, shares of a core."""

    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    busy: list[float] = field(default_factory=list)
    sender: list[float] = field(default_factory=list)

    def add(self, found: Loaded, server_seconds: float) -> None:
        """One round more."""
        self.rates.append(found.per_second)
        self.latencies += found.latencies
        self.busy.append(server_seconds / found.seconds)
        self.sender.append(found.sender_seconds / found.seconds)


@dataclass(frozen=True)
class Figure:
    """What one case came to; `ratio` is its share of the requests a second of what it is compared with."""

    name: str
    connections: int
    per_second: float
    p50_ms: float
    p99_ms: float
    busy: float
    sender: float
    against: str | None
    ratio: float | None


class Servers:
    """The API, the bare application and their Valkey. Use it as a context manager."""

    def __init__(self, folder: Path, *, access_log: bool) -> None:
        self._folder, self._access_log = folder, access_log

    def __enter__(self) -> Self:
        self.valkey: ValkeyServer = start_valkey(self._folder / "valkey", options=PRODUCTION)
        self.config = Settings(data_dir=self._folder, redis_url=self.valkey.url)
        try:
            logs = str(self._access_log).lower()
            self._api = ApiServer(self._folder, self.valkey.url, access_log=logs).__enter__()
            self._bare = ApiServer(self._folder, self.valkey.url, application="bench.api:bare()").__enter__()
        except BaseException:
            self.valkey.kill()
            raise
        self.api, self.bare = (int(one.url.rpartition(":")[2]) for one in (self._api, self._bare))
        return self

    def __exit__(self, *_: object) -> None:
        self._api.stop()
        self._bare.stop()
        self.valkey.kill()

    def processor_seconds(self, port: int) -> float:
        """Processor time that the worker process of a server has used."""
        return _processor_seconds((self._api if port == self.api else self._bare).workers()[0])


def measure(servers: Servers, options: argparse.Namespace) -> list[Figure]:
    """Every case at every number of connections."""
    figures = []
    for connections in options.connections:
        rounds: dict[str, Rounds] = {}
        for _ in range(options.rounds):
            for case in _cases(servers, options):
                load(case.port, case.messages[::-1], WARM_UP_SECONDS, connections)
                before = servers.processor_seconds(case.port)
                found = load(case.port, case.messages, options.seconds, connections)
                spent = servers.processor_seconds(case.port) - before
                rounds.setdefault(case.name, Rounds()).add(found, spent)
        figures += [_figure(name, connections, rounds) for name in rounds]
    return figures


def _figure(name: str, connections: int, rounds: Mapping[str, Rounds]) -> Figure:
    own, other = rounds[name], AGAINST.get(name)
    cuts = statistics.quantiles(own.latencies, n=100)
    share = (
        statistics.median(a / b for a, b in zip(own.rates, rounds[other].rates, strict=True))
        if other
        else None
    )
    median = statistics.median
    return Figure(
        name,
        connections,
        median(own.rates),
        cuts[49] * 1e3,
        cuts[98] * 1e3,
        median(own.busy),
        median(own.sender),
        other,
        share,
    )


def _cases(servers: Servers, options: argparse.Namespace) -> list[Case]:
    """The cases on an emptied store with one live painter and so many jobs being painted, so many waiting."""
    count, once = options.jobs, round(POLLS_A_SECOND * (options.seconds + WARM_UP_SECONDS))
    with connect(servers.config) as client:
        client.flushdb()
        Workers(client).advertise(WorkerInfo("painter", Queue.PAINT, ("compact",), "cpu"), 600)
        submits = [message("POST", servers.api, "/v1/jobs", body=body(number)) for number in range(count)]
        painted = [json.loads(exchange(servers.api, one)[1])["id"] for one in submits]
        store = JobStore(client, servers.config)
        for _ in range(count):
            _paint(store)
        waiting = [json.loads(exchange(servers.api, one)[1])["id"] for one in submits]
        client.config_set("appendfsync", "no")  # for as long as nothing is measured
        strange = [store.submit(new_job("local")).job.id for _ in range(once)]
        bodies = [message("POST", servers.api, "/v1/jobs", body=body(number)) for number in range(once)]
        fresh = [json.loads(exchange(servers.api, one)[1])["id"] for one in bodies]
        client.config_set("appendfsync", "always")
    polls = [message("GET", servers.api, f"/v1/jobs/{one}") for one in painted]
    tags = [_etag(exchange(servers.api, one)[0]) for one in polls]
    return [
        Case(STATIC, servers.bare, [message("GET", servers.bare, "/healthz")]),
        Case(HEALTH, servers.api, [message("GET", servers.api, "/healthz")]),
        Case(HGETALL, servers.bare, [message("GET", servers.bare, f"/hgetall/{one}") for one in painted]),
        Case(POLL, servers.api, polls),
        Case(WAITING, servers.api, [message("GET", servers.api, f"/v1/jobs/{one}") for one in waiting]),
        Case(FIRST, servers.api, [message("GET", servers.api, f"/v1/jobs/{one}") for one in fresh]),
        Case(STRANGE, servers.api, [message("GET", servers.api, f"/v1/jobs/{one}") for one in strange]),
        Case(
            UNCHANGED,
            servers.api,
            [
                message("GET", servers.api, f"/v1/jobs/{one}", f"If-None-Match: {tag}")
                for one, tag in zip(painted, tags, strict=True)
            ],
        ),
        Case(
            DELAY, servers.bare, [message("POST", servers.bare, "/delay", body=body(n)) for n in range(count)]
        ),
        Case(SUBMIT, servers.api, submits),
    ]


def _paint(store: JobStore) -> None:
    """Bring the next job to the middle of its life."""
    intake = store.claim(Queue.INTAKE, "intake")
    assert intake
    store.advance(intake, intake.job.content, intake.job.styles, {"fetch": 0.2})
    claim = store.claim(Queue.PAINT, "painter", ["compact"])
    assert claim
    progress = PaintProgress(100, 430, 1, 3, {"content": 0.1, "style": 0.2, "tv": 0.01})
    store.renew(claim, progress, Stage.PAINTING)


def _etag(head: str) -> str:
    return next(line.partition(": ")[2] for line in head.splitlines() if line.lower().startswith("etag:"))


def _processor_seconds(pid: int) -> float:
    """User and system time of a process so far (proc(5), stat)."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICK


def section(options: argparse.Namespace) -> Section:
    """Measure, and tell."""
    with (
        tempfile.TemporaryDirectory(dir=options.folder) as own,
        Servers(Path(own), access_log=options.access_log) as servers,
    ):
        figures = measure(servers, options)
    rows = [
        [
            f"`{one.name}`",
            str(one.connections),
            f"{one.per_second:.0f}",
            f"{one.p50_ms:.1f}",
            f"{one.p99_ms:.1f}",
            f"{1e3 * one.busy / one.per_second:.2f}",
            f"{one.busy:.2f}",
            f"{one.sender:.2f}",
            f"{ratio(one.ratio)} of `{one.against}`" if one.ratio else "-",
        ]
        for one in figures
    ]
    columns = (
        "case",
        "connections",
        "requests a second",
        "p50 ms",
        "p99 ms",
        "server ms",
        "busy",
        "sender",
        "ratio",
    )
    return Section(
        "The API",
        machine.command("bench.api"),
        PROSE.format(cores=machine.cores(), jobs=options.jobs, log="on" if options.access_log else "off"),
        machine.describe(options.threads),
        [Table(columns, rows)],
        [asdict(one) for one in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var"), help="on the disk to measure")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=1.0, help="of one case in one round")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--access-log", action="store_true", help="have the API write a line a request")
    parser.add_argument("--jobs", type=int, default=200, help="that are polled in turn, in each state")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
