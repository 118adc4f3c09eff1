"""How the audit reads: in bounded pieces, each of them at one moment.

A job's record and every entry that names it are read by one script. Transitions are scripts too, so what such
a sighting shows is what the store was at that moment, however busy it is.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import redis

from shared.jobs.hashes import fields_of
from shared.jobs.keys import Key
from shared.jobs.record import SCHEMA, Status
from shared.jobs.scripts import Scripts
from shared.objects import ObjectStore
from shared.redis import translated

#: Jobs that one script call examines, and entries that one SCAN step is asked for.
BATCH = 100
#: Seconds between two looks at what may be changing.
LOOK_SECONDS = 1.0

Names = list[str]


class AuditStoppedError(Exception):
    """The audit was told to stop before its end."""


@dataclass(frozen=True)
class Sighting:
    """What the store knew of one job at one moment. Scores are None where there is no entry.

    Attributes:
        uid: the job's.
        at: that moment, in milliseconds since the epoch, by Redis' clock.
        record: its hash; empty when there is none.
        found: its score in the set that it was looked for in. leases, delayed, deadlines, ended: likewise.
        intake: its score among those that wait for intake.
        lane: its score among those that wait in its own lane.
        following: its score among those that follow the job which makes its recipe.
        sharing: its score among those that share its output, where its whole record was read.
        sharers: how many those are, likewise.
        lists: its score in each list of its owner's that names it, by status.
        named: the uid that its ID stands for, where its ID is the caller's own.
    """

    uid: str
    at: int
    record: dict[str, str]
    found: float | None
    leases: float | None
    delayed: float | None
    deadlines: float | None
    ended: float | None
    intake: float | None
    lane: float | None
    following: float | None
    sharing: float | None
    sharers: int
    lists: dict[str, float]
    named: str | None

    @property
    def later(self) -> bool:
        """Whether a later Impasto wrote the record; nothing is known of what it means then."""
        schema = self.record.get("schema", "")
        return schema.isdecimal() and int(schema) > SCHEMA


class Reader:
    """Bounded reads of both stores.

    Args:
        client: the job store's Redis.
        objects: the object store.
        should_stop: asked before each read.
        pause: waits so many seconds between two looks.
    """

    def __init__(
        self,
        client: redis.Redis,
        objects: ObjectStore,
        should_stop: Callable[[], bool] = lambda: False,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.objects = objects
        self.pause = pause
        self._client = client
        self._should_stop = should_stop
        self._scripts = Scripts(client, {})

    def go_on(self) -> None:
        """Raise `AuditStoppedError` when the audit was told to stop."""
        if self._should_stop():
            raise AuditStoppedError

    def at_once(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """The answers to several commands, given at one moment.

        Raises:
            StoreUnavailable: Redis does not answer.
        """
        self.go_on()
        with translated(), self._client.pipeline(transaction=True) as pipeline:
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            answers: list[Any] = pipeline.execute()
        return answers

    def now(self) -> int:
        """Milliseconds since the epoch, by Redis' clock."""
        [(seconds, micros)] = self.at_once(("TIME",))
        return int(seconds) * 1000 + int(micros) // 1000

    def keys(self, prefix: str) -> Iterator[Names]:
        """What follows the prefix in each key that has it; some may come twice."""
        cursor: Any = 0
        while True:
            self.go_on()
            with translated():
                cursor, found = self._client.scan(cursor, match=f"{prefix}*", count=10 * BATCH)
            keys: Any = found
            yield from _pieces([key.removeprefix(prefix) for key in keys])
            if not cursor:
                return

    def members(self, key: str) -> Iterator[list[tuple[str, float]]]:
        """A sorted set's members and scores; some may come twice."""
        yield from self._steps("zscan", key)

    def fields(self, key: str) -> Iterator[list[tuple[str, str]]]:
        """A hash's fields and values; some may come twice."""
        yield from self._steps("hscan", key)

    def entries(self, key: str) -> Iterator[list[str]]:
        """A set's members; some may come twice."""
        yield from self._steps("sscan", key)

    def _steps(self, command: str, key: str) -> Iterator[list[Any]]:
        cursor: Any = 0
        while True:
            self.go_on()
            with translated():
                cursor, found = getattr(self._client, command)(key, cursor, count=BATCH)
            yield from _pieces(list(found.items()) if isinstance(found, dict) else found)
            if not cursor:
                return

    def sightings(self, uids: Sequence[str], key: str | None = None) -> list[Sighting]:
        """What the store knows of these jobs.

        With `key`, a sorted set, also the score that it has them with; then their records are not whole: they
        say what places a job, nothing else.
        """
        if not uids:
            return []
        self.go_on()
        at, *jobs = self._scripts.run("examine", uids=list(uids), statuses=list(Status), key=key)
        return [_sighting(uid, at, *job) for uid, job in zip(uids, jobs, strict=True)]

    def again(self, seen: Sighting) -> Sighting:
        """The same job, looked at once more."""
        return self.sightings([seen.uid])[0]

    def jobs(self) -> Iterator[list[Sighting]]:
        """Every job that has a record all the while; some may come twice."""
        for uids in self.keys(Key.JOB):
            yield [seen for seen in self.sightings(uids) if seen.record]


def _sighting(
    uid: str, at: int, flat: Names, scores: list[str | None], named: str | None, sharers: int
) -> Sighting:
    found = [None if score is None else float(score) for score in scores]
    looked_for, leases, delayed, deadlines, ended, intake, lane, following, sharing, *lists = found
    return Sighting(
        uid=uid,
        at=at,
        record=fields_of(flat),
        found=looked_for,
        leases=leases,
        delayed=delayed,
        deadlines=deadlines,
        ended=ended,
        intake=intake,
        lane=lane,
        following=following,
        sharing=sharing,
        sharers=sharers,
        lists={str(status): place for status, place in zip(Status, lists, strict=True) if place is not None},
        named=named,
    )


def _pieces(found: list[Any]) -> Iterator[list[Any]]:
    """A small set comes whole, whatever number was asked for."""
    for start in range(0, len(found), BATCH):
        yield found[start : start + BATCH]
