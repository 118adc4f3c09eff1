"""Work that hangs does not keep its slot for ever: the watchdog ends the process, lease or no lease."""

import subprocess
import sys

import pytest
import redis

from shared.jobs.keys import Key
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.support.jobs import new_job
from worker.lease import STALLED_EXIT

HANG = """
import sys, threading
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from worker.lease import Lease

config = Settings(redis_url=sys.argv[1], lease_seconds=3)
store = JobStore(connect(config), config)
claim = store.claim(Queue.INTAKE, "worker")
with Lease(store, claim, lease_seconds=3, stall_seconds=2.5, draining=threading.Event()):
    print("held", flush=True)
    threading.Event().wait(60)
"""

TOGETHER = """
import sys, threading, time
from shared.jobs.record import Queue
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from worker.lease import Lease, Pulse

config = Settings(redis_url=sys.argv[1], lease_seconds=3)
store = JobStore(connect(config), config)
pulse = Pulse()
leases = [
    Lease(
        store, store.claim(Queue.INTAKE, "worker"), lease_seconds=3, stall_seconds=6,
        draining=threading.Event(), pulse=pulse,
    )
    for _ in range(2)
]
with leases[0], leases[1]:
    for _ in range(40):
        leases[0].moved()
        time.sleep(0.2)
    print("alive", flush=True)
    threading.Event().wait(60)
"""


@pytest.mark.parametrize("lease", ["held", "lost"])
def test_a_process_whose_work_hangs_ends_by_itself(lease: str, valkey: str, redis_client: redis.Redis):
    job = JobStore(redis_client, Settings(redis_url=valkey)).submit(new_job()).job
    process = subprocess.Popen([sys.executable, "-c", HANG, valkey], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "held\n"
        if lease == "lost":
            redis_client.hdel(f"{Key.JOB}{job.uid}", "fence")
        assert process.wait(20) == STALLED_EXIT


def test_jobs_that_are_painted_together_stall_only_together(valkey: str, redis_client: redis.Redis):
    for _ in range(2):
        JobStore(redis_client, Settings(redis_url=valkey)).submit(new_job())
    process = subprocess.Popen([sys.executable, "-c", TOGETHER, valkey], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process.stdout:
        assert process.stdout.readline() == "alive\n"
        assert process.wait(20) == STALLED_EXIT
