"""An intake worker that is told to leave in mid-fetch gives its job back at once, uncharged."""

import os
import signal

from client import Impasto
from deploy.local import House
from tests.integration.service.support import SECONDS, SMALL, HeldPicture, picture
from tests.support.waiting import wait_for
from tests.support.web import Web


def test_an_intake_told_to_leave_in_mid_fetch_puts_its_job_back(
    impasto: Impasto, house: House, web: Web, house_says: list[str]
):
    held = HeldPicture()
    submitted = impasto.submit(web.route("/slow.png", held), [picture(hue=6)], spec=SMALL)
    assert held.asked.wait(SECONDS)

    os.kill(house.pids["intake"], signal.SIGTERM)
    told = f"job {submitted.id}: put back"
    wait_for(lambda: any(told in line for line in house_says), "the job to be put back")
    held.go_on.set()

    job = impasto.wait(submitted.id, timeout=SECONDS)
    assert job.attempt == 1
    assert job.raw["attempt_errors"] == [], "given back by the worker, not taken by the reaper"
