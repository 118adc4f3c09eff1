"""kill -9 of any one process while a job is under way: the job still succeeds, with one output."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from client import Impasto, Job
from deploy.local import House
from tests.integration.service.support import SECONDS, SMALL, HeldPicture, picture, wait_until_painting
from tests.support.waiting import wait_for
from tests.support.web import Web

#: Several seconds of painting: a test that is held up still kills in the middle of it.
SOME_SECONDS = {"size": 128, "steps": 600, "pyramid": 1}
VICTIMS = ["valkey", "api", "paint", "chores"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_job_survives_the_kill_of(victim: str, impasto: Impasto, house: House):
    spec = {**SOME_SECONDS, "seed": VICTIMS.index(victim)}  # else all but the first would share its picture
    submitted = impasto.submit(picture(), [picture(hue=77)], spec=spec)
    wait_until_painting(impasto, submitted.id)

    _kill(house, victim)

    _succeeds_with_one_output(impasto, house, submitted)


def test_a_job_survives_the_kill_of_intake_in_mid_fetch(impasto: Impasto, house: House, web: Web):
    held = HeldPicture()
    submitted = impasto.submit(web.route("/slow.png", held), [picture(hue=5)], spec=SMALL)
    assert held.asked.wait(SECONDS)

    _kill(house, "intake")
    held.go_on.set()

    job = _succeeds_with_one_output(impasto, house, submitted)
    assert [seen.path for seen in web.seen] == ["/slow.png"] * 2
    assert job.metrics["seconds"]["fetch"] > 0


def test_a_killed_painting_goes_on_from_its_checkpoint(impasto: Impasto, house: House, house_says: list[str]):
    submitted = impasto.submit(picture(), [picture(hue=78)], spec={**SOME_SECONDS, "steps": 800})
    checkpoints = _data(house) / "checkpoints" / submitted.id
    # A second one is begun only when the record points at the first.
    wait_for(lambda: any(_number(path) >= 2 for path in checkpoints.glob("*")), "a second one", SECONDS)

    _kill(house, "paint")

    job = _succeeds_with_one_output(impasto, house, submitted)
    assert job.attempt == 2
    assert f"job {job.id}: going on from step" in "\n".join(house_says)


def test_a_paint_worker_told_to_leave_puts_its_job_back_uncharged(impasto: Impasto, house: House):
    submitted = impasto.submit(picture(), [picture(hue=79)], spec=SOME_SECONDS)
    before = wait_until_painting(impasto, submitted.id)

    os.kill(house.pids["paint"], signal.SIGTERM)

    job = _succeeds_with_one_output(impasto, house, submitted)
    assert job.attempt == before.attempt == 1


def _number(checkpoint: Path) -> int:
    return int(checkpoint.name.rpartition("-")[2])


def _kill(house: House, victim: str) -> None:
    os.kill(house.pids[victim], signal.SIGKILL)


def _data(house: House) -> Path:
    return house.data_dir / "objects"


def _succeeds_with_one_output(impasto: Impasto, house: House, submitted: Job) -> Job:
    job = impasto.wait(submitted.id, timeout=SECONDS)
    painted = list((_data(house) / "outputs" / job.id).iterdir())
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in painted] == [job.output.sha256]
    return job
