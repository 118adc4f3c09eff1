"""Whether each job has the objects that its record names, and each such object a job that names it."""

import hashlib
from collections.abc import Iterator
from functools import partial

from shared.audit.findings import Code, Finding
from shared.audit.held import Held
from shared.audit.leftovers import leftovers as find
from shared.audit.reader import Reader, Sighting
from shared.jobs.hashes import UnreadableRecordError
from shared.jobs.keys import Key
from shared.jobs.record import Job
from shared.objects import ObjectMissingError, ObjectStat


def leftovers(reader: Reader, held: Held) -> Iterator[Finding]:
    """Results, checkpoints and previews that no job needs; `held` is told of all that there are."""
    yield from find(
        reader,
        ("outputs/", "checkpoints/", "previews/"),
        partial(_unnamed, reader),
        "no job needs this object",
        lambda stat: held.add(stat.key, stat.size),
    )


def _unnamed(reader: Reader, stats: list[ObjectStat]) -> list[ObjectStat]:
    seen = reader.sightings([_uid(stat) for stat in stats])
    left = [stat for stat, job in zip(stats, seen, strict=True) if not _named(job, stat.key)]
    # The maker of a result may be gone while others have it still.
    shared = reader.at_once(*(("EXISTS", Key.SHARERS + stat.key) for stat in left)) if left else []
    return [stat for stat, kept in zip(left, shared, strict=True) if not kept]


def _uid(stat: ObjectStat) -> str:
    """The uid in an object's key: its second part, without a format's suffix."""
    return stat.key.split("/")[1]


def _named(seen: Sighting, key: str) -> bool:
    """Whether a job needs an object. What cannot be read may need it."""
    if not seen.record:
        return False
    job = read(seen)
    if job is None or (job.output is not None and job.output.key == key):
        return True
    checkpoint = job.checkpoint.key if job.checkpoint else None
    return not job.status.terminal and key in (job.preview_key, checkpoint)


def read(seen: Sighting) -> Job | None:
    """A job's record; None where it cannot be read, or is a later Impasto's."""
    if seen.later:
        return None
    try:
        return Job.from_hash(seen.record)
    except UnreadableRecordError:
        return None


def check(reader: Reader, seen: Sighting, job: Job, held: Held, *, deep: bool) -> Iterator[Finding]:
    """What is wrong with the objects that a job's record names.

    Args:
        reader: the stores.
        seen: the job as it was seen.
        job: its record, read.
        held: what was listed before.
        deep: compare the result's SHA-256 too.
    """
    output = job.output
    if output is not None:
        if not held.has(output.key, output.bytes):
            stat = reader.objects.stat(output.key)
            if stat is None:
                yield from _unless_changed(reader, seen, Code.OUTPUT_MISSING, f"there is no {output.key}")
                return
            if stat.size != output.bytes:
                detail = f"{output.key} has {stat.size} bytes, not {output.bytes}"
                yield from _unless_changed(reader, seen, Code.OUTPUT_DAMAGED, detail)
                return
        if deep:
            yield from _hashed(reader, seen, output.key, output.sha256)
    if job.status.terminal:
        return
    named = {
        Code.CHECKPOINT_MISSING: job.checkpoint.key if job.checkpoint else None,
        Code.PREVIEW_MISSING: job.preview_key,
    }
    for code, key in named.items():
        if key and not held.has(key) and reader.objects.stat(key) is None:
            yield from _unless_changed(reader, seen, code, f"there is no {key}")


def _hashed(reader: Reader, seen: Sighting, key: str, sha256: str) -> Iterator[Finding]:
    reader.go_on()
    try:
        found = hashlib.sha256(reader.objects.get(key)).hexdigest()
    except ObjectMissingError:
        yield from _unless_changed(reader, seen, Code.OUTPUT_MISSING, f"there is no {key}")
        return
    if found != sha256:
        detail = f"{key} has SHA-256 {found}, not {sha256}"
        yield from _unless_changed(reader, seen, Code.OUTPUT_DAMAGED, detail)


def _unless_changed(reader: Reader, seen: Sighting, code: Code, detail: str) -> Iterator[Finding]:
    """The finding, unless the job went on or was purged between the two reads."""
    named = ("status", "output", "checkpoint", "preview_key")
    record = reader.again(seen).record
    if record and [record.get(name) for name in named] == [seen.record.get(name) for name in named]:
        yield Finding(code, seen.uid, detail)
