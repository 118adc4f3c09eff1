"""What the crash of a paint worker costs: seconds until the work goes on, and seconds of work done again.

    python -m bench.crashes [--leases 30 2.5] [--kills 5]

A worker is killed (SIGKILL) at a random point of a long painting, with a spare worker waiting; each kill has
a job of its own. A lease of the default length comes with the default settings, a shorter one with all
times shortened in proportion.
"""

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench import machine
from bench.section import Section, Table
from shared.jobs.record import Job, Queue
from shared.settings import Settings
from tests.support import nursery
from tests.support.rig import SMALL, Process, Rig
from tests.support.waiting import wait_for

#: It is canceled long before its end.
LONG = {**SMALL, "steps": 20_000}
#: Seconds of painting before a kill, at least and at most: more than one checkpoint's interval apart.
PAINTED_SECONDS = (4.0, 24.0)
DEFAULTS = ("lease_seconds", "reap_seconds", "checkpoint_seconds", "retry_delay")
LOOK_SECONDS = 0.02


@dataclass(frozen=True)
class Figure:
    """One kill. Seconds.

    Attributes:
        lease: its length. painted: before the kill.
        held: from the kill until the spare held the job. moved: until it had told its first step.
        lost: of painting since the last checkpoint, or since the beginning.
        step: when killed, as last told. resumed: the step that the spare began at.
    """

    lease: float
    painted: float
    held: float
    moved: float
    lost: float
    step: int
    resumed: int


def settings(lease: float) -> Mapping[str, Any]:
    """The defaults, or where the lease is shorter, times in proportion."""
    fields = Settings.model_fields
    share = lease / fields["lease_seconds"].default
    return {name: round(fields[name].default * share, 3) for name in DEFAULTS}


def measure(lease: float, kills: int, most_seconds: float) -> Iterator[Figure]:
    """Kill so often; after at most so many seconds of painting."""
    generator = random.Random(f"crashes {lease}")
    try:
        with tempfile.TemporaryDirectory() as folder, Rig(Path(folder), **settings(lease)) as rig:
            workers = [rig.worker(Queue.PAINT)]
            for number in range(kills):
                workers.append(rig.worker(Queue.PAINT))
                job = rig.submit(number, spec=LONG)
                seconds = min(generator.uniform(*PAINTED_SECONDS), most_seconds)
                yield _kill(rig, workers, job, seconds, lease)
                rig.store.cancel(job.owner, job.id)
                rig.ended(job)
    finally:
        nursery.close_all()


def _kill(rig: Rig, workers: Sequence[Process], job: Job, seconds: float, lease: float) -> Figure:
    """Kill the job's worker after so many seconds of painting; returns what came of it."""
    now = rig.painting(job)
    victim = _holder(now)
    begun = kept_at = time.monotonic()
    checkpoint = None
    while time.monotonic() - begun < seconds:
        now = rig.now(job)
        if now.checkpoint != checkpoint:
            checkpoint, kept_at = now.checkpoint, time.monotonic()
        time.sleep(LOOK_SECONDS)
    next(worker for worker in workers if worker.pid == victim).kill()
    killed = time.monotonic()

    def held() -> Job | None:
        now = rig.now(job)
        return now if now.worker and _holder(now) != victim else None

    def moved() -> Job | None:
        now = held()
        return now if now and now.progress else None

    wait_for(held, "the spare to take over", 3 * lease + 30)
    held_at = time.monotonic()
    wait_for(moved, "the spare to paint", 60)
    moved_at = time.monotonic()
    last = now.progress.step if now.progress else 0
    return Figure(
        lease,
        killed - begun,
        held_at - killed,
        moved_at - killed,
        killed - kept_at,
        last,
        now.checkpoint.step if now.checkpoint else 0,
    )


def _holder(job: Job) -> int:
    assert job.worker is not None
    return int(job.worker.rpartition(":")[2])


PROSE = """
A paint worker is killed (SIGKILL) at a random point of a painting, and a spare worker takes over. *Held*:
until the spare holds the job; it waits for the lease to run out, and for the reaper's next round. *Painting*:
until it has told its first step. *Lost*: seconds of painting since the last checkpoint, which are done again.
Median / worst.
"""


def table(figures: Sequence[Figure]) -> Table:
    """One row a lease."""
    rows = []
    for lease in dict.fromkeys(one.lease for one in figures):
        own = [one for one in figures if one.lease == lease]
        chosen = settings(lease)
        rows.append(
            [
                f"{lease:g}",
                f"{chosen['checkpoint_seconds']:g}",
                str(len(own)),
                _spread([one.held for one in own]),
                _spread([one.moved for one in own]),
                _spread([one.lost for one in own]),
            ]
        )
    return Table(
        ("lease s", "checkpoint every s", "kills", "held after s", "painting after s", "lost s"), rows
    )


def _spread(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} / {max(values):.1f}"


def section(options: argparse.Namespace) -> Section:
    """Measure."""
    figures = [
        figure for lease in options.leases for figure in measure(lease, options.kills, options.painted)
    ]
    return Section(
        "Crashes",
        machine.command("bench.crashes"),
        PROSE,
        machine.describe(1),
        [table(figures)],
        [asdict(figure) for figure in figures],
    )


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--leases", type=float, nargs="+", default=[30.0, 2.5], help="seconds")
    parser.add_argument("--kills", type=int, default=5, help="for each lease")
    parser.add_argument(
        "--painted", type=float, default=PAINTED_SECONDS[1], help="seconds before a kill at most"
    )
    options = parser.parse_args()
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
