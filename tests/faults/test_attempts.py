"""Which faults are tried again, how often, and what is kept of each attempt. A job that kills its workers."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from deploy.ports import free_port
from shared.errors import Quarantined
from shared.jobs.record import Job, Queue, Stage, Status
from tests.integration.service.support import picture
from tests.support.jobs import SPEC, new_job
from tests.support.rig import SMALL, Process, Rig
from tests.support.web import Answer, Web, content, in_turn, missing, status

#: Seconds before the second attempt, as the rig's workers have it.
RETRY_DELAY = 0.1
#: Some run out, one after another.
LEASE_SECONDS = 4


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    settings = {"lease_seconds": LEASE_SECONDS, "retry_delay": RETRY_DELAY, "batch": 1}
    with Rig(tmp_path_factory.mktemp("attempts"), **settings) as rig:
        yield rig


@pytest.fixture(scope="module")
def intake(rig: Rig) -> Process:
    return rig.worker(Queue.INTAKE)


@pytest.fixture
def good(web: Web) -> str:
    """The address of a picture."""
    return web.file("/good.png", picture())


def asked(web: Web, path: str) -> int:
    return [seen.path for seen in web.seen].count(path)


def failed(job: Job) -> tuple[str, str | None, int, list[str]]:
    """What a failed job says: code and pointer, attempts, and the codes of those that were tried again."""
    assert job.status is Status.FAILED
    assert job.error is not None
    return job.error.code, job.error.pointer, job.attempt, [error.code for error in job.attempt_errors]


@pytest.mark.parametrize(
    ("answer", "code"),
    [(missing, "fetch_failed"), (content(b"<html>no picture</html>"), "picture_unreadable")],
)
def test_what_only_the_caller_can_mend_is_tried_once(
    rig: Rig, web: Web, intake: Process, good: str, answer: Answer, code: str
) -> None:
    job = rig.ended(rig.submit_urls(good, web.route("/bad", answer)))
    assert failed(job) == (code, "/styles/0", 1, [])
    assert asked(web, "/bad") == 1
    assert intake.status is None
    rig.audit()


def test_trouble_at_the_source_that_passes_costs_an_attempt(
    rig: Rig, web: Web, intake: Process, good: str
) -> None:
    url = web.route("/late", in_turn(status(503), content(picture(hue=9))))
    job = rig.fetched(rig.submit_urls(good, url))
    assert job.stage is Stage.WAITING
    (error,) = job.attempt_errors
    assert (error.code, error.pointer, error.stage, error.attempt) == (
        "fetch_unreachable",
        "/styles/0",
        "fetching",
        1,
    )
    assert "503" in error.detail
    assert error.worker is not None
    assert error.worker.endswith(f":{intake.pid}")
    assert error.at is not None
    assert job.created_at <= error.at / 1000 <= job.created_at + 60
    # What the first attempt has fetched is not fetched again.
    assert (asked(web, "/good.png"), asked(web, "/late")) == (1, 2)
    rig.audit()


@pytest.mark.parametrize("there", [True, False])
def test_a_source_in_trouble_three_times_uses_up_the_attempts(
    rig: Rig, web: Web, intake: Process, good: str, there: bool
) -> None:
    url = web.route("/away", status(503)) if there else f"http://127.0.0.1:{free_port()}/away"
    job = rig.ended(rig.submit_urls(good, url))
    assert failed(job) == ("attempts_exhausted", "/styles/0", 3, ["fetch_unreachable"] * 3)
    assert job.error is not None
    assert "fetch_unreachable: The picture's server " in job.error.detail
    assert [error.attempt for error in job.attempt_errors] == [1, 2, 3]
    times = [error.at or 0 for error in job.attempt_errors]
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert waits[0] >= RETRY_DELAY * 1000
    assert waits[1] >= 2 * RETRY_DELAY * 1000
    assert asked(web, "/good.png") == 1
    assert asked(web, "/away") == (3 if there else 0)
    assert intake.status is None
    rig.audit()


def test_a_layer_that_the_network_does_not_have_fails_the_job_in_one_attempt(rig: Rig) -> None:
    """The API finds this out before it accepts; a job that was accepted all the same is told so."""
    painter = rig.worker(Queue.PAINT)
    spec = SPEC.model_copy(update={"size": 64, "steps": 5, "style_layers": {"conv9_9": 1.0}})
    job = rig.ended(
        rig.store.submit(
            new_job(spec=spec, content=rig.picture(), styles=(rig.picture(5),), skip_intake=True)
        ).job
    )
    assert failed(job) == ("invalid_request", "/spec/style_layers", 1, [])
    assert job.error is not None
    assert "conv9_9" in job.error.detail
    assert rig.ended(rig.submit(hue=3)).status is Status.SUCCEEDED
    rig.audit()
    painter.kill()


@pytest.mark.fault(1)
def test_a_job_that_kills_its_worker_in_every_attempt_goes_into_quarantine(rig: Rig) -> None:
    deadly = {**SMALL, "steps": 5000}
    job = rig.submit(hue=50, spec=deadly)
    killed = []
    for attempt in (1, 2, 3):
        worker = rig.worker(Queue.PAINT)
        rig.painting(job, by=worker)
        if attempt == 3:
            # Its like is accepted before anyone can know, and is claimed once it is known.
            waiting = rig.submit(hue=50, spec=deadly)
        worker.kill()
        killed.append(worker.pid)
    other = rig.submit(hue=51)
    rig.worker(Queue.CHORES)
    job = rig.ended(job)
    assert failed(job) == ("attempts_exhausted", None, 3, ["worker_lost"] * 3)
    assert job.error is not None
    assert "may be the job that ends them" in job.error.detail
    assert "60 min" in job.error.detail
    assert "smaller `size`" in job.error.detail
    assert [int((error.worker or "").rpartition(":")[2]) for error in job.attempt_errors] == killed
    assert [(error.stage, error.attempt) for error in job.attempt_errors] == [
        ("painting", attempt) for attempt in (1, 2, 3)
    ]

    worker = rig.worker(Queue.PAINT)
    assert failed(rig.ended(waiting)) == ("quarantined", None, 0, [])
    with pytest.raises(Quarantined, match=r"not tried again for \d+ min: ask for a smaller `size`"):
        rig.submit(hue=50, spec=deadly)
    assert rig.ended(other).status is Status.SUCCEEDED
    assert rig.ended(rig.submit(hue=50)).status is Status.SUCCEEDED, "another spec is another job"
    assert worker.status is None
    rig.audit()
