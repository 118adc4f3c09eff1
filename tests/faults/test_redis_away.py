"""Fault 6: Redis is away. Callers are told within two seconds, and asking again makes one job."""

import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from shared.jobs.record import Queue
from shared.jobs.workers import WorkerInfo, Workers
from tests.support.api import BODY
from tests.support.proxy import Connection, Fate, Rule, Way, black_hole, cut, cut_when, delayed, pass_on
from tests.support.rig import Rig
from tests.support.waiting import wait_for

BOUND_SECONDS = 2.0
#: What a busy machine may add to one answer.
SLACK_SECONDS = 5.0
#: What one request waits for Redis in all, as it is by default.
API_REDIS_SECONDS = 1.2
CALLERS = 32

Ask = tuple[str, str, dict[str, Any]]
#: An answer, and after how many seconds it came.
Timed = tuple[httpx.Response, float]
ASKS: tuple[Ask, ...] = (
    ("POST", "/v1/jobs", {"json": BODY}),
    ("PUT", "/v1/jobs/mine", {"json": BODY}),
    ("GET", "/v1/jobs/mine", {}),
    ("GET", "/v1/jobs", {}),
    ("POST", "/v1/jobs/mine/cancel", {}),
)


@contextmanager
def refused(rig: Rig) -> Iterator[None]:
    """Nothing listens any more."""
    rig.valkey.kill()
    yield
    rig.valkey.restart()


@contextmanager
def frozen(rig: Rig) -> Iterator[None]:
    """The kernel still accepts, the server does not answer."""
    rig.valkey.freeze()
    yield
    rig.valkey.thaw()


def ruled(rule: Rule) -> Callable[[Rig], Any]:
    """The proxy does this to everything."""

    @contextmanager
    def outage(rig: Rig) -> Iterator[None]:
        rig.redis_proxy.rule = rule
        yield
        rig.redis_proxy.rule = pass_on

    return outage


#: How Redis can be away, and whether the API reaches it without the proxy.
OUTAGES: dict[str, tuple[Callable[[Rig], Any], bool]] = {
    "refused": (refused, True),
    "frozen": (frozen, True),
    "black hole": (ruled(black_hole), False),
    "cut": (ruled(cut), False),
    "slow": (ruled(delayed(1.5)), False),
}


def api(rig: Rig, **settings: object) -> httpx.Client:
    """Start the API beside a painter that never paints; a client of it."""
    Workers(rig.client).advertise(WorkerInfo("painter@host:1", Queue.PAINT, ("compact",), "cpu"), 600)
    _, url = rig.api(**{"api_redis_seconds": API_REDIS_SECONDS, **settings})
    return httpx.Client(base_url=url, timeout=60, limits=httpx.Limits())


def asked(http: httpx.Client, ask: Ask) -> Timed:
    method, path, options = ask
    started = time.monotonic()
    answer = http.request(method, path, **options)
    return answer, time.monotonic() - started


def in_time(answers: list[Timed], slack: float = SLACK_SECONDS) -> None:
    """Assert that all are 503 with a time to come back, and came within the bound."""
    for answer, seconds in answers:
        assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
        assert seconds < BOUND_SECONDS + slack


def longest(answers: list[Timed]) -> float:
    return max(seconds for _, seconds in answers)


def median(answers: list[Timed]) -> float:
    return statistics.median(seconds for _, seconds in answers)


def asked_meanwhile(rig: Rig, kind: str, *, pooled: bool) -> tuple[list[Timed], list[Timed]]:
    """What an API answers while Redis is away: to callers one by one, and to many at once."""
    outage, direct = OUTAGES[kind]
    own = {"redis_url": rig.valkey.url} if direct else {}
    with api(rig, **own) as http, ThreadPoolExecutor(CALLERS) as pool:
        if pooled:
            assert asked(http, ASKS[1])[0].is_success
            assert all(
                answer.is_success for answer, _ in pool.map(lambda ask: asked(http, ask), ASKS[:4] * 4)
            )
        with outage(rig):
            one_by_one = [asked(http, ask) for ask in ASKS]
            at_once = [*pool.map(lambda number: asked(http, ASKS[number % len(ASKS)]), range(CALLERS))]
        alone, many = longest(one_by_one), longest(at_once)
        print(f"{kind}: {alone:.2f} s for each alone, {many:.2f} s for {CALLERS} at once")
        wait_for(lambda: asked(http, ASKS[3])[0].is_success, "the API to find Redis again", 20)
        assert asked(http, ASKS[0])[0].status_code == 202
    return one_by_one, at_once


@pytest.mark.fault(6)
@pytest.mark.parametrize("pooled", [True, False], ids=["on open connections", "on new ones"])
@pytest.mark.parametrize("kind", OUTAGES)
def test_whoever_asks_is_told_within_two_seconds_that_redis_is_away(
    rig: Rig, kind: str, pooled: bool
) -> None:
    one_by_one, at_once = asked_meanwhile(rig, kind, pooled=pooled)
    if (
        max(longest(one_by_one), median(at_once)) >= BOUND_SECONDS
    ):  # a machine that stood still may be why, but not twice
        one_by_one, at_once = asked_meanwhile(rig, kind, pooled=pooled)
    in_time(one_by_one, slack=0)
    in_time(at_once)
    assert median(at_once) < BOUND_SECONDS
    rig.audit()


def lost_answer(way: Way, chunk: bytes) -> bool:
    """What `submit` answers when it has written a job."""
    return way is Way.ANSWERED and b"created\r\n" in chunk


def lost_request(way: Way, chunk: bytes) -> bool:
    """What `submit` is asked."""
    return way is Way.ASKED and b'"body_hash"' in chunk


@pytest.mark.fault(6)
@pytest.mark.parametrize("lost", [lost_request, lost_answer])
def test_asking_again_with_the_same_key_makes_one_job(rig: Rig, lost: Callable[[Way, bytes], bool]) -> None:
    ask: Ask = ("POST", "/v1/jobs", {"json": BODY, "headers": {"Idempotency-Key": "once"}})
    with api(rig) as http:
        rig.redis_proxy.rule = cut_when(lost, times=2)  # the API itself asks once more
        in_time([asked(http, ask)])
        assert len(rig.audit().records) == (1 if lost is lost_answer else 0)
        again, once_more = (asked(http, ask)[0] for _ in range(2))
    assert again.status_code == once_more.status_code == 202
    assert again.json()["id"] == once_more.json()["id"]
    assert len(rig.audit().records) == 1


@pytest.mark.fault(6)
@pytest.mark.parametrize("lost", [lost_request, lost_answer])
def test_a_submit_that_was_cut_off_once_is_accepted_once(
    rig: Rig, lost: Callable[[Way, bytes], bool]
) -> None:
    with api(rig) as http:
        rig.redis_proxy.rule = cut_when(lost)
        accepted = asked(http, ASKS[0])[0]
    assert accepted.status_code == 202
    assert list(rig.audit().records) == [accepted.json()["id"]]


@pytest.mark.fault(6)
def test_a_bell_that_cannot_be_rung_neither_delays_nor_spoils_the_answer(rig: Rig) -> None:
    def swallows_bells(connection: Connection, way: Way, chunk: bytes) -> Fate:  # noqa: ARG001
        return Fate.HOLD if way is Way.ASKED and b"impasto.intake" in chunk else Fate.PASS

    # An answer that waited for the bell would take as long as a request may.
    with api(rig, api_redis_seconds=15) as http:
        rig.redis_proxy.rule = swallows_bells
        answer, seconds = asked(http, ASKS[0])
    assert answer.status_code == 202
    assert seconds < BOUND_SECONDS + SLACK_SECONDS
    assert rig.store.get("local", answer.json()["id"])
