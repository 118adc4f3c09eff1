"""What is expected of a job, asked of the job store: `eta` does the arithmetic.

A look at the lines, the painters and their pace serves every caller for a second.
"""

import json
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import redis

from shared.errors import StoreUnavailable
from shared.jobs.changes import read_jobs
from shared.jobs.eta import (
    Cost,
    Fit,
    Forecast,
    Line,
    Outlook,
    Pace,
    Running,
    cost_of,
    free_in,
    in_order,
    place_among_all,
    remaining,
    work_for,
)
from shared.jobs.record import Job, PaintProgress, Queue, Stage, Status
from shared.jobs.scripts import Scripts
from shared.jobs.store import JobStore
from shared.jobs.workers import WorkerInfo, Workers

#: Seconds for which a look is believed.
LOOK_SECONDS = 1.0
#: Buckets without a pace whose work is remembered.
_REMEMBERED = 10_000


@dataclass(frozen=True)
class _Look:
    """What was there at one moment.

    Attributes:
        at: by the monotonic clock. now: by Redis', in seconds since the epoch.
        painters: live ones that serve the lane. intakes: live intake workers.
        lines: of all lanes that they serve. forecast: of the jobs in them.
        painted: seconds until what is being painted has ended, by owner and recipe.
        paces: of lanes, their straight lines, and intake, as `pace.lua` keeps them.
        buckets: what was seen of some.
        together: jobs that are being painted, by worker; all of a batch are of one lane.
        batches: the same, by lane.
    """

    at: float
    now: float
    painters: int
    intakes: int
    lines: tuple[Line, ...]
    forecast: Forecast
    painted: Mapping[tuple[str, str], float]
    paces: Mapping[str, str]
    buckets: Mapping[str, Pace]
    together: Mapping[str, int]
    batches: Mapping[str, Sequence[int]]

    def cost(self, lane: str, bucket: str, work: float | None) -> Cost | None:
        """What a job of this lane is expected to take."""
        pace, fit = Pace.parse(self.paces.get(lane)), Fit.parse(self.paces.get(f"fit.{lane}"))
        return cost_of(bucket, work, self.buckets, pace and pace.beside(self.batches.get(lane, ())), fit)


class Outlooks:
    """Foretells how jobs will fare; safe to share between threads. Every method may raise `StoreUnavailable`.

    Args:
        client: the job store's Redis.
        store: the job store.
        intake_slots: jobs that one intake worker fetches at a time.
        clock: seconds, monotonic.
    """

    def __init__(
        self,
        client: redis.Redis,
        store: JobStore,
        intake_slots: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = client
        self._scripts = Scripts(client, {})
        self._workers = Workers(client)
        self._store = store
        self._intake_slots = intake_slots
        self._clock = clock
        self._looks: dict[str, _Look] = {}
        self._works: dict[str, float] = {}

    def of(self, job: Job) -> Outlook | None:
        """A job's place where it waits, and when it is expected to end; None for one that has ended."""
        position = self._store.position(job) if job.status is Status.QUEUED else None
        return self.at(job, position)

    def at(self, job: Job, position: int | None) -> Outlook | None:
        """The same of a job whose place is known already."""
        if job.status.terminal:
            return None
        try:
            look = self._look(f"paint.{job.spec.backbone}")
        except StoreUnavailable:
            # A server that takes no writes shows what it has, and not which workers live.
            return Outlook(position, None)
        seconds = self._seconds(job, position, look)
        return Outlook(position, None if seconds is None else max(seconds, 0.0))

    def _seconds(self, job: Job, position: int | None, look: _Look) -> float | None:
        lane = f"paint.{job.spec.backbone}"
        own = look.cost(lane, job.bucket or "", work_for(job.spec, job.content))
        if job.status is Status.PROCESSING:
            elapsed = look.now + self._clock() - look.at - (job.started_at or look.now)
            worker = job.worker or ""
            beside = look.together.get(worker, 1)
            left = remaining(Running(worker, elapsed, _fraction(job.progress), own, beside))
            return left if own or job.progress else None
        age = self._clock() - look.at
        if job.following and (leader := look.painted.get((job.owner, job.recipe or ""))) is not None:
            return leader - age
        if position is None or own is None or not look.painters:
            return None
        if job.stage is not Stage.FETCHING:
            place = place_among_all(look.lines, lane, job.owner, position)
            ends = look.forecast.ends_in(place, own)
            return None if ends is None else ends - age
        # It joins the line behind what waits there and what is fetched before it.
        waiting = sum(line.size for line in look.lines)
        painted = look.forecast.ends_in(waiting + position, own)
        intake = Pace.parse(look.paces.get(Queue.INTAKE))
        slots = look.intakes * self._intake_slots
        if painted is None or not slots:
            return None
        fetched = intake.seconds * -(-position // slots) if intake else 0.0
        return max(painted, fetched + own.seconds * own.together) - age

    def _look(self, lane: str) -> _Look:
        look = self._looks.get(lane)
        if look is None or self._clock() - look.at > LOOK_SECONDS:
            look = self._looks[lane] = self._look_anew(lane)
        return look

    def _look_anew(self, lane: str) -> _Look:
        at = self._clock()
        live = self._workers.live()
        painters = [info for info in live if info.queue == Queue.PAINT and lane in _lanes(info)]
        lanes = sorted({lane, *(other for info in painters for other in _lanes(info))})
        found: dict[str, Any] = json.loads(self._scripts.run("line", lanes=lanes)[0])
        buckets = {name: pace for name, text in _items(found["buckets"]) if (pace := Pace.parse(text))}
        together = Counter((one["lane"], one["worker"]) for one in found["running"] or ())
        batches = defaultdict(list)
        for (of, _), jobs in together.items():
            batches[of].append(jobs)
        look = _Look(
            at=at,
            now=found["now"] / 1000,
            painters=len(painters),
            intakes=sum(info.queue == Queue.INTAKE for info in live),
            lines=(),
            forecast=Forecast((), ()),
            painted={},
            paces=dict(_items(found["paces"])),
            buckets=buckets,
            together={worker: jobs for (_, worker), jobs in together.items()},
            batches=batches,
        )
        self._learn_works(found["lines"] or (), buckets)
        lines = tuple(self._line(look, line) for line in found["lines"] or ())
        running = [(one, self._running(look, one)) for one in found["running"] or ()]
        free = free_in([info.name for info in painters], [painting for _, painting in running])
        painted = {
            (one["owner"], one["recipe"]): remaining(painting)
            for one, painting in running
            if one["recipe"] and (painting.cost or painting.fraction)
        }
        return replace(look, lines=lines, forecast=Forecast(free, in_order(lines)), painted=painted)

    def _line(self, look: _Look, line: Mapping[str, Any]) -> Line:
        sample = []
        for rank, bucket, _ in line["sample"] or ():
            cost = look.cost(line["lane"], bucket, self._works.get(bucket))
            sample.append((rank, cost or Cost(bucket, 0.0)))
        return Line(line["lane"], line["owner"], line["size"], tuple(sample))

    def _running(self, look: _Look, one: Mapping[str, Any]) -> Running:
        cost = look.cost(one["lane"], one["bucket"], self._works.get(one["bucket"]))
        progress = json.loads(one["progress"]) if one["progress"] else None
        done = progress["step"] / progress["steps"] if progress and progress["steps"] else 0.0
        elapsed = look.now - one["started_at"] / 1000
        return Running(one["worker"], elapsed, done, cost, look.together[one["worker"]])

    def _learn_works(self, lines: Iterable[Mapping[str, Any]], buckets: Mapping[str, Pace]) -> None:
        """The work of jobs of buckets that nothing has been painted of yet: one job stands for each."""
        strange = {
            bucket: uid
            for line in lines
            for _, bucket, uid in line["sample"] or ()
            if bucket and bucket not in buckets and bucket not in self._works
        }
        jobs = read_jobs(self._client, list(strange.values())) if strange else {}
        if len(self._works) > _REMEMBERED:
            self._works.clear()
        for bucket, uid in strange.items():
            work = work_for(jobs[uid].spec, jobs[uid].content) if uid in jobs else None
            if work is not None:
                self._works[bucket] = work


def _lanes(info: WorkerInfo) -> list[str]:
    return [f"paint.{name}" for name in info.backbones]


def _items(found: Any) -> list[tuple[str, str]]:  # noqa: ANN401 - an empty table of Lua's is a list in JSON
    return list(found.items()) if isinstance(found, dict) else []


def _fraction(progress: PaintProgress | None) -> float:
    return progress.step / progress.steps if progress and progress.steps else 0.0
