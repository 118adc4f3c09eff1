"""Fault 11: a full disk, under the pictures or under the job store: what waits goes on once there is room."""

from pathlib import Path

import httpx
import pytest

from shared.errors import StoreUnavailable
from shared.jobs.record import Job, Queue, Status
from tests.integration.service.support import picture
from tests.support.disks import SmallDisk, small_disk
from tests.support.rig import SMALL, Rig
from tests.support.waiting import wait_for

pytestmark = pytest.mark.fault(11)

BODY = {"content": "https://example.org/a.png", "styles": ["https://example.org/b.png"]}


def test_a_picture_that_finds_no_room_waits_for_it_and_is_not_painted_again(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", 2) as disk, Rig(tmp_path) as rig:
        job = rig.submit(spec={**SMALL, "steps": 200})
        disk.fill()
        worker = rig.worker(Queue.PAINT)

        def found_full() -> bool:
            disk.fill()  # again and again: a checkpoint that is taken away gives its room back
            return worker.said("No space left on device")

        wait_for(found_full, "the disk to be found full")
        wait_for(lambda: rig.now(job).stage == "storing", "the picture to be finished")
        disk.free()
        done = rig.ended(job)
        assert (done.status, done.attempt, done.attempt_errors) == (Status.SUCCEEDED, 1, ())
        assert done.evaluations == 200
        rig.has_its_one_result(done)
        rig.audit()


def test_a_disk_that_stays_full_fails_the_job_by_name_and_the_next_one_passes(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "data", 2) as disk,
        Rig(tmp_path, store_seconds=3, max_attempts=2) as rig,
    ):
        job, later = rig.submit(), rig.submit(hue=1, priority=0)
        disk.fill()
        rig.worker(Queue.PAINT, batch=1)
        done = rig.ended(job)
        assert done.status is Status.FAILED
        assert {error.code for error in done.attempt_errors} == {"storage_unavailable"}
        assert any("No space left on device" in error.detail for error in done.attempt_errors)
        assert rig.outputs(job) == {}
        disk.free()
        passed = rig.ended(later)
        if passed.status is Status.FAILED:  # while the disk was full still
            passed = rig.ended(rig.submit(hue=1))
        assert passed.status is Status.SUCCEEDED
        rig.has_its_one_result(passed)
        rig.audit()


def test_an_upload_to_a_full_disk_is_refused_for_now(tmp_path: Path) -> None:
    with small_disk(tmp_path / "data", 2) as disk, Rig(tmp_path) as rig:
        _, url = rig.api()
        disk.fill()
        files = {"file": ("a.png", picture(), "image/png")}
        refused = httpx.post(f"{url}/v1/uploads", files=files, timeout=20)
        assert (refused.status_code, refused.json()["code"]) == (503, "storage_unavailable")
        assert int(refused.headers["Retry-After"]) >= 1
        disk.free()
        assert httpx.post(f"{url}/v1/uploads", files=files, timeout=20).is_success


def test_a_job_store_whose_log_finds_no_room_takes_no_jobs_until_it_does(tmp_path: Path) -> None:
    """With `everysec` Valkey refuses writes meanwhile."""
    gentle = ("--maxmemory-policy", "noeviction", "--appendfsync", "everysec")
    with (
        small_disk(tmp_path / "valkey", 4) as disk,
        Rig(tmp_path, valkey_options=gentle) as rig,
    ):
        painted, url = filled_up(rig, disk)
        assert httpx.get(f"{url}/v1/jobs/{painted.id}", timeout=20).is_success, "what is there can be read"
        disk.free()
        goes_on(rig, painted, url)


def test_a_job_store_that_ends_for_want_of_room_has_every_job_when_it_is_back(tmp_path: Path) -> None:
    """With `always`, the default, Valkey ends rather than answer for what it could not write."""
    with small_disk(tmp_path / "valkey", 4) as disk, Rig(tmp_path) as rig:
        painted, url = filled_up(rig, disk)
        rig.valkey.process.wait(30)
        disk.free()
        rig.valkey.restart()  # as its supervisor does
        goes_on(rig, painted, url)


def filled_up(rig: Rig, disk: SmallDisk) -> tuple[Job, str]:
    """A job that is being painted, and the API's address, once the full disk has writes refused."""
    rig.worker(Queue.PAINT)
    _, url = rig.api()
    painted = rig.submit(spec={**SMALL, "steps": 400}, owner="local")
    rig.painting(painted)
    disk.fill()

    def refused() -> bool:
        try:
            rig.submit(hue=1)
        except StoreUnavailable:
            return True
        return False

    wait_for(refused, "writes to be refused")
    answer = httpx.post(f"{url}/v1/jobs", json=BODY, timeout=20)
    assert (answer.status_code, answer.json()["code"]) == (503, "store_unavailable")
    assert int(answer.headers["Retry-After"]) >= 1
    return painted, url


def goes_on(rig: Rig, painted: Job, url: str) -> None:
    """Assert that jobs are taken again, and that the one under way ends well and stays so."""
    wait_for(lambda: httpx.post(f"{url}/v1/jobs", json=BODY, timeout=20).is_success, "jobs to be taken")
    done = rig.ended(painted)
    assert done.status is Status.SUCCEEDED
    rig.has_its_one_result(done)
    rig.audit()
    rig.valkey.kill()
    rig.valkey.restart()
    assert rig.now(done) == done, "and its log has it"
