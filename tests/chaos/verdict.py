"""What must be true at the end of a chaos run: each sentence that is not comes out as a finding."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from shared.audit import audit
from shared.jobs.record import Job, Status
from shared.jobs.results import Tally
from tests.chaos.callers import Accepted
from tests.chaos.schedule import Fault
from tests.support.audit import audit as recount
from tests.support.audit import snapshot
from tests.support.leftovers import sweep
from tests.support.rig import Rig

#: Of what was to succeed, the share that must have; and how many may be missing in however short a run, since
#: one job may be in the way of as many faults as it has attempts. What failed names its faults in any case.
SUCCEEDING, ASIDE = 0.99, 1
#: For so long after it is over a fault explains an attempt's error: leases and retries run on.
AFTERMATH_SECONDS = 8.0

#: By an attempt's error: which targets' faults bring it about.
_CAUSES: Mapping[str, tuple[str, ...]] = {
    "worker_lost": ("redis", "everything"),  # and whichever process held the job
    "storage_unavailable": ("s3",),
    "store_unavailable": ("redis", "everything"),
    "fetch_unreachable": ("intake",),
}


@dataclass(frozen=True)
class Evidence:
    """What a run left behind.

    Attributes:
        accepted: every 202. refusals: what callers complain of.
        faults: as they were caused. begun_at: of the run, in seconds since the epoch.
        holders: names of the processes that held a job, by its uid.
        drained: whether every caller saw every job end.
    """

    accepted: Sequence[Accepted]
    refusals: Sequence[str]
    faults: Sequence[Fault]
    begun_at: float
    holders: Mapping[str, set[str]]
    drained: bool


@dataclass(frozen=True)
class Exhausted:
    """A job that failed, and by what, in words."""

    key: str
    attempts: Sequence[str]


@dataclass
class Verdict:
    """The run judged.

    Attributes:
        findings: what should not be; none is the aim.
        outcomes: by kind of request, how many ended in which status.
        exhausted: jobs that failed. tally: the service's own counts.
        leftovers: results that a chore took away. cut_off: submits whose first 202 did not arrive.
    """

    findings: list[str]
    outcomes: Mapping[str, Counter[str]]
    exhausted: Sequence[Exhausted]
    tally: Tally
    leftovers: int
    cut_off: int


def judge(rig: Rig, evidence: Evidence) -> Verdict:
    """Hold what the run left behind to the promise."""
    findings = list(evidence.refusals)
    if not evidence.drained:
        findings.append("the callers did not see every job end in time")
    store = snapshot(rig.client)
    jobs = {uid: Job.from_hash(record) for uid, record in store.records.items()}
    findings += _accepted_once(jobs, evidence.accepted)
    findings += _ended_as_seen(jobs, evidence.accepted)
    findings += _wanted_endings(jobs, evidence.accepted)
    exhausted = [_named(job, evidence) for job in jobs.values() if job.status is Status.FAILED]
    for one in exhausted:
        findings += [
            f"{one.key}: no injected fault explains {words}" for words in one.attempts if "no fault" in words
        ]
    leftovers = sweep(rig)
    findings += _outputs(rig, jobs)
    tally = rig.store.tally()
    findings += _published_once(tally, jobs)
    findings += examine(rig)
    cut_off = sum(one.request.cut_off for one in evidence.accepted)
    return Verdict(findings, _outcomes(jobs, evidence.accepted), exhausted, tally, leftovers, cut_off)


def examine(rig: Rig) -> Iterator[str]:
    """What the tests' own recount finds, and what `impasto doctor --deep` does, independently of it."""
    try:
        recount(rig.client)
    except AssertionError as error:
        yield f"the recount finds: {error}"
    for finding in audit(rig.client, rig.objects, rig.config, deep=True):
        yield f"the doctor finds: {finding.code}: {finding.subject}: {finding.detail}"


def _accepted_once(jobs: Mapping[str, Job], accepted: Sequence[Accepted]) -> Iterator[str]:
    """Each 202 has its record, each key one job, and no record is nobody's."""
    known = {one.id for one in accepted}
    for one in accepted:
        if one.id not in jobs:
            yield f"{one.request.key}: {one.id} was answered 202 and is not in the store"
    keys: dict[str, list[str]] = defaultdict(list)
    for uid, job in jobs.items():
        keys[job.metadata["key"]].append(uid)
        if uid not in known:
            yield f"{job.metadata['key']}: {uid} is in the store and was answered to nobody"
    for key, uids in keys.items():
        if len(uids) > 1:
            yield f"{key}: accepted {len(uids)} times, as {', '.join(uids)}"


def _ended_as_seen(jobs: Mapping[str, Job], accepted: Sequence[Accepted]) -> Iterator[str]:
    """Every job has ended, as its caller saw it end and with the picture that was fetched."""
    for one in accepted:
        job = jobs.get(one.id)
        if job is None:
            continue
        if not job.status.terminal:
            yield f"{one.request.key}: {one.id} is still {job.status}/{job.stage}"
        elif one.ended not in (None, job.status):
            yield f"{one.request.key}: {one.id} was seen {one.ended} and is {job.status}"
        if one.fetched and job.output and one.fetched != job.output.sha256:
            yield f"{one.request.key}: {one.id} gave another picture to its caller"


def _wanted_endings(jobs: Mapping[str, Job], accepted: Sequence[Accepted]) -> Iterator[str]:
    """Nearly all succeed, and nothing ends early that nobody asked to."""
    meant = [jobs[one.id] for one in accepted if one.id in jobs and not one.request.may_end_early]
    succeeded = sum(job.status is Status.SUCCEEDED for job in meant)
    if not is_enough(succeeded, len(meant)):
        yield f"{succeeded} of {len(meant)} succeeded, fewer than {SUCCEEDING:.0%}"
    for job in meant:
        if job.status in (Status.CANCELED, Status.EXPIRED):
            yield f"{job.metadata['key']}: {job.uid} is {job.status}, which nobody asked for"
    for job in jobs.values():
        if job.status is Status.FAILED and (job.error is None or job.error.code != "attempts_exhausted"):
            yield f"{job.metadata['key']}: {job.uid} failed with {job.error}"


def is_enough(succeeded: int, meant: int) -> bool:
    """Whether so many of so many jobs is as good as a run with these faults must come out."""
    return succeeded >= min(SUCCEEDING * meant, meant - ASIDE)


def _named(job: Job, evidence: Evidence) -> Exhausted:
    """A failed job with the faults that used up its attempts."""
    begun = job.created_at - evidence.begun_at
    ended = (job.completed_at or job.created_at) - evidence.begun_at
    near = [
        fault
        for fault in evidence.faults
        if fault.at <= ended and fault.at + fault.seconds + AFTERMATH_SECONDS >= begun
    ]
    words = []
    for error in job.attempt_errors:
        causes = {*_CAUSES.get(error.code, ())}
        if error.code == "worker_lost":
            causes |= evidence.holders.get(job.uid, set())
        names = [str(fault) for fault in near if fault.target in causes]
        words.append(f"{error.code}: {'; '.join(names) or 'no fault'}")
    return Exhausted(f"{job.metadata['key']} ({job.uid})", words)


def _outputs(rig: Rig, jobs: Mapping[str, Job]) -> Iterator[str]:
    """Each succeeded job has one output of the bytes that its record tells; nothing else is left."""
    found: dict[str, list[str]] = defaultdict(list)
    for stat in rig.objects.list("outputs/"):
        found[stat.key.split("/")[1]].append(stat.key)
    for uid, job in jobs.items():
        keys = found.pop(uid, [])
        if job.status is not Status.SUCCEEDED or job.output is None:
            if keys:
                yield f"{uid} is {job.status} and has outputs {keys}"
        elif keys != [job.output.key]:
            yield f"{uid} has outputs {keys}, and its record names {job.output.key}"
        elif hashlib.sha256(rig.objects.get(job.output.key)).hexdigest() != job.output.sha256:
            yield f"{uid}: the output's bytes are not those of its record"
    if found:
        yield f"outputs of unknown jobs: {sorted(found)}"
    for prefix in ("checkpoints/", "previews/"):
        left = [stat.key for stat in rig.objects.list(prefix)]
        if left:
            yield f"left behind: {left}"


def _published_once(tally: Tally, jobs: Mapping[str, Job]) -> Iterator[str]:
    """The service itself counted as many endings by success as there are."""
    succeeded = sum(job.status is Status.SUCCEEDED for job in jobs.values())
    if tally.finished != succeeded:
        yield f"{succeeded} jobs succeeded, and {tally.finished} publishes were counted"


def _outcomes(jobs: Mapping[str, Job], accepted: Sequence[Accepted]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for one in accepted:
        request = one.request
        kind = (
            "to be canceled"
            if request.cancel_after is not None
            else "with a short deadline"
            if request.deadline is not None
            else "by URL"
            if request.by_url
            else "by upload"
        )
        found[kind][str(jobs[one.id].status) if one.id in jobs else "lost"] += 1
    return found
