"""Whether a job stands where its record says: in one place, in its list, under its ID, with its times."""

from collections.abc import Iterator

from shared.audit.findings import Code, Finding
from shared.audit.reader import Sighting
from shared.jobs.record import Job, Stage, Status

#: What the reaper does within seconds is overdue after this long.
REAPER_SECONDS = 60
#: What is done in portions, however much of it there is, is overdue after this long.
PORTIONS_SECONDS = 3600


def check(seen: Sighting, job: Job) -> Iterator[Finding]:
    """What is wrong with where a job stands.

    Args:
        seen: what the store knows of it.
        job: its record, read.
    """
    yield from _place(seen, job)
    yield from _names(seen, job)
    yield from _times(seen, job)
    yield from _overdue(seen, job)


def _indexed(seen: Sighting, code: Code, detail: str) -> Finding:
    """A finding that goes when the job's index entries are made anew from its record."""
    return Finding(code, seen.uid, detail, {"kind": "job", "uid": seen.uid})


def _place(seen: Sighting, job: Job) -> Iterator[Finding]:
    fetching, fence = job.stage is Stage.FETCHING, seen.record.get("fence")
    stands = {
        "the leases": seen.leases,
        "back-off": seen.delayed,
        "the ended": seen.ended,
        "intake's waiting set": seen.intake,
        f"the waiting set of {seen.record.get('lane')}": seen.lane,
    }
    if job.following or seen.following is not None:
        stands["the followers of its recipe"] = seen.following
    places = [place for place, score in stands.items() if score is not None]
    own = "intake's waiting set" if fetching else f"the waiting set of {seen.record.get('lane')}"
    if job.status.terminal:
        expected = {"the ended"}
    elif job.status is Status.PROCESSING or (fetching and fence):
        expected = {"the leases"}
    elif job.following:
        expected = {"the followers of its recipe"}
    else:
        expected = {own, "back-off"}
    state = f"{job.status}/{job.stage}" if job.stage else str(job.status)
    if not places and not job.status.terminal:
        yield _indexed(seen, Code.JOB_STRANDED, f"it is {state} but nobody holds it and it waits nowhere")
    elif places and (len(places) > 1 or places[0] not in expected):
        yield _indexed(seen, Code.JOB_MISPLACED, f"it is {state} but stands in {' and '.join(places)}")
    elif (fence is not None) != (expected == {"the leases"}):
        has = "has a fence" if fence else "has no fence"
        yield _indexed(seen, Code.JOB_MISPLACED, f"it is {state} but {has}")
    if (job.stage is None) != job.status.terminal:
        yield _indexed(seen, Code.JOB_MISPLACED, f"it is {job.status} with stage {job.stage}")


def _names(seen: Sighting, job: Job) -> Iterator[Finding]:
    order = seen.record.get("order")
    listed = seen.lists.get(job.status)
    if listed is None or order is None or listed != float(order):
        yield _indexed(
            seen, Code.JOB_UNLISTED, f"the list of {job.owner}'s {job.status} jobs does not have it"
        )
    if job.id != job.uid and seen.named != job.uid:
        yield _indexed(seen, Code.ID_DISAGREES, f"its ID {job.id!r} names {seen.named or 'no job'}")


def _times(seen: Sighting, job: Job) -> Iterator[Finding]:
    deadline = float(seen.record["deadline_at"])
    if job.status.terminal:
        if seen.deadlines is not None:
            yield _indexed(seen, Code.DEADLINE_DISAGREES, "it has ended but is kept among the deadlines")
        expires = seen.record.get("expires_at")
        if expires is None or seen.ended != float(expires):
            yield _indexed(seen, Code.RETENTION_DISAGREES, "the ended do not have it by its expires_at")
        return
    # One that is processing loses its entry when the deadline passes; its worker is told.
    gone = seen.deadlines is None and job.status is Status.PROCESSING and deadline <= seen.at
    if seen.deadlines != deadline and not gone:
        yield _indexed(seen, Code.DEADLINE_DISAGREES, "the deadlines do not have it by its deadline_at")


def _overdue(seen: Sighting, job: Job) -> Iterator[Finding]:
    def late(score: float | None, seconds: float) -> bool:
        return score is not None and score < seen.at - seconds * 1000

    if late(seen.leases, REAPER_SECONDS):
        yield Finding(Code.LEASE_OVERDUE, seen.uid, f"the lease of {job.worker} ran out and was not taken")
    if late(seen.delayed, REAPER_SECONDS):
        yield Finding(Code.BACKOFF_OVERDUE, seen.uid, "its back-off is over but it does not wait again")
    if job.status is Status.QUEUED and late(seen.deadlines, PORTIONS_SECONDS):
        yield Finding(Code.DEADLINE_OVERDUE, seen.uid, "its deadline passed but it has not expired")
    if late(seen.ended, PORTIONS_SECONDS):
        yield Finding(Code.PURGE_OVERDUE, seen.uid, "its retention is over but it is still kept")
