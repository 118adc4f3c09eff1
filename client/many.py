"""Many jobs at once: handed in as fast as the service takes them, and told as they end.

Both directions are bounded. What is handed in is read from the caller's iterable only as far ahead as
requests are in flight, and not at all while nobody takes the outcomes; what is watched is read only as far as
the window.
"""

import heapq
import itertools
import time
from collections.abc import AsyncIterable, Callable, Iterable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from client.errors import ApiError, UnreachableError
from client.jobs import Jobs
from client.looking import Look, away
from client.models import Job, Outcome, Request
from client.plans import END, Await, Flow, Give, Handle, Iterate, Next, Pause, Plan, Start, Stop
from client.retries import LATER

#: What `as_completed` takes: jobs, their IDs, or what `submit_many` gives.
Watched = Job | str | Outcome

#: Refusals that the next request would meet too.
_OF_ALL = LATER | {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}


def submit_many(jobs: Jobs, requests: Iterable[Request] | AsyncIterable[Request], in_flight: int) -> Flow:
    """See `Impasto.submit_many`."""
    if in_flight < 1:
        raise ValueError(f"in_flight is {in_flight}: at least one request has to be")
    source = yield Iterate(requests)
    running: dict[Handle[Job], Request] = {}
    exhausted = False
    try:
        while True:
            while not exhausted and len(running) < in_flight:
                request = yield Next(source)
                exhausted = request is END
                if not exhausted:
                    running[(yield Start(jobs.submit(request)))] = request
            if not running:
                return
            done: set[Handle[Job]] = yield Await(list(running))
            broken: Exception | None = None
            for handle in done:
                outcome = _outcome(running.pop(handle), handle)
                if outcome.error is not None and concerns_all(outcome.error):
                    broken = outcome.error
                else:
                    yield Give(outcome)
            if broken is not None:
                raise broken
    finally:
        yield Stop(list(running))


def concerns_all(error: Exception) -> bool:
    """Whether an error is not about the one request that met it."""
    of_all = isinstance(error, ApiError) and (
        error.status in _OF_ALL or error.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    )
    return of_all or isinstance(error, UnreachableError)


def _outcome(request: Request, handle: Handle[Job]) -> Outcome:
    try:
        return Outcome(request, job=handle.result())
    except Exception as error:  # noqa: BLE001 - told to the caller beside its request
        return Outcome(request, error=error)


@dataclass(order=True)
class _Due:
    """When a job is to be looked at next. `number` keeps the order of those due together."""

    at: float
    number: int
    id: str = field(compare=False)
    seen: Look[Job] | None = field(compare=False, default=None)
    away_since: float | None = field(compare=False, default=None)


class Watching:
    """The jobs of one `as_completed` that have not ended.

    Args:
        jobs: calls.
        in_flight: polls at once.
        on_progress: called with each job that has changed.
    """

    def __init__(self, jobs: Jobs, in_flight: int, on_progress: Callable[[Job], None] | None) -> None:
        self._jobs, self._in_flight, self._on_progress = jobs, in_flight, on_progress
        self._due: list[_Due] = []
        self.polls: dict[Handle[Look[Job]], _Due] = {}
        self._numbers = itertools.count()

    def __len__(self) -> int:
        return len(self._due) + len(self.polls)

    def add(self, id: str) -> None:  # noqa: A002 - the wire's name
        """Watch one more."""
        heapq.heappush(self._due, _Due(time.monotonic(), next(self._numbers), id))

    def poll(self) -> Plan[None]:
        """Start the polls that are due."""
        while self._due and len(self.polls) < self._in_flight and self._due[0].at <= time.monotonic():
            due = heapq.heappop(self._due)
            self.polls[(yield Start(self._jobs.watch(due.id).look(due.seen)))] = due

    @property
    def seconds(self) -> float | None:
        """Until another poll is due that can be started; None where one has to end first."""
        if not self._due or len(self.polls) >= self._in_flight:
            return None
        return max(0.0, self._due[0].at - time.monotonic())

    def told(self, handle: Handle[Look[Job]]) -> Job | None:
        """A poll has come back; returns the job, if it has ended."""
        due = self.polls.pop(handle)
        now = time.monotonic()
        try:
            due.seen = handle.result()
        except (ApiError, UnreachableError) as error:
            due.away_since = due.away_since or now
            retries = self._jobs.retries
            if not away(error) or now - due.away_since > retries.absence_seconds:
                raise
            due.at = now + retries.first_seconds
        else:
            due.away_since, due.at = None, now + due.seen.pause
            if due.seen.changed and self._on_progress:
                self._on_progress(due.seen.value)
            if due.seen.value.ended:
                return due.seen.value
        heapq.heappush(self._due, due)
        return None


def as_completed(
    jobs: Jobs,
    watched: Iterable[Watched] | AsyncIterable[Watched],
    window: int,
    in_flight: int,
    on_progress: Callable[[Job], None] | None,
) -> Flow:
    """See `Impasto.as_completed`."""
    if window < 1 or in_flight < 1:
        raise ValueError("window and in_flight are at least 1")
    source: Any = yield Iterate(watched)
    watching = Watching(jobs, in_flight, on_progress)
    pull: Handle[Any] | None = None
    exhausted = False
    try:
        while True:
            if pull is None and not exhausted and len(watching) < window:
                pull = yield Start(_next(source))
            yield from watching.poll()
            handles: list[Handle[Any]] = [*watching.polls, *([pull] if pull else ())]
            if not handles and not len(watching):
                return
            done: set[Handle[Any]] = set()
            if handles:
                done = yield Await(handles, watching.seconds)
            else:
                yield Pause(watching.seconds or 0)
            if pull is not None and pull in done:
                item = pull.result()
                pull, exhausted = None, item is END
                if not exhausted:
                    watching.add(_id_of(item))
            for handle in done & watching.polls.keys():
                ended = watching.told(handle)
                if ended is not None:
                    yield Give(ended)
    finally:
        yield Stop([*watching.polls, *([pull] if pull else ())])


def _next(source: Any) -> Plan[Any]:  # noqa: ANN401 - what `Iterate` told
    return (yield Next(source))


def _id_of(item: Watched) -> str:
    if isinstance(item, Outcome):
        if item.job is None:
            raise item.error or ValueError("an outcome has a job or an error")
        return item.job.id
    return item if isinstance(item, str) else item.id
