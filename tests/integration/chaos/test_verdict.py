"""What judges a chaos run finds each thing that should not be, planted by hand."""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from shared.errors import StorageUnavailable
from shared.ids import new_id
from shared.jobs.keys import Key
from shared.jobs.record import Job, Output
from tests.chaos.callers import Accepted, Request
from tests.chaos.schedule import Fault, Kind
from tests.chaos.verdict import Evidence, is_enough, judge
from tests.support.jobs import claim_paint
from tests.support.rig import Rig

REQUEST = Request(0, 0.0, {}, (0, 1), by_url=False, cancel_after=None, deadline=None)
PAINTED = b"a painted picture"
DIGEST = hashlib.sha256(PAINTED).hexdigest()


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """The servers alone."""
    with Rig(tmp_path, max_attempts=1) as rig:
        yield rig


def succeed(rig: Rig, key: str = REQUEST.key) -> Job:
    job = rig.submit(metadata={"key": key})
    claim = claim_paint(rig.store)
    output = Output(f"outputs/{job.uid}/{claim.fence}.png", DIGEST, len(PAINTED), 64, 43, "image/png")
    rig.objects.put(output.key, PAINTED, output.content_type)
    rig.store.finish(claim, output, seconds={}, evaluations=1, loss={})
    return rig.now(job)


def accepted(job: Job, request: Request = REQUEST) -> Accepted:
    return Accepted(request, job.id, None, "succeeded", DIGEST)


def evidence(*seen: Accepted, faults: tuple[Fault, ...] = (), begun_at: float = 0.0) -> Evidence:
    return Evidence(seen, [], faults, begun_at, {}, drained=True)


def findings(rig: Rig, *seen: Accepted) -> list[str]:
    return judge(rig, evidence(*seen)).findings


def test_nothing_is_found_where_all_is_well(rig: Rig) -> None:
    job = succeed(rig)
    verdict = judge(rig, evidence(accepted(job)))
    assert verdict.findings == []
    assert verdict.outcomes == {"by upload": {"succeeded": 1}}


def test_what_a_crash_left_behind_is_swept_and_counted(rig: Rig) -> None:
    job = succeed(rig)
    rig.objects.put(f"outputs/{job.uid}/9-stale.png", PAINTED, "image/png")
    rig.objects.put(f"checkpoints/{job.uid}/9-stale-1", PAINTED, "image/png")
    verdict = judge(rig, evidence(accepted(job)))
    assert (verdict.findings, verdict.leftovers) == ([], 1)


def test_a_lost_job_is_found(rig: Rig) -> None:
    job = succeed(rig)
    assert any(
        "answered 202 and is not in the store" in one
        for one in findings(
            rig, accepted(job), accepted(replace(job, id="job_lost"), replace(REQUEST, number=1))
        )
    )


def test_a_job_that_nobody_was_told_of_is_found_and_so_is_a_key_with_two_jobs(rig: Rig) -> None:
    first, _ = succeed(rig), succeed(rig)
    found = findings(rig, accepted(first))
    assert any("answered to nobody" in one for one in found)
    assert any("accepted 2 times" in one for one in found)


def test_a_job_that_has_not_ended_is_found(rig: Rig) -> None:
    job = rig.submit(metadata={"key": REQUEST.key})
    found = findings(rig, replace(accepted(job), ended=None, fetched=None))
    assert any("is still queued/waiting" in one for one in found)


def test_an_ending_that_changed_is_found(rig: Rig) -> None:
    assert any(
        "was seen failed and is succeeded" in one
        for one in findings(rig, replace(accepted(succeed(rig)), ended="failed"))
    )


def test_another_picture_than_the_caller_got_is_found(rig: Rig) -> None:
    assert any(
        "gave another picture" in one
        for one in findings(rig, replace(accepted(succeed(rig)), fetched="another"))
    )


def test_a_cancel_that_nobody_asked_for_is_found(rig: Rig) -> None:
    job = rig.submit(metadata={"key": REQUEST.key})
    rig.store.cancel(job.owner, job.id)
    seen = replace(accepted(job), ended="canceled", fetched=None)
    assert any("which nobody asked for" in one for one in findings(rig, seen))
    asked = replace(seen, request=replace(REQUEST, cancel_after=0.1))
    assert findings(rig, asked) == []


def test_damaged_and_missing_outputs_are_found(rig: Rig) -> None:
    job = succeed(rig)
    assert job.output is not None
    rig.objects.put(job.output.key, b"something else", "image/png")
    assert any("bytes are not those" in one for one in findings(rig, accepted(job)))
    rig.objects.delete(job.output.key)
    assert any("has outputs []" in one for one in findings(rig, accepted(job)))


def test_a_publish_too_many_is_found(rig: Rig) -> None:
    job = succeed(rig)
    rig.client.hincrby(Key.TALLY, "finished", 1)
    assert any("2 publishes were counted" in one for one in findings(rig, accepted(job)))


def test_indexes_that_do_not_agree_are_found(rig: Rig) -> None:
    job = succeed(rig)
    rig.client.hincrby(Key.COUNTS, "succeeded", 1)
    assert any("the recount finds" in one for one in findings(rig, accepted(job)))


def fail(rig: Rig) -> Job:
    job = rig.submit(metadata={"key": f"{REQUEST.key} failed {new_id('n')}"})
    rig.store.fail(claim_paint(rig.store), StorageUnavailable("away"))
    return rig.now(job)


@pytest.mark.parametrize(
    ("good", "bad", "enough"), [(0, 1, True), (0, 2, False), (9, 1, True), (9, 2, False)]
)
def test_in_a_short_run_one_job_may_be_in_the_way_of_all_faults_and_no_more(
    rig: Rig, good: int, bad: int, enough: bool
) -> None:
    first = time.time()
    seen = [accepted(succeed(rig, f"job {number}")) for number in range(good)]
    seen += [replace(accepted(fail(rig)), ended="failed", fetched=None) for _ in range(bad)]
    fault = Fault(0.0, Kind.RESET, "s3", time.time() - first + 1)
    found = judge(rig, evidence(*seen, faults=(fault,), begun_at=first)).findings
    assert found == ([] if enough else [f"{good} of {good + bad} succeeded, fewer than 99%"])


@pytest.mark.parametrize(("failed", "enough"), [(1, True), (2, True), (3, False)])
def test_of_many_jobs_one_in_a_hundred_may_be_missing(failed: int, enough: bool) -> None:
    assert is_enough(200 - failed, 200) is enough


def test_a_job_that_fails_without_a_fault_is_found_though_it_is_the_only_one(rig: Rig) -> None:
    failed = replace(accepted(fail(rig)), ended="failed", fetched=None)
    found = judge(rig, evidence(accepted(succeed(rig)), failed)).findings
    assert len(found) == 1
    assert "no injected fault explains" in found[0]


@pytest.mark.parametrize("target", ["s3", "chores"])
def test_a_failure_is_explained_only_by_a_fault_that_can_have_caused_it(rig: Rig, target: str) -> None:
    job = rig.submit(metadata={"key": REQUEST.key})
    rig.store.fail(claim_paint(rig.store), StorageUnavailable("away"))
    failed = rig.now(job)
    fault = Fault(1.0, Kind.RESET, target, 0.5)
    seen = replace(accepted(job), ended="failed", fetched=None)
    verdict = judge(rig, evidence(seen, faults=(fault,), begun_at=failed.created_at - 2))
    (exhausted,) = verdict.exhausted
    explained = any("no injected fault explains" in one for one in verdict.findings)
    assert explained == (target == "chores")
    assert (str(fault) in exhausted.attempts[0]) == (target == "s3")
