"""Foretelling when a job ends, from what jobs have really taken lately. Arithmetic only; Redis is not asked.

**What a job costs** is the painter's seconds that it takes: from its claim to its stored picture, divided by
the jobs that were painted together. `pace.lua` keeps, at each picture that is finished, a decayed mean of
that for the job's bucket (`buckets`: jobs that may be painted together, so of one size and as many steps) and
for its lane, and for the lane a straight line through cost over work (pixels times steps), again decayed. A
job of a bucket that has been seen costs the bucket's mean; of another one what the line says; without a line,
the lane's mean.

**What stands before it** is every job with an earlier place, owners taken in turn as `claim` does, over all
lanes that the same painters serve. The first 64 places are known job by job; further back some jobs, evenly
spread, stand for their neighbours.

**When a painter is free**: a running job has a part f of its steps behind it after e seconds. By its steps it
takes e (1 - f) / f more; by its bucket's pace, and for all that are painted with it, T, it takes T - e more.
Early on the pace is the better guide (a pyramid's first steps are cheap), later the steps: they are mixed as
(1 - f) to f. A painter is free when the last of its jobs ends.

**Then painters take what waits**: the one that is free first takes the first job, and with it companions of
the same bucket, as many as were painted together lately: of a bucket that has been seen there, of another one
in its lane, what is being painted now included. All of a batch end at once. Beyond the first 64 the
backlog is divided by the number of painters.

A job that follows another of its recipe ends with it: it has that one's place, or what is left of its
painting, and is nobody's work.

A job whose pictures are still being fetched joins that line at its order of acceptance, behind those that are
fetched before it: it ends no sooner than intake lets it through, and no sooner than the line lets it.

What is left out: jobs that will come with a higher priority or of owners who have nothing waiting now,
painters that come or go, failures, and which of those that are still fetched will follow others.
"""

import heapq
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice

from shared.jobs.pictures import Picture
from shared.sizes import size_for
from shared.spec import Spec

#: Places that are known job by job; `line.lua` reads as many.
EXACT = 64
#: Jobs in a mean from which a bucket is judged by itself.
ENOUGH = 1.0


@dataclass(frozen=True)
class Outlook:
    """What a caller is told.

    Attributes:
        position: place among those that wait for the same workers, the first being 1; None when it does not
            wait.
        seconds: until the job is expected to end; None when nothing is known.
    """

    position: int | None
    seconds: float | None


@dataclass(frozen=True)
class Pace:
    """What jobs of a kind have taken lately.

    Attributes:
        weight: how many jobs that is known from, up to a bound.
        seconds: of a painter, a job. batch: jobs painted together.
    """

    weight: float
    seconds: float
    batch: float

    @classmethod
    def parse(cls, text: str | None) -> "Pace | None":
        """From what `pace.lua` keeps."""
        parts = (text or "").split()
        return cls(*map(float, parts)) if len(parts) == 3 else None

    def beside(self, together: Iterable[int]) -> "Pace":
        """The same, the batches that are being painted now included, each of so many jobs."""
        sizes = list(together)
        jobs = self.weight + sum(sizes)
        return replace(self, batch=(self.weight * self.batch + sum(n * n for n in sizes)) / jobs)


@dataclass(frozen=True)
class Fit:
    """Sums of a straight line through seconds (y) over work (x)."""

    n: float
    x: float
    y: float
    xx: float
    xy: float

    @classmethod
    def parse(cls, text: str | None) -> "Fit | None":
        """From what `pace.lua` keeps."""
        parts = (text or "").split()
        return cls(*map(float, parts)) if len(parts) == 5 else None

    def seconds(self, work: float) -> float:
        """What so much work is expected to take.

        More work never takes less, and none takes nothing or more: where the sums say otherwise, it is
        proportional to the work.
        """
        spread = self.n * self.xx - self.x * self.x
        if spread > 1e-6 * self.n * self.xx:
            slope = (self.n * self.xy - self.x * self.y) / spread
            base = (self.y - slope * self.x) / self.n
            if slope >= 0 and base >= 0:
                return base + slope * work
        return self.y / self.x * work if self.x else self.y / self.n


@dataclass(frozen=True)
class Cost:
    """What one job is expected to take.

    Attributes:
        bucket: of jobs that may be painted with it; empty for one that is painted alone.
        seconds: of a painter, its share. batch: jobs painted together.
    """

    bucket: str
    seconds: float
    batch: float = 1.0

    @property
    def together(self) -> int:
        """Jobs that a painter takes at once."""
        return max(1, round(self.batch)) if self.bucket else 1


@dataclass(frozen=True)
class Line:
    """One owner's jobs that wait in one lane, owners given in their turn.

    Attributes:
        size: jobs in it.
        sample: the first jobs, one by one, and some of those behind: rank from 0, and cost.
    """

    lane: str
    owner: str
    size: int
    sample: Sequence[tuple[int, Cost]]


@dataclass(frozen=True)
class Running:
    """A job that is being painted.

    Attributes:
        worker: that paints it. elapsed: seconds since its claim.
        fraction: of its steps, those that are done.
        cost: what such a job takes, as far as known.
        together: jobs that are painted with it, itself included.
    """

    worker: str
    elapsed: float
    fraction: float
    cost: Cost | None
    together: int = 1


def work_of(spec: Spec, width: int, height: int) -> float:
    """Work of painting a content of this size: millions of pixels times steps."""
    tall, wide = size_for(height, width, spec.size)
    return tall * wide * spec.steps / 1e6


def work_for(spec: Spec, content: Picture) -> float | None:
    """What a job asks of its painter (`work_of`); None where the size is not known."""
    if content.width is None or content.height is None:
        return None
    return work_of(spec, content.width, content.height)


def remaining(running: Running) -> float:
    """Seconds until a running job ends; 0 when nothing is known of it."""
    done = min(max(running.fraction, 0.0), 1.0)
    by_steps = running.elapsed * (1 - done) / done if done else None
    if running.cost is None:
        return by_steps or 0.0
    by_pace = max(running.cost.seconds * running.together - running.elapsed, 0.0)
    return by_pace if by_steps is None else (1 - done) * by_pace + done * by_steps


def free_in(painters: Sequence[str], running: Sequence[Running]) -> list[float]:
    """Seconds until each painter is free."""
    until: dict[str, float] = defaultdict(float)
    for one in running:
        until[one.worker] = max(until[one.worker], remaining(one))
    return [until[painter] for painter in painters]


def place_of(lines: Sequence[Line], line: Line, rank: int) -> int:
    """The place, from 1, of the job of this rank in a line, given that owners take turns.

    By the time it has been served `rank` times, each other one has been served as often, and once more where
    their turn comes first.
    """
    place, ahead = rank + 1, 1
    for other in lines:
        if other is line:
            ahead = 0
        else:
            place += min(other.size, rank + ahead)
    return place


def place_among_all(lines: Sequence[Line], lane: str, owner: str, position: int) -> int:
    """The place over all lanes of a job whose place within its own is known."""
    own_lane = [line for line in lines if line.lane == lane]
    line = next((line for line in own_lane if line.owner == owner), None)
    if line is None or len(own_lane) == len(lines):
        return position
    rank = bisect_left(range(line.size), position, key=lambda rank: place_of(own_lane, line, rank))
    return place_of(lines, line, rank)


def in_order(lines: Sequence[Line]) -> list[tuple[int, Cost]]:
    """Every job of the samples with its place, in order."""
    found = [(place_of(lines, line, rank), cost) for line in lines for rank, cost in line.sample]
    return sorted(found, key=lambda entry: entry[0])


class Forecast:
    """When jobs that wait will end: worked out once, then asked for each of them.

    Args:
        free: seconds until each painter is free.
        waiting: jobs with their places, in order; those of the first places one by one.
    """

    def __init__(self, free: Sequence[float], waiting: Sequence[tuple[int, Cost]]) -> None:
        self._free = list(free)
        self._near = [(place, cost) for place, cost in waiting if place <= EXACT]
        self._far = [(place, cost.seconds) for place, cost in waiting if place > EXACT]
        self._ends, self._free_then = _taken(self._free, self._near) if self._free else ({}, [])

    def ends_in(self, place: int, own: Cost) -> float | None:
        """Seconds until the job of this place ends; None without a painter.

        Args:
            place: the job's, among those that were given or not.
            own: what it takes.
        """
        if not self._free:
            return None
        if place in self._ends:
            return self._ends[place]
        if place <= EXACT:
            near = [*self._near]
            near.insert(bisect_left(near, place, key=lambda entry: entry[0]), (place, own))
            return _taken(self._free, near)[0][place]
        backlog = self._between(place)
        start = max(min(self._free_then), (sum(self._free_then) + backlog) / len(self._free))
        return start + own.seconds * (own.together + 1) / 2

    def _between(self, place: int) -> float:
        """Seconds of the jobs behind the first places and before this one; each known one stands for some."""
        before = [seconds for at, seconds in self._far if at < place] or [seconds for _, seconds in self._far]
        before = before or [cost.seconds for _, cost in self._near]
        return (place - 1 - EXACT) * sum(before) / len(before) if before else 0.0


def _taken(
    free: Sequence[float], waiting: Sequence[tuple[int, Cost]]
) -> tuple[dict[int, float], list[float]]:
    """Let painters take all that waits: when each job ends, by place, and when each painter is free then."""
    heap, left, ends = sorted(free), list(waiting), dict[int, float]()
    while left:
        begun = heapq.heappop(heap)
        leader = left[0][1]
        alike = (entry for entry in left if entry[1].bucket == leader.bucket)
        batch = list(islice(alike, leader.together)) if leader.together > 1 else left[:1]
        end = begun + sum(cost.seconds for _, cost in batch)
        heapq.heappush(heap, end)
        ends.update((place, end) for place, _ in batch)
        left = [entry for entry in left if entry[0] not in ends]
    return ends, heap


def cost_of(
    bucket: str, work: float | None, buckets: Mapping[str, Pace], lane: Pace | None, fit: Fit | None
) -> Cost | None:
    """What a job is expected to take; None when nothing like it has been painted.

    Args:
        bucket: the job's; empty where it is not known.
        work: see `work_of`; None where the size is not known.
        buckets: what jobs of some buckets have taken.
        lane: what jobs of the lane have taken.
        fit: of the lane.
    """
    own = buckets.get(bucket)
    if own and own.weight >= ENOUGH:
        return Cost(bucket, own.seconds, own.batch)
    if lane is None:
        return None
    seconds = fit.seconds(work) if fit and work is not None else lane.seconds
    return Cost(bucket, seconds, lane.batch)
