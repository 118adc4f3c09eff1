"""One chaos run: the service in parts, three callers, and a schedule of faults; then everything is judged.

    result = run(Plan(seed=1, jobs=500, seconds=600), s3)
    assert not result.verdict.findings

The run keeps everything it made below its folder: the logs of every process, the report and its picture.
"""

import shutil
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.chaos.callers import Caller, requests, serve_pictures
from tests.chaos.injector import Injector
from tests.chaos.keeper import Death, Keeper
from tests.chaos.schedule import LEASE_SECONDS, Fault, schedule
from tests.chaos.verdict import Evidence, Verdict, judge
from tests.chaos.watch import Interruption, Sample, Watch
from tests.support.rig import ROOT, Rig
from tests.support.s3 import S3Server
from tests.support.web import Web

#: Short times, so that minutes see what a service sees in days. How often is tried is left as it is.
SETTINGS: Mapping[str, Any] = {
    "lease_seconds": LEASE_SECONDS,
    "redis_timeout": 2,
    "reap_seconds": 0.5,
    "retry_delay": 1,
    "checkpoint_seconds": 1,
    # It is the run that ends the workers, not what they paint.
    "quarantine_seconds": 0,
}


@dataclass(frozen=True)
class Plan:
    """What to run.

    Attributes:
        seed: decides the faults and what is asked for.
        jobs: in all. callers: who share them.
        seconds: in which faults happen. every: seconds from one fault to the next, on average.
        drain_seconds: for everything to end after the last fault.
        forked: see `Keeper`.
        folder: what is kept; anything in it is deleted first.
    """

    seed: int = 1
    jobs: int = 500
    seconds: float = 600.0
    every: float = 6.0
    callers: int = 3
    drain_seconds: float = 240.0
    forked: bool = False
    folder: Path | None = None

    @property
    def kept_in(self) -> Path:
        """Where the run keeps what it made."""
        return self.folder or ROOT / "var" / "chaos" / str(self.seed)


@dataclass(frozen=True)
class Result:
    """What came of a run. Times are seconds of the run.

    Attributes:
        samples: jobs by status over time. interruptions: what crashes cost.
        deaths: of processes. drained_at: when the last job had ended.
    """

    plan: Plan
    faults: Sequence[Fault]
    samples: Sequence[Sample]
    interruptions: Sequence[Interruption]
    deaths: Sequence[Death]
    drained_at: float
    verdict: Verdict


def run(plan: Plan, s3: S3Server) -> Result:
    """Run, judge, and return what came of it; the report is left to `tests.chaos.report`."""
    folder = plan.kept_in
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    asked = requests(plan.seed, plan.jobs, plan.seconds)
    faults = schedule(plan.seed, plan.seconds, plan.every)
    with Web() as web, Rig(folder, s3=s3, **SETTINGS) as rig, Keeper(rig, forked=plan.forked) as keeper:
        serve_pictures(web, asked)
        keeper.wait_until_ready()
        callers = [
            Caller(keeper.url, web, folder / f"caller-{number}", asked[number :: plan.callers])
            for number in range(plan.callers)
        ]
        with Watch(rig.valkey.port, keeper.names) as watch:
            for caller in callers:
                caller.start()
            Injector(rig, keeper, watch).run(faults, plan.seconds)
            deadline = time.monotonic() + plan.drain_seconds
            drained = [caller.finish(deadline) for caller in callers]
            drained_at = watch.now
        late = [f"{name} did not leave when it was told to" for name in keeper.leave()]
        evidence = Evidence(
            accepted=[one for caller in callers for one in caller.accepted],
            refusals=[*(one for caller in callers for one in caller.refusals), *late],
            faults=faults,
            begun_at=watch.begun_at,
            holders=watch.holders,
            drained=all(drained),
        )
        verdict = judge(rig, evidence)
    return Result(plan, faults, watch.samples, watch.interruptions, keeper.deaths, drained_at, verdict)


def kinds(faults: Sequence[Fault]) -> Counter[tuple[str, str]]:
    """How many faults of each target and kind there were."""
    return Counter((fault.target, _kind(fault)) for fault in faults)


def _kind(fault: Fault) -> str:
    return f"{fault.kind} beyond the lease" if fault.kind == "frozen" and fault.beyond_lease else fault.kind
