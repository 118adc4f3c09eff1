"""Impasto beside plain Celery under five faults, both on the same Valkey, in the same run.

    python -m bench.plain_celery [--faults killed lost_message outlasted frozen restarted]

Plain Celery is `bench.plain_task`. Its visibility timeout and Impasto's lease are equally long; a timeout as
short as this one suits the test, not a service, since every longer job runs twice. Both have one worker at
first and get a second one some seconds after the timeout. Each fault is observed for the same time.
"""

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from bench.plain_sides import Impasto, PlainCelery, Side, Times, pace
from bench.section import Section, Table
from tests.support.proxy import Way, cut_when
from tests.support.waiting import wait_for

LOOK_SECONDS = 0.05


@dataclass(frozen=True)
class Figure:
    """What came of one fault on one side.

    Attributes:
        accepted: jobs. ended: of which the caller can see the end; the others are lost.
        begun_again: jobs begun more than once. published_twice: jobs with more than one result.
        recovery: seconds from the fault until the last job ended; None where one is lost.
    """

    fault: str
    side: str
    accepted: int
    ended: int
    begun_again: int
    published_twice: int
    recovery: float | None


class Scene:
    """One fault on one side: what was handed in, and what was seen of it."""

    def __init__(self, side: Side, times: Times) -> None:
        self.side, self.times = side, times
        self.jobs = 0
        self._fault_at = 0.0
        self._ended_at: dict[int, float] = {}

    def submit(self, jobs: int, seconds: float | None = None) -> None:
        """Hand in so many jobs."""
        for _ in range(jobs):
            self.side.submit(self.jobs, seconds or self.times.job)
            self.jobs += 1

    def in_mid_job(self) -> None:
        """Wait until the first job is well under way."""
        wait_for(lambda: self.side.midway(0), "the first job to be under way", 120)

    def now(self) -> None:
        """The fault happens now."""
        self._fault_at = time.monotonic()

    def watch(self, seconds: float) -> None:
        """Look on until so many seconds after the fault; once where they are over."""
        while True:
            for number in range(self.jobs):
                if number not in self._ended_at and self.side.ended(number):
                    self._ended_at[number] = time.monotonic()
            if time.monotonic() >= self._fault_at + seconds:
                break
            time.sleep(LOOK_SECONDS)

    def join_and_watch(self) -> None:
        """Let a second worker join after the timeout, and look on to the end."""
        self.watch(self.times.join)
        self.side.worker()
        self.watch_to_the_end()

    def watch_to_the_end(self) -> None:
        """Look on for the whole time, and longer for jobs that have not ended."""
        self.watch(self.times.observed)
        observed = time.monotonic() - self._fault_at  # longer where the second worker took long to start
        for seconds in range(round(self.times.patience)):
            if len(self._ended_at) == self.jobs:
                break
            self.watch(observed + seconds + 1)

    def figure(self, fault: str) -> Figure:
        """The outcome."""
        all_ended = len(self._ended_at) == self.jobs
        numbers = range(self.jobs)
        return Figure(
            fault,
            self.side.name,
            self.jobs,
            len(self._ended_at),
            sum(self.side.begun(number) > 1 for number in numbers),
            sum(self.side.published(number) > 1 for number in numbers),
            max(self._ended_at.values()) - self._fault_at if all_ended else None,
        )


def killed(scene: Scene) -> None:
    """The worker is killed in mid-job, and started again at once."""
    worker = scene.side.worker()
    scene.submit(3)
    scene.in_mid_job()
    worker.kill()
    scene.now()
    scene.side.worker()
    scene.join_and_watch()


def lost_message(scene: Scene) -> None:
    """The connection breaks as Redis hands out a message: popped there, never arrived."""
    scene.side.worker()
    message = scene.side.message
    scene.side.proxy.rule = cut_when(lambda way, chunk: way is Way.ANSWERED and message in chunk)
    scene.now()
    scene.submit(3)
    scene.join_and_watch()


def outlasted(scene: Scene) -> None:
    """A job takes longer than the timeout."""
    scene.side.worker()
    scene.submit(1, 2.5 * scene.times.timeout)
    scene.in_mid_job()
    scene.now()
    scene.join_and_watch()


def frozen(scene: Scene) -> None:
    """The worker is frozen in mid-job; another takes over; then the first goes on."""
    worker = scene.side.worker()
    scene.submit(1)
    scene.in_mid_job()
    worker.freeze()
    scene.now()
    scene.watch(scene.times.join)
    scene.side.worker()
    scene.watch(scene.times.join + 2.5 * scene.times.job)
    worker.thaw()
    scene.watch_to_the_end()


def restarted(scene: Scene) -> None:
    """Redis (append-only file on) is killed in mid-job and started again a second later."""
    scene.side.worker()
    scene.submit(3)
    scene.in_mid_job()
    scene.side.valkey.kill()
    scene.now()
    time.sleep(1)
    scene.side.valkey.restart()
    scene.join_and_watch()


FAULTS: Sequence[Callable[[Scene], None]] = (killed, lost_message, outlasted, frozen, restarted)

PROSE = """
The same five faults, one after the other, to plain Celery (`bench/plain_task.py`: `acks_late`,
`reject_on_worker_lost`, `prefetch_multiplier` 1, results in Redis) and to Impasto's paint workers, each on a
Valkey of its own with an append-only file. Visibility timeout and lease are both {times.timeout:g} s. Nobody
would set so short a visibility timeout (the default is an hour): a longer one delays every recovery by as
much, a shorter one runs more jobs twice. Messages that nobody acknowledged are looked for every second, a
hundred times as often as by default. Jobs take about {times.job:g} s. A second worker joins
{times.join:g} s after the fault; the whole is looked at for {times.observed:g} s, and where a job has not
ended for {times.patience:g} s more. *Begun again* is what a crash demands: Impasto goes on from the last
checkpoint then, plain Celery begins anew. A job with two results was published twice.
"""


def table(figures: Sequence[Figure]) -> Table:
    """Two rows a fault."""
    told = {fault.__name__: (fault.__doc__ or "").rstrip(".") for fault in FAULTS}
    rows = [
        [
            told[one.fault],
            one.side,
            str(one.accepted),
            str(one.ended),
            str(one.accepted - one.ended),
            str(one.begun_again),
            str(one.published_twice),
            "never" if one.recovery is None else f"{one.recovery:.1f}",
        ]
        for one in figures
    ]
    return Table(
        ("fault", "", "accepted", "ended", "lost", "begun again", "published twice", "all ended after s"),
        rows,
    )


def section(options: argparse.Namespace) -> Section:
    """Compare."""
    times = Times(options.timeout, options.job)
    chosen = [fault for fault in FAULTS if fault.__name__ in options.faults]
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        steps = pace(folder / "pace")
        for fault in chosen:
            plain = PlainCelery(folder / f"plain-{fault.__name__}", times)
            for side in (plain, Impasto(folder / fault.__name__, times, steps)):
                with side:
                    scene = Scene(side, times)
                    fault(scene)
                    figures.append(scene.figure(fault.__name__))
    return Section(
        "Beside plain Celery",
        machine.command("bench.plain_celery"),
        PROSE.format(times=times),
        machine.describe(1),
        [table(figures)],
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Compare and print."""
    parser = machine.options(__doc__)
    names = [fault.__name__ for fault in FAULTS]
    parser.add_argument("--faults", nargs="+", choices=names, default=names)
    parser.add_argument(
        "--timeout", type=float, default=Times.timeout, help="visibility timeout and lease, s"
    )
    parser.add_argument("--job", type=float, default=Times.job, help="what a job takes, s")
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
