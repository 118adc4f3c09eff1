"""Many jobs at once: bounded in both directions, and nothing told twice or not at all."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from client import ApiError, AsyncImpasto, Impasto, Job, Outcome, Request, UnreachableError
from tests.support.web import Exchange, Web, in_turn, status
from tests.unit.client.conftest import QUICK, answer_json, job, problem

URL = "https://example.org/a.jpg"


class Service:
    """Accepts jobs under their callers' IDs, from the time on that so many requests are with it at once."""

    def __init__(self, web: Web, crowd: int = 1) -> None:
        self.lock = threading.Lock()
        self.now = self.most = 0
        self.crowd = crowd
        self.hold = threading.Event()
        web.otherwise(self)

    def __call__(self, exchange: Exchange) -> None:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
            if self.now >= self.crowd:
                self.hold.set()
        self.hold.wait(20)
        with self.lock:
            self.now -= 1
        answer_json(job(id=exchange.path.rpartition("/")[2]), 202)(exchange)


class Source:
    """Requests, and how many of them have been read."""

    def __init__(self, count: int) -> None:
        self.count, self.read = count, 0

    def __iter__(self) -> Iterator[Request]:
        for number in range(self.count):
            self.read += 1
            yield Request(URL, [URL], id=f"job_{number}")


def test_every_request_has_its_outcome_and_the_requests_in_flight_are_bounded(
    web: Web, impasto: Impasto
) -> None:
    service = Service(web, crowd=5)
    outcomes = list(impasto.submit_many(Source(60), in_flight=5))
    pairs = [(outcome.request.id, outcome.job and outcome.job.id) for outcome in outcomes]
    assert sorted(pairs) == sorted((f"job_{n}", f"job_{n}") for n in range(60))
    assert service.most == 5


def test_the_iterable_is_read_no_further_than_requests_are_in_flight(web: Web, impasto: Impasto) -> None:
    Service(web)
    source = Source(100)
    outcomes = impasto.submit_many(source, in_flight=4)
    assert source.read == 0
    for taken in range(1, 20):
        next(outcomes)
        assert source.read <= taken + 4
    outcomes.close()  # type: ignore[attr-defined]
    assert source.read < 25


def test_a_request_that_is_refused_is_an_outcome_and_the_others_go_on(web: Web, impasto: Impasto) -> None:
    Service(web)
    web.route("/v1/jobs/job_1", problem(422, "invalid_request"))
    requests = [*Source(3), Request("no-such-file.jpg", [URL], id="job_3")]
    outcomes = {outcome.request.id: outcome for outcome in impasto.submit_many(requests)}
    assert {name for name, outcome in outcomes.items() if outcome.job} == {"job_0", "job_2"}
    assert isinstance(outcomes["job_1"].error, ApiError)
    assert isinstance(outcomes["job_3"].error, FileNotFoundError)


@pytest.mark.parametrize(
    "bad", [problem(401, "unauthorized"), status(503), status(500)], ids=["401", "503", "500"]
)
def test_what_every_request_would_meet_is_raised_and_the_rest_not_read(
    web: Web, impasto: Impasto, bad: Any
) -> None:
    web.otherwise(bad)
    source = Source(100)
    with pytest.raises(ApiError):
        list(impasto.submit_many(source, in_flight=3))
    assert source.read <= 3


def test_a_service_that_is_away_for_a_moment_is_waited_for_and_no_job_is_made_twice(
    web: Web, impasto: Impasto
) -> None:
    keys: list[str] = []

    def accept(exchange: Exchange) -> None:
        keys.append(exchange.headers["Idempotency-Key"])
        answer_json(job(id=f"job_{len(keys)}"), 202)(exchange)

    web.route("/v1/jobs", in_turn(status(503), status(429, Retry_After="0"), accept))
    outcomes = list(impasto.submit_many([Request(URL, [URL]) for _ in range(5)], in_flight=2))
    assert [outcome.error for outcome in outcomes] == [None] * 5
    assert len(set(keys)) == 5


def test_nobody_listening_is_raised() -> None:
    with Web() as gone:
        url = gone.url
    with Impasto(url, retries=QUICK) as impasto, pytest.raises(UnreachableError):
        list(impasto.submit_many(Source(3)))


def test_no_request_in_flight_is_refused(impasto: Impasto) -> None:
    with pytest.raises(ValueError, match="in_flight"):
        list(impasto.submit_many([], in_flight=0))


def test_the_asynchronous_client_takes_asynchronous_iterables(web: Web) -> None:
    Service(web)

    async def requests() -> AsyncIterator[Request]:
        for request in Source(7):
            await asyncio.sleep(0)
            yield request

    async def main() -> list[Outcome]:
        async with AsyncImpasto(web.url, retries=QUICK) as impasto:
            return [outcome async for outcome in impasto.submit_many(requests())]

    assert len(asyncio.run(main())) == 7


def test_the_blocking_client_refuses_an_asynchronous_iterable(web: Web) -> None:
    async def requests() -> AsyncIterator[Request]:
        yield Request(URL, [URL])

    with Impasto(web.url) as impasto, pytest.raises(TypeError, match="AsyncImpasto"):
        list(impasto.submit_many(requests()))  # type: ignore[arg-type]


def test_jobs_are_told_as_they_end_whatever_their_order(web: Web, impasto: Impasto) -> None:
    ended: list[Job] = []
    waiting = answer_json(job(id="slow"), Retry_After="0")

    def slow(exchange: Exchange) -> None:
        (answer_json(job(id="slow", status="failed")) if ended else waiting)(exchange)

    web.route("/v1/jobs/slow", in_turn(waiting, slow))
    web.route("/v1/jobs/quick", answer_json(job(id="quick", status="succeeded")))
    seen: list[str] = []
    jobs = ["slow", Job.from_json(job(id="quick"))]
    for one in impasto.as_completed(jobs, on_progress=lambda job: seen.append(job.status)):
        ended.append(one)  # noqa: PERF402 - what is slow looks there meanwhile
    assert [(one.id, one.succeeded) for one in ended] == [("quick", True), ("slow", False)]
    assert sorted(set(seen)) == ["failed", "queued", "succeeded"]


def test_polls_name_what_was_seen(web: Web, impasto: Impasto) -> None:
    first = answer_json(job(), ETag='"1"', Retry_After="0")
    web.route(
        "/v1/jobs/job_1", in_turn(first, status(304, Retry_After="0"), answer_json(job(status="failed")))
    )
    assert len(list(impasto.as_completed(["job_1"]))) == 1
    assert [seen.headers.get("If-None-Match") for seen in web.seen] == [None, '"1"', '"1"']


def test_a_window_keeps_further_jobs_from_being_handed_in(web: Web, impasto: Impasto) -> None:
    """At most so many jobs are open at a time, and the iterable is read no further."""
    ended: set[str] = set()
    opened: list[str] = []
    polls: Counter[str] = Counter()
    most = 0

    def answer(exchange: Exchange) -> None:
        nonlocal most
        name = exchange.path.rpartition("/")[2]
        if exchange.command == "PUT":
            opened.append(name)
            most = max(most, len(set(opened) - ended))
            answer_json(job(id=name), 202)(exchange)
        elif polls[name] < 8:
            polls[name] += 1
            answer_json(job(id=name), Retry_After="0")(exchange)
        else:
            ended.add(name)
            answer_json(job(id=name, status="succeeded"))(exchange)

    web.otherwise(answer)
    source = Source(16)
    if isinstance(impasto, Impasto):
        outcomes: Any = impasto.submit_many(source, in_flight=1)
    else:
        outcomes = impasto._target.submit_many(source, in_flight=1)
    assert len(list(impasto.as_completed(outcomes, window=5, in_flight=3))) == 16
    assert most <= 7  # the window, one being handed in, and one whose end is on its way


def test_watching_goes_on_while_the_service_is_away(web: Web, impasto: Impasto) -> None:
    away = [status(503)] * (2 * QUICK.attempts)
    web.route("/v1/jobs/job_1", in_turn(*away, answer_json(job(status="succeeded"))))
    assert [one.succeeded for one in impasto.as_completed(["job_1"])] == [True]


def test_a_job_that_is_not_there_ends_the_watching(web: Web, impasto: Impasto) -> None:
    web.route("/v1/jobs/job_1", problem(404, "not_found"))
    with pytest.raises(ApiError, match="not_found"):
        list(impasto.as_completed(["job_1"]))


def test_an_outcome_without_a_job_raises_its_error(impasto: Impasto) -> None:
    with pytest.raises(FileNotFoundError):
        list(impasto.as_completed([Outcome(Request(URL), error=FileNotFoundError("x"))]))


def test_nothing_to_watch_is_nothing_told(web: Web, impasto: Impasto) -> None:
    assert list(impasto.as_completed([])) == []
    assert web.seen == []


def test_an_error_of_the_callers_iterable_reaches_the_caller(web: Web, impasto: Impasto) -> None:
    def broken() -> Iterator[Request]:
        yield Request(URL, [URL], id="job_0")
        raise LookupError("the database is away")

    Service(web)
    with pytest.raises(LookupError, match="database"):
        list(impasto.submit_many(broken()))
