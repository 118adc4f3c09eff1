"""kill -9 of any one process while a job is under way: the job still succeeds, with one output."""

import hashlib
import os
import signal
from pathlib import Path

import pytest

from client import Impasto, Job
from deploy.local import House
from tests.integration.service.support import SECONDS, HeldPicture, picture, wait_until_painting
from tests.support.waiting import wait_for
from tests.support.web import Web

#: A few seconds of painting: long enough to be killed in, short enough to be painted again.
SOME_SECONDS = {"size": 128, "steps": 300, "pyramid": 1}
VICTIMS = ["valkey", "api", "paint", "chores"]


@pytest.mark.parametrize("victim", VICTIMS)
def test_a_job_survives_the_kill_of(victim: str, impasto: Impasto, house: House):
    spec = {**SOME_SECONDS, "seed": VICTIMS.index(victim)}  # else all but the first would share its picture
    submitted = impasto.submit(picture(), [picture(hue=77)], spec=spec)
    wait_until_painting(impasto, submitted.id)

    killed = _kill(house, victim)

    _succeeds_with_one_output(impasto, house, submitted)
    wait_for(lambda: house.pids[victim] != killed, f"{victim} to be started again")


def test_a_job_survives_the_kill_of_intake_in_mid_fetch(impasto: Impasto, house: House, web: Web):
    held = HeldPicture()
    submitted = impasto.submit(web.route("/slow.png", held), [picture(hue=5)], spec=SOME_SECONDS)
    assert held.asked.wait(SECONDS)

    _kill(house, "intake")
    held.go_on.set()

    job = _succeeds_with_one_output(impasto, house, submitted)
    assert [seen.path for seen in web.seen] == ["/slow.png"] * 2
    assert job.metrics["seconds"]["fetch"] > 0


def test_a_killed_painting_goes_on_from_its_checkpoint(
    impasto: Impasto, house: House, capfd: pytest.CaptureFixture[str]
):
    submitted = impasto.submit(picture(), [picture(hue=78)], spec={**SOME_SECONDS, "steps": 700})
    checkpoints = _data(house) / "checkpoints" / submitted.id
    # A second one is begun only when the record points at the first.
    wait_for(lambda: list(checkpoints.glob("*-2")), "a second checkpoint", SECONDS)

    _kill(house, "paint")

    job = _succeeds_with_one_output(impasto, house, submitted)
    assert job.attempt == 2
    assert f"job {job.id}: going on from step" in capfd.readouterr().err


def test_a_paint_worker_told_to_leave_puts_its_job_back_uncharged(impasto: Impasto, house: House):
    submitted = impasto.submit(picture(), [picture(hue=79)], spec={**SOME_SECONDS, "steps": 500})
    before = wait_until_painting(impasto, submitted.id)

    os.kill(house.pids["paint"], signal.SIGTERM)

    job = _succeeds_with_one_output(impasto, house, submitted)
    assert job.attempt == before.attempt == 1


def _kill(house: House, victim: str) -> int:
    pid = house.pids[victim]
    os.kill(pid, signal.SIGKILL)
    return pid


def _data(house: House) -> Path:
    return house.data_dir / "objects"


def _succeeds_with_one_output(impasto: Impasto, house: House, submitted: Job) -> Job:
    job = impasto.wait(submitted.id, timeout=SECONDS)
    painted = list((_data(house) / "outputs" / job.id).iterdir())
    assert [hashlib.sha256(path.read_bytes()).hexdigest() for path in painted] == [job.output.sha256]
    return job
