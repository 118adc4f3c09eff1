"""The chaos run in short: everything fails in turn under load, and every promise holds."""

from pathlib import Path

import pytest

from tests.chaos import report
from tests.chaos.run import Plan, run
from tests.chaos.schedule import EVERYTHING, WORKERS
from tests.support.s3 import S3Server

#: Its first faults are of every target, and of nearly every kind.
SEED = 419


@pytest.mark.fault(1, 2, 4, 7, 10, 12, 13, 20, 21)
@pytest.mark.timeout(400)
def test_every_accepted_job_ends_once_whatever_dies(tmp_path: Path, s3: S3Server):
    plan = Plan(
        seed=SEED,
        jobs=50,
        seconds=40,
        every=2.5,
        drain_seconds=120,
        forked=True,
        folder=tmp_path / "run",
    )
    result = run(plan, s3)
    told = report.write(result).read_text()
    assert not result.verdict.findings, told
    assert {fault.target for fault in result.faults} >= {*WORKERS, "redis", "s3", EVERYTHING}
