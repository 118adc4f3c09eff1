"""Upkeep of the job store: healing what crashes left, taking turns at it, and counting what there is."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from shared.jobs.inputs import InputStore
from shared.jobs.keys import Key
from shared.jobs.policy import bridging, milliseconds
from shared.jobs.record import Queue, Status
from shared.jobs.results import Reaped, Tally
from shared.jobs.scripts import Reply
from shared.redis import translated

#: Jobs that one script call handles at most: Redis serves nobody else meanwhile.
BATCH = 200
#: Calls in one round of the reaper that attend to followers of ended leaders.
SETTLE_ROUNDS = 100
#: Milliseconds that a turn lasts at least.
_SHORTEST_TURN = 50


class UpkeepStore(InputStore):
    """Housekeeping in the job store. Every method may raise `StoreUnavailable`."""

    def reap(self, *, regular: bool = False) -> Reaped:
        """Heal what crashed workers and lost bells left, a bounded amount; any number of workers may.

        Args:
            regular: this is a round of those that come every `reap_seconds`; if it comes late, Redis may have
                been away, and leases are treated accordingly.
        """
        ended = self._scripts.run("reap", limit=BATCH, **(bridging(self._settings) if regular else {}))
        rejoined = self._scripts.run("rejoin", limit=BATCH)[0]
        expired, canceled = self._scripts.run("expire", limit=BATCH)
        settled = self._settled()
        self._scripts.run("drop_uploads", limit=BATCH)
        return Reaped(
            requeued=ended.count(Status.QUEUED) + rejoined,
            failed=ended.count(Status.FAILED) + settled.count(Status.FAILED),
            canceled=ended.count(Status.CANCELED) + canceled,
            expired=ended.count(Status.EXPIRED) + expired,
            rang=self._bells_wanted(),
        )

    def was_away(self) -> None:
        """Redis did not answer this worker for a good part of a lease: what that cost is no job's fault."""
        self._scripts.run("away")

    def take_turn(self, name: str, worker: str, seconds: float) -> bool:
        """Whether it is this worker's turn at something that one worker does in each interval.

        Args:
            name: of what is to be done.
            worker: who asks.
            seconds: until it is somebody's turn again.
        """
        hold = max(milliseconds(seconds), _SHORTEST_TURN)
        return bool(self._scripts.run("take_turn", name=name, worker=worker, hold=hold)[0])

    def outstanding(self, queue: Queue) -> int:
        """Bells that nobody has answered yet: the length of the Celery queue's list."""
        with translated():
            return int(self._redis.llen(queue))

    def due_for_purge(self, limit: int) -> Sequence[tuple[str, str]]:
        """Owner and ID of ended jobs whose retention is over."""
        names = self._scripts.run("due", limit=limit)
        return list(zip(names[::2], names[1::2], strict=True))

    def trim_changes(self, seconds: float) -> None:
        """Forget changes that are older than so many seconds: they name jobs that may be purged by now."""
        with translated():
            now: Any = self._redis.time()
            oldest = round((now[0] - seconds) * 1000 + now[1] / 1000)
            self._redis.xtrim(Key.CHANGES, minid=oldest, approximate=False)

    def expire_outputs(self, limit: int) -> tuple[int, Sequence[str]]:
        """Forget outputs that were to go before their jobs; how many, and the keys of objects to delete."""
        jobs, keys = self._scripts.run("expire_outputs", limit=limit)
        return jobs, keys

    def shared(self, output_key: str) -> bool:
        """Whether jobs other than its maker name an output."""
        with translated():
            return bool(self._redis.exists(Key.SHARERS + output_key))

    def counts(self) -> Mapping[str, int]:
        """Jobs by status."""
        with translated():
            found: Any = self._redis.hgetall(Key.COUNTS)
        return {status: int(found.get(status, 0)) for status in Status}

    def tally(self) -> Tally:
        """What was refused, lost, put back and finished so far."""
        with translated():
            found: Any = self._redis.hgetall(Key.TALLY)
        return Tally(**{field.name: int(found.get(field.name, 0)) for field in fields(Tally)})

    def depths(self) -> Mapping[Queue, int]:
        """Jobs that wait for intake and for paint, without those in back-off."""
        with translated():
            lanes: Any = self._redis.hgetall(Key.WAITING)
        intake = int(lanes.pop(Queue.INTAKE, 0))
        return {Queue.INTAKE: intake, Queue.PAINT: sum(map(int, lanes.values()))}

    def _settled(self) -> Reply:
        """What became of followers of ended leaders: the status that each has now."""
        settled: Reply = []
        for _ in range(SETTLE_ROUNDS):
            some = self._scripts.run("settle_followers", limit=BATCH)
            if not some:
                break
            settled += some
        return settled

    def _bells_wanted(self) -> dict[Queue, int]:
        wanted = {}
        for queue, depth in self.depths().items():
            wanted[queue] = max(0, min(self._settings.bells, depth) - self.outstanding(queue))
        return wanted
