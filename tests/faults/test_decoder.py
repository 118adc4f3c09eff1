"""Fault 14: a picture that kills its decoder, by a signal or through one of its limits."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shared.jobs.record import Job, Queue, Stage, Status
from tests.integration.service.support import picture
from tests.support import fragile_decoder
from tests.support.fragile_decoder import MARKS
from tests.support.processes import children_of, living_children_of
from tests.support.rig import Process, Rig
from tests.support.waiting import wait_for
from tests.support.web import Web
from tests.unit.pictures.files import png

pytestmark = pytest.mark.fault(14)
SIDE = 7000


def bomb() -> bytes:
    """147 MB of black in a file of 150 kB."""
    return png(SIDE, SIDE, 8, 2, bytes((1 + 3 * SIDE) * SIDE))


def endless() -> bytes:
    """A picture with which its decoder is never done."""
    return picture() + MARKS["ENDLESS"]


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """One job at a time, and decoders with three seconds of CPU and the least memory there can be."""
    limits = {"decode_seconds": 3, "decode_memory": 2**28}
    with Rig(tmp_path_factory.mktemp("decoder"), intake_slots=1, **limits) as rig:
        yield rig


@pytest.fixture(scope="module")
def intake(rig: Rig) -> Process:
    """The one worker that all the pictures go through."""
    return rig.worker(Queue.INTAKE, altered=[f"decoder={Path(fragile_decoder.__file__)}"])


def ended(rig: Rig, web: Web, data: bytes) -> Job:
    """A job whose content is this file, once it has ended."""
    good = web.file("/good.png", picture())
    return rig.ended(rig.submit_urls(web.file("/bad.png", data), good))


def goes_on(rig: Rig, web: Web, intake: Process) -> None:
    """Assert that the worker takes the next job, and that no decoder is left, dead or alive."""
    url = web.file("/next.png", picture(hue=1))
    assert rig.fetched(rig.submit_urls(url, url)).stage is Stage.WAITING
    assert intake.status is None

    def the_forkserver() -> list[int]:
        # One whose decoder has crashed ends by itself soon, and is reaped when the next decoder begins.
        found = living_children_of(intake.pid)
        return found if len(found) == 1 else []

    (forkserver,) = wait_for(the_forkserver, "one parent of decoders to be left")
    wait_for(lambda: not children_of(forkserver), "every decoder to be gone")
    rig.audit()


@pytest.mark.parametrize("death", ["SIGSEGV", "SIGABRT"])
def test_a_picture_that_crashes_its_decoder_fails_its_job_at_once(
    rig: Rig, web: Web, intake: Process, death: str
) -> None:
    job = ended(rig, web, picture() + MARKS[death])
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, "picture_unreadable")
    assert (job.error.pointer, job.attempt, job.attempt_errors) == ("/content", 1, ())
    assert "crashed" in job.error.detail
    goes_on(rig, web, intake)


@pytest.mark.parametrize(("file", "words"), [(bomb, "more memory"), (endless, "3 s of CPU time")])
def test_a_picture_that_takes_too_much_of_its_decoder_fails_its_job_at_once(
    rig: Rig, web: Web, intake: Process, file: Callable[[], bytes], words: str
) -> None:
    job = ended(rig, web, file())
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, "picture_too_large")
    assert (job.error.pointer, job.attempt, job.attempt_errors) == ("/content", 1, ())
    assert words in job.error.detail
    goes_on(rig, web, intake)


def test_a_decoder_that_is_killed_from_outside_costs_an_attempt_and_three_the_job(
    rig: Rig, web: Web, intake: Process
) -> None:
    """SIGKILL is what a machine short of memory or its operator sends: another attempt may go well."""
    job = ended(rig, web, picture() + MARKS["SIGKILL"])
    assert job.error is not None
    assert (job.status, job.error.code) == (Status.FAILED, "attempts_exhausted")
    assert "SIGKILL" in job.error.detail
    assert [error.code for error in job.attempt_errors] == ["internal"] * 3
    assert [seen.path for seen in web.seen].count("/good.png") == 1
    goes_on(rig, web, intake)
