"""An intake worker that is told to leave in mid-fetch gives its job back at once, uncharged."""

import os
import signal
import time

from client import Impasto
from deploy.local import House
from tests.integration.service.support import SECONDS, SMALL, HeldPicture, picture
from tests.support.waiting import wait_for
from tests.support.web import Web


def test_an_intake_told_to_leave_in_mid_fetch_puts_its_job_back(impasto: Impasto, house: House, web: Web):
    held = HeldPicture()
    submitted = impasto.submit(web.route("/slow.png", held), [picture(hue=6)], spec=SMALL)
    assert held.asked.wait(SECONDS)
    leaving = house.pids["intake"]

    told_at = time.monotonic()
    os.kill(leaving, signal.SIGTERM)
    wait_for(lambda: impasto.get(submitted.id).queue_position, "the job to wait again")
    back_after = time.monotonic() - told_at
    held.go_on.set()

    job = impasto.wait(submitted.id, timeout=SECONDS)
    assert job.attempt == 1
    assert back_after < house.lease_seconds, "given back by the worker, not taken by the reaper"
