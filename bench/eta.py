"""How far off forecasts are: what callers were told at many moments, against when their jobs really ended.

    python -m bench.eta [--jobs 40] [--painters 1]

A real paint worker paints a line of jobs of mixed sizes and steps, in three rounds: one owner's jobs alone;
with another owner's who joins in the middle, which no forecast can know before; and with twins, a quarter of
the jobs, which follow another one and end with it. Twice a second every job that
has not ended is asked about as a poll asks. Nothing is known at the beginning: what is told before the first
pictures are finished counts too, as soon as anything is told.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.section import Section, Table
from shared.jobs.outlooks import Outlooks
from shared.jobs.record import Job, Queue, Status
from tests.support.rig import Rig

#: Sizes and steps of the jobs; a painter takes from a third of a second to some seconds for one.
SPECS = [{"size": size, "steps": steps, "pyramid": 1} for size in (64, 96, 128) for steps in (20, 60, 120)]
LOOK_SECONDS = 0.5
#: What ends sooner cannot be told well by anything: it is left out of the ratios.
SHORTEST = 1.0
PROSE = """
{painters} paint worker(s) with default settings but for one thread each, {jobs} jobs of {kinds} kinds (sides
64 to 128, 20 to 120 steps, `compact`) in random order. *Off* is |told - actual| / actual over all jobs that
were still to run for {shortest} s or more, asked twice a second. *Place times mean* is what can be told
without a model: the place, times the mean time between two pictures so far. Jobs of a kind are painted
together: one far back that is drawn forward so ends long before its turn, which is most of the p90.
"""


@dataclass(frozen=True)
class Told:
    """One forecast.

    Attributes:
        round: which round. at: seconds since its beginning. finished: pictures that had been finished.
        status: the job's. position: in the line, where it waits.
        told: seconds, by the model. bare: place times mean. actual: what it really was.
        following: whether it follows another job.
    """

    round: str
    at: float
    finished: int
    status: str
    position: int | None
    told: float
    bare: float | None
    actual: float
    following: bool = False


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.eta", description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print the section as JSON")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="taken, and not used")
    parser.add_argument("--jobs", type=int, default=40, help="of a round")
    parser.add_argument("--painters", type=int, default=1)
    arguments = parser.parse_args()
    section(arguments.jobs, arguments.painters, arguments.threads).publish(as_json=arguments.json)
    return 0


def section(jobs: int, painters: int, threads: int) -> Section:
    """All rounds."""
    told = [
        *_round("one owner", jobs, painters, joins=0),
        *_round("another joins", jobs, painters, joins=jobs // 4),
        *_round("a quarter are twins", jobs, painters, joins=0, twins=True),
    ]
    prose = PROSE.format(painters=painters, jobs=jobs, kinds=len(SPECS), shortest=SHORTEST)
    return Section(
        "How far off forecasts are",
        f"python -m bench.eta --jobs {jobs} --painters {painters}",
        prose,
        machine.describe(threads),
        [table(told)],
        [asdict(one) for one in told],
    )


def table(told: Sequence[Told]) -> Table:
    """Errors by round and by when it was told."""
    rows = []
    for name in dict.fromkeys(one.round for one in told):
        mine = [one for one in told if one.round == name and one.actual >= SHORTEST]
        kinds = {
            "all": mine,
            "while it waits, fewer than 5 finished": [o for o in mine if o.position and o.finished < 5],
            "while it waits, 5 to 14 finished": [o for o in mine if o.position and 5 <= o.finished < 15],
            "while it waits, later": [o for o in mine if o.position and o.finished >= 15],
            "at places 1 to 5": [o for o in mine if o.position and o.position <= 5],
            "while it follows another": [o for o in mine if o.following],
            "while it is painted": [o for o in mine if o.position is None],
        }
        if not kinds["while it follows another"]:
            del kinds["while it follows another"]
        for kind, chosen in kinds.items():
            rows.append([name, kind, str(len(chosen)), *_errors([(o.told, o.actual) for o in chosen])])
            bare = [(o.bare, o.actual) for o in chosen if o.bare is not None]
            rows[-1] += _errors(bare)
    columns = ("round", "told", "forecasts", "off, median", "off, p90", "place times mean, median", "p90")
    return Table(columns, rows)


def _errors(pairs: Sequence[tuple[float | None, float]]) -> list[str]:
    off = sorted(abs(told - actual) / actual for told, actual in pairs if told is not None)
    if len(off) < 10:
        return ["-", "-"]
    return [f"{statistics.median(off):.2f}", f"{statistics.quantiles(off, n=10)[8]:.2f}"]


def _round(name: str, jobs: int, painters: int, *, joins: int, twins: bool = False) -> list[Told]:
    chance = random.Random(7)
    with tempfile.TemporaryDirectory() as folder, Rig(Path(folder)) as rig:
        for _ in range(painters):
            rig.worker(Queue.PAINT)
        outlooks = Outlooks(rig.client, rig.store, rig.config.intake_slots)
        began = time.time()
        line = (
            list(_twins(rig, jobs, chance))
            if twins
            else [rig.submit(n % 9, spec=chance.choice(SPECS)) for n in range(jobs)]
        )
        asked: list[tuple[Job, float, int, int | None, float, float | None]] = []
        while True:
            records = [rig.now(job) for job in line]
            left = [job for job in records if not job.status.terminal]
            if not left:
                break
            finished = len(records) - len(left)
            if joins and finished >= jobs // 2:
                line += [rig.submit(n % 9, spec=chance.choice(SPECS), owner="bob") for n in range(joins)]
                joins = 0
            at = time.time()
            mean = (at - began) / finished if finished else None
            for job in left:
                outlook = outlooks.of(job)
                if outlook is not None and outlook.seconds is not None:
                    bare = mean * outlook.position if mean and outlook.position else None
                    asked.append((job, time.time(), finished, outlook.position, outlook.seconds, bare))
            time.sleep(LOOK_SECONDS)
        ended = {job.uid: rig.now(job) for job in line}
    return [
        Told(
            round=name,
            at=round(at - began, 2),
            finished=finished,
            status=str(job.status),
            position=position,
            told=round(told, 3),
            bare=bare,
            actual=round(_completed(ended[job.uid]) - at, 3),
            following=job.following,
        )
        for job, at, finished, position, told, bare in asked
    ]


def _twins(rig: Rig, jobs: int, chance: random.Random) -> Iterator[Job]:
    """Jobs that share, every fourth of them of a recipe that was there before."""
    before: list[tuple[int, dict[str, int]]] = []
    for number in range(jobs):
        hue, spec = chance.choice(before) if number % 4 == 3 else (number, chance.choice(SPECS))
        before.append((hue, spec))
        yield rig.submit(hue, spec=spec, fresh=False)


def _completed(job: Job) -> float:
    if job.status is not Status.SUCCEEDED or job.completed_at is None:
        raise RuntimeError(f"{job.uid} is {job.status}: {job.error}")
    return job.completed_at


def describe(told: Sequence[dict[str, Any]]) -> Table:
    """The table of figures that were kept."""
    return table([Told(**one) for one in told])


if __name__ == "__main__":
    raise SystemExit(main())
