"""The job store's proof: whatever the schedule, what must hold holds (see `machine.py` for the steps)."""

import os

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from shared.jobs import scripts
from shared.jobs.store import JobStore
from shared.settings import Settings
from tests.integration.jobs.machine import Schedules
from tests.support.clock import Clock

SETTLED = "AT_ONCE = 50"
#: The suite runs the same schedules every time; IMPASTO_TEST_SCHEDULES=5000 tries so many new ones.
TRIED = int(os.environ.get("IMPASTO_TEST_SCHEDULES", "0"))


@pytest.mark.timeout(1800 if TRIED else 600)  # a busy machine answers slowly; no step waits for time to pass
def test_no_schedule_of_callers_workers_and_crashes_breaks_the_store(
    config: Settings, clock: Clock, redis_client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Here(Schedules):
        pass

    # Its jobs are all alike: one that goes into quarantine would leave nothing to try.
    config = config.model_copy(update={"quarantine_seconds": 0.0})
    store = JobStore(redis_client, config)
    # One follower is settled with its leader, the others are left to the reaper.
    given = scripts.source
    assert SETTLED in given("finish")
    monkeypatch.setattr(scripts, "source", lambda name: given(name).replace(SETTLED, "AT_ONCE = 1"))

    Here.client, Here.store, Here.config, Here.clock = redis_client, store, config, clock
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=TRIED or 20,
            stateful_step_count=50,
            derandomize=not TRIED,
            database=None,
            deadline=None,
            print_blob=False,
            suppress_health_check=list(HealthCheck),
        ),
    )
