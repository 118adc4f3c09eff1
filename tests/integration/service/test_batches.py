"""Small jobs through one paint worker, as batches: what befalls one of them or the worker."""

import hashlib
import os
import re
import signal

from client import Impasto, Job
from deploy.local import House
from tests.integration.service.support import LONG, SECONDS, picture, wait_until_painting
from tests.support.waiting import wait_for

#: Several seconds for a batch: a test that is held up still cancels and kills in the middle of it.
FORTY_EIGHT = {"size": 48, "steps": 800, "pyramid": 1}
THIRTY_TWO = {"size": 32, "steps": 100, "pyramid": 1}


def test_jobs_of_a_batch_survive_a_cancel_and_a_kill_among_them(
    impasto: Impasto, house: House, house_says: list[str]
):
    holding = impasto.submit(picture(), [picture(hue=1)], spec=LONG)
    wait_until_painting(impasto, holding.id)
    specs = [FORTY_EIGHT] * 4 + [THIRTY_TWO] * 2
    jobs = [impasto.submit(picture(hue=n), [picture(hue=99)], spec=spec) for n, spec in enumerate(specs)]
    impasto.cancel(holding.id)

    wait_until_painting(impasto, jobs[0].id)
    canceled = jobs.pop(2)
    impasto.cancel(canceled.id)
    wait_for(lambda: impasto.get(canceled.id).status == "canceled", "the cancel to be heard")
    assert {impasto.get(job.id).status for job in jobs[:3]} == {"processing"}
    os.kill(house.pids["paint"], signal.SIGKILL)

    ended = [impasto.wait(job.id, timeout=SECONDS) for job in jobs]

    assert impasto.get(canceled.id).status == "canceled"
    # Lost in company, which costs nobody an attempt.
    assert [job.attempt for job in ended] == [1] * 5
    assert [len(job.raw["attempt_errors"]) for job in ended] == [1, 1, 1, 0, 0]
    assert [job.metrics["batch"] for job in ended[3:]] == [2, 2]
    for job in ended:
        assert outputs(house, job) == [job.output.sha256]
    assert outputs(house, canceled) == []

    def told() -> str | None:
        # A worker tells of it after it is so.
        log = "\n".join(house_says)
        return log if all(f"job {job.id}: succeeded" in log for job in jobs) else None

    log = wait_for(told, "every success to be told")
    assert f"job {jobs[0].id}: painted as one batch with 3 others" in log
    assert [len(re.findall(f"job {job.id}: succeeded", log)) for job in jobs] == [1] * 5
    assert f"job {canceled.id}: succeeded" not in log


def outputs(house: House, job: Job) -> list[str]:
    """Hashes of all results that were stored for a job."""
    stored = (house.data_dir / "objects" / "outputs" / job.id).glob("*")
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in stored]
