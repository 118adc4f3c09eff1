"""Knows who waits for what. One thread owns everything here; others leave calls in its inbox."""

import logging
import queue
import resource
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice
from typing import Any

import redis

from api.waiting.connections import Connections
from api.waiting.history import History
from api.waiting.tail import Tail
from api.waiting.waiters import Waiter
from shared.errors import StoreUnavailable
from shared.jobs.changes import Change, order, read_jobs
from shared.jobs.eta import Outlook
from shared.jobs.record import Job, Status
from shared.redis import connect
from shared.settings import Settings

log = logging.getLogger(__name__)

#: Records read at once.
BATCH = 500
#: Between two looks at what is due beside what happens.
TICK_SECONDS = 0.5
#: Topics whose place in the line is looked up in one tick: a crowd of callers that wait is served in turn.
PLACES = 25
#: For how long a stream that comes back waits to be told what it missed, while the changes are being read.
READY_SECONDS = 5.0
#: Changes of a job between a look at it and its being held, at most; fewer than these are told one by one.
MISSED_WHILE_BEGINNING = 8
#: Descriptors that a process keeps for everything else.
RESERVED = 256
#: What those who wait are given when the process leaves.
LEAVE_SECONDS = 3.0


class Hub:
    """Holds waiters and answers them. Safe to share between threads; starts with the first waiter.

    Args:
        settings: how many may wait, where Redis is.
        client: for reading records.
        outlook: a job's place in its line and how long it may take; may raise `StoreUnavailable`.
        leaving: whether the process is to go; asked about once a second.
    """

    def __init__(
        self, settings: Settings, client: redis.Redis, outlook: Callable[[Job], Outlook | None]
    ) -> None:
        self._settings = settings
        self._client = client
        self._outlook = outlook
        self.leaving: Callable[[], bool] = lambda: False
        self.connections = Connections(self._look_whether_to_leave)
        self._starting = threading.Lock()
        self._started = False
        self._left = threading.Event()
        self._inbox: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="hub", daemon=True)
        self._tail: Tail | None = None
        # The thread's own.
        self._history = History()
        self._ready = False
        self._until_ready: list[tuple[float, Waiter]] = []
        self._topics: dict[str, list[Waiter]] = {}
        self._deadlines: list[tuple[float, int, Waiter]] = []
        self._numbers = count()
        self._unread: dict[str, list[Change]] = {}
        self._missed: set[str] = set()
        self._ticking: set[str] = set()
        self._queued: dict[str, None] = {}  # topics in the order in which their place was looked up
        self._ticked = 0.0

    @property
    def full(self) -> bool:
        """Whether no more callers may wait here."""
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        room = most - RESERVED if most != resource.RLIM_INFINITY else self._settings.api_waiters
        return len(self.connections) >= min(self._settings.api_waiters, room)

    @property
    def left(self) -> bool:
        """Whether the process is going, so that nobody may wait any more."""
        return self._left.is_set() or self.leaving()

    def start(self) -> None:
        """Start the threads, once."""
        with self._starting:
            if not self._started:
                self._started = True
                self._tail = Tail(connect(self._settings), self._settings.redis_timeout, _Posted(self))
                self.connections.start()
                self._thread.start()
                self._tail.start()

    def hold(self, waiter: Waiter) -> None:
        """Hold a waiter until it is answered or its caller has gone."""
        self.post(partial(self._hold, waiter))

    def leave(self) -> None:
        """The process goes: answer every one that waits, within some seconds. May be repeated."""
        with self._starting:
            first = not self._left.is_set()
            self._left.set()
        if not self._started:
            return
        if first:
            self.post(self._leave)
        self._thread.join(LEAVE_SECONDS)

    def close(self) -> None:
        """Leave, and close what connections are left."""
        self.leave()
        if self._started:
            self.connections.stop(LEAVE_SECONDS)

    def post(self, call: Callable[[], None]) -> None:
        """Have the thread make this call."""
        self._inbox.put(call)

    def _look_whether_to_leave(self) -> None:
        """For the thread of the connections."""
        if self.leaving() and not self._left.is_set():
            self._left.set()
            self.post(self._leave)

    # From here on all is the thread's own.

    def _run(self) -> None:
        while self._tail is not None:
            self._one_call(self._until_due())
            try:
                self._see_to_what_is_due()
            except StoreUnavailable:
                pass  # what is due stays due
            except Exception:
                log.exception("waiting callers: a tick failed")
        while not self._inbox.empty():  # who came while the others left
            self._one_call(0.0)

    def _one_call(self, seconds: float | None) -> None:
        try:
            self._inbox.get(timeout=seconds)()
        except queue.Empty:
            pass
        except Exception:
            log.exception("waiting callers: a call failed")

    def _until_due(self) -> float | None:
        if not self._topics and not self._until_ready:
            return None
        soonest = self._ticked + TICK_SECONDS
        if self._deadlines:
            soonest = min(soonest, self._deadlines[0][0])
        return max(0.0, soonest - time.monotonic())

    def begins(self, complete_from: str) -> None:
        """The tail's: it has begun, or has lost some."""
        # Some began to wait before anything could be told; what follows may begin later than they did.
        lost = self._ready or order(complete_from) > order(self._history.last)
        self._ready = False
        self._history = History(complete_from)
        if lost:
            self._missed.update(self._topics)

    def caught_up(self) -> None:
        """The tail's."""
        self._ready = True
        waiting, self._until_ready = self._until_ready, []
        for _, waiter in waiting:
            self._begin(waiter)

    def changed(self, changes: list[Change]) -> None:
        """The tail's."""
        touched: dict[str, list[Change]] = defaultdict(list)
        for change in changes:
            self._history.add(change)
            for topic in (change.uid, change.batch_id):
                if topic in self._topics:
                    touched[topic].append(change)
        for topic, found in touched.items():
            self._unread.setdefault(topic, []).extend(found)
        with suppress(StoreUnavailable):  # told at a tick
            self._tell()

    def _hold(self, waiter: Waiter) -> None:
        if self._left.is_set():
            self._part_with([waiter])
        elif self._ready:
            self._begin(waiter)
        else:
            self._until_ready.append((time.monotonic() + READY_SECONDS, waiter))

    def _begin(self, waiter: Waiter) -> None:
        try:
            self._begin_one(waiter)
        except Exception:
            log.exception("waiting callers: one could not be begun")
            waiter.sink.end()

    def _begin_one(self, waiter: Waiter) -> None:
        self._topics.setdefault(waiter.topic, []).append(waiter)
        if waiter.deadline is not None:
            heappush(self._deadlines, (waiter.deadline, next(self._numbers), waiter))
        if waiter.ticks:
            self._ticking.add(waiter.topic)
        if waiter.queued:
            self._queued.setdefault(waiter.topic)
        waiter.begin(self._history)
        # What happened after its caller looked and before it was held is told now; who knows of it passes it
        # over.
        if happened := self._history.latest(waiter.topic, MISSED_WHILE_BEGINNING):
            self._tell_one(waiter, happened)

    def _tell_one(self, waiter: Waiter, changes: list[Change]) -> None:
        """Tell one waiter of changes that the others of its topic know of."""
        job = None
        if waiter.wants_record(changes):
            try:
                job = read_jobs(self._client, [waiter.topic]).get(waiter.topic)
            except StoreUnavailable:
                self._unread.setdefault(waiter.topic, []).extend(changes)
                return
        waiter.changed(changes, job, self._outlook_of(job))

    def _tell(self) -> None:
        """Tell waiters of the changes that they have not been told of. Raises `StoreUnavailable`."""
        while self._unread:
            topics = list(islice(self._unread, BATCH))
            wanted = [
                topic
                for topic in topics
                if any(waiter.wants_record(self._unread[topic]) for waiter in self._topics.get(topic, ()))
            ]
            jobs = read_jobs(self._client, wanted) if wanted else {}
            for topic in topics:
                job, changes = jobs.get(topic), self._unread[topic]
                outlook = self._outlook_of(job)
                last = changes[-1]
                if last.uid == topic and last.status == Status.QUEUED:  # a batch has no place, its items have
                    self._queued.setdefault(topic)
                else:
                    self._queued.pop(topic, None)
                self._each(topic, lambda waiter: waiter.changed(changes, job, outlook))  # noqa: B023 - called at once
                del self._unread[topic]

    def _see_to_what_is_due(self) -> None:
        now = time.monotonic()
        if now - self._ticked >= TICK_SECONDS:
            self._ticked = now
            self._tick(now)
        due = []
        while self._deadlines and self._deadlines[0][0] <= now:
            waiter = heappop(self._deadlines)[2]
            if waiter.sink.open:
                due.append(waiter)
        if due:
            self._answer(due)

    def _tick(self, now: float) -> None:
        while self._until_ready and self._until_ready[0][0] <= now:
            self._begin(self._until_ready.pop(0)[1])
        for topic in [topic for topic, held in self._topics.items() if not all(w.sink.open for w in held)]:
            self._each(topic, lambda _: None)
        self._tell()
        self._make_up()
        for topic in self._ticking - self._missed:  # who has missed something is told so first
            self._each(topic, lambda waiter: waiter.tick())
        self._look_up_places()

    def _make_up(self) -> None:
        """Tell those how things are who have missed something."""
        if not self._ready:
            return
        for topics in _pieces(tuple(self._missed)):
            jobs = read_jobs(self._client, topics)
            for topic in topics:
                job = jobs.get(topic)
                outlook = self._outlook_of(job)
                self._each(topic, lambda waiter: waiter.missed(job, outlook))  # noqa: B023 - called at once
                self._missed.discard(topic)

    def _look_up_places(self) -> None:
        """The places of some that wait in line, in turn."""
        topics = list(islice(self._queued, PLACES))
        jobs = read_jobs(self._client, topics) if topics else {}
        for topic in topics:
            del self._queued[topic]
            job = jobs.get(topic)  # none of one that was deleted
            if job and topic in self._topics and job.status is Status.QUEUED:
                self._queued[topic] = None  # at the end
                outlook = self._outlook_of(job)
                self._each(topic, lambda waiter: waiter.moved(job, outlook))  # noqa: B023 - called at once

    def _answer(self, waiters: Sequence[Waiter]) -> None:
        """Their deadline has come."""
        for some in _pieces(waiters):
            try:
                jobs = read_jobs(self._client, [waiter.topic for waiter in some])
            except StoreUnavailable:
                for waiter in some:
                    waiter.unanswerable()
            else:
                for waiter in some:
                    self._answer_one(waiter, jobs.get(waiter.topic))

    def _answer_one(self, waiter: Waiter, job: Job | None) -> None:
        try:
            waiter.due(job, self._outlook_of(job))
        except Exception:
            log.exception("waiting callers: one could not be answered")
            waiter.sink.end()

    def _leave(self) -> None:
        held = [waiter for waiters in self._topics.values() for waiter in waiters]
        held += [waiter for _, waiter in self._until_ready]
        self._topics, self._until_ready, self._deadlines = {}, [], []
        self._part_with(held)
        if self._tail is not None:
            self._tail.stop()
            self._tail = None

    def _part_with(self, waiters: Sequence[Waiter]) -> None:
        for waiter in waiters:
            if waiter.sink.open:
                waiter.leave()
        self._answer([waiter for waiter in waiters if waiter.deadline is not None and waiter.sink.open])

    def _outlook_of(self, job: Job | None) -> Outlook | None:
        try:
            return self._outlook(job) if job else None
        except StoreUnavailable:
            return None

    def _each(self, topic: str, tell: Callable[[Waiter], None]) -> None:
        """Tell those who wait for a topic; forget those who are answered or gone."""
        held = self._topics.get(topic, [])
        for waiter in held:
            if waiter.sink.open:
                try:
                    tell(waiter)
                except StoreUnavailable:
                    raise
                except Exception:
                    log.exception("waiting callers: one could not be told")
                    waiter.sink.end()
        left = [waiter for waiter in held if waiter.sink.open]
        if left:
            self._topics[topic] = left
        else:
            self._topics.pop(topic, None)
            self._queued.pop(topic, None)
            self._missed.discard(topic)
            self._ticking.discard(topic)


class _Posted:
    """The hub as its tail sees it: each call goes through the inbox."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    def begins(self, complete_from: str) -> None:
        self._hub.post(partial(self._hub.begins, complete_from))

    def changed(self, changes: list[Change]) -> None:
        self._hub.post(partial(self._hub.changed, changes))

    def caught_up(self) -> None:
        self._hub.post(self._hub.caught_up)


def _pieces(found: Sequence[Waiter] | Sequence[str]) -> Iterator[Any]:
    for start in range(0, len(found), BATCH):
        yield found[start : start + BATCH]
