"""Which workers are alive and what they offer: each advertises itself for a while, again and again."""

import json
import time
from dataclasses import asdict, dataclass

import redis

from shared.jobs.keys import Key
from shared.jobs.record import Queue
from shared.jobs.scripts import Scripts
from shared.redis import translated

#: Workers that one look returns at most.
MAX_WORKERS = 1000
#: Seconds for which the list of live workers is believed, so that a burst of submits asks Redis once.
_LIVE_SECONDS = 1.0


@dataclass(frozen=True)
class WorkerInfo:
    """What a worker says of itself.

    Attributes:
        name: unique among live workers.
        queue: the stage it serves.
        backbones: for paint, those whose weights it has.
        device: what it computes on, such as `cpu` or `cuda:0`.
        resident_bytes: its resident set when it said so; 0 where that is not known.
    """

    name: str
    queue: Queue
    backbones: tuple[str, ...]
    device: str
    resident_bytes: int = 0


class Workers:
    """The live workers. Every method may raise `StoreUnavailable`."""

    def __init__(self, redis: redis.Redis) -> None:
        self._redis = redis
        self._scripts = Scripts(redis, {})

    def advertise(self, info: WorkerInfo, ttl_seconds: float) -> None:
        """Count a worker as alive for so long, by Redis' clock."""
        offer = json.dumps(asdict(info), separators=(",", ":"))
        self._scripts.run("advertise", name=info.name, offer=offer, ttl=round(ttl_seconds * 1000))

    def withdraw(self, name: str) -> None:
        """A worker leaves; an unknown name is fine."""
        with translated(), self._redis.pipeline() as pipeline:
            pipeline.zrem(Key.WORKER_ENDS, name)
            pipeline.hdel(Key.WORKERS, name)
            pipeline.execute()

    def live(self) -> list[WorkerInfo]:
        """The workers whose advertisement has not lapsed."""
        return [worker_info(offer) for offer in self._scripts.run("live", limit=MAX_WORKERS)]


class LivePainters:
    """The live paint workers, asked for at most once a second unless `fresh`."""

    def __init__(self, workers: Workers) -> None:
        self._workers = workers
        self._seen: tuple[float, tuple[WorkerInfo, ...]] = (float("-inf"), ())

    def list(self, *, fresh: bool = False) -> tuple[WorkerInfo, ...]:
        """Every live paint worker.

        Args:
            fresh: ask Redis now; for the moment before a caller is refused.
        """
        now = time.monotonic()
        asked_at, found = self._seen
        if fresh or now - asked_at > _LIVE_SECONDS:
            found = tuple(info for info in self._workers.live() if info.queue == Queue.PAINT)
            self._seen = (now, found)
        return found


def worker_info(offer: str) -> WorkerInfo:
    """Read what a worker advertised."""
    fields = json.loads(offer)
    return WorkerInfo(
        fields["name"],
        Queue(fields["queue"]),
        tuple(fields["backbones"]),
        fields["device"],
        fields.get("resident_bytes", 0),
    )
