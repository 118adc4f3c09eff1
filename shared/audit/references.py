"""Whether inputs are counted as often as they are named.

The names are spread over all records and uploads. They are recounted in portions; what does not agree is
looked at again, with all that name it at one moment, until the difference is sure, gone, or given up: where
an input is named and let go without a pause nothing can be said, and nothing is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from shared.audit.findings import Code, Finding
from shared.audit.named import Named
from shared.audit.reader import LOOK_SECONDS, Reader
from shared.jobs.keys import Key

#: Inputs whose names are counted in one pass over the records.
PORTION = 250_000
#: Inputs that are looked at again in one pass, and records that name one, at most.
MAX_SUSPECTS, MAX_NAMERS = 10_000, 1_000
#: Looks after the first one at what does not agree, as long as nothing is sure.
LOOKS = 3

#: What names inputs: a record's key and None, an owner's uploads and the upload's ID, or the key of what a
#: batch keeps and None.
Namer = tuple[str, str | None]


def check(reader: Reader) -> Iterator[Finding]:
    """Inputs that are surely miscounted."""
    [inputs] = reader.at_once(("HLEN", Key.REFS))
    portions = 1 + int(inputs) // PORTION
    for portion in range(portions):

        def wanted(sha256: str, portion: int = portion) -> bool:
            return portions == 1 or hash(sha256) % portions == portion

        named: Counter[str] = Counter()
        for _, once in _names(reader):
            named.update(sha256 for sha256 in once if wanted(sha256))
        suspects: list[str] = []
        for fields in reader.fields(Key.REFS):
            for sha256, kept in fields:
                if not wanted(sha256):
                    continue
                if kept != str(named.pop(sha256, 0)):
                    suspects.append(sha256)
        suspects += named
        yield from _recount(reader, suspects[:MAX_SUSPECTS])


def _recount(reader: Reader, suspects: list[str]) -> Iterator[Finding]:
    """Those of the suspects that are surely miscounted.

    What names one is found in a pass over the records, then read at one moment with the counter and with its
    trace, which every change moves on (`refer` and `unrefer` in references.lua). Where that has not moved
    since before the pass, what names the input was there all the while, so that the pass has met all of it:
    the two numbers agree, or there is a fault. Where it has, the pass can only have missed some: a counter
    that is too low is proved even then, one that is too high is looked at again.
    """
    doubtful = suspects
    for _ in range(LOOKS):
        if not doubtful:
            return
        reader.pause(LOOK_SECONDS)
        before = _traces(reader, doubtful)
        namers: defaultdict[str, set[Namer]] = defaultdict(set)
        readable = True
        for namer, once in _names(reader):
            readable &= once.readable
            for sha256 in before.keys() & once:
                namers[sha256].add(namer)
        doubtful = []
        for sha256, trace in before.items():
            if len(namers[sha256]) > MAX_NAMERS:
                continue
            seen = _at_one_moment(reader, sha256, sorted(namers[sha256], key=str))
            # What a later Impasto's record names is not known.
            if seen.kept < seen.named or (seen.kept > seen.named and seen.trace == trace and readable):
                yield seen.miscounted()
            elif seen.kept > seen.named and readable:
                doubtful.append(sha256)


@dataclass(frozen=True)
class _Seen:
    """An input's counter and its trace, and how often these name it, at one moment."""

    sha256: str
    kept: int
    trace: str
    namers: list[Namer]
    named: int

    def miscounted(self) -> Finding:
        detail = f"it says {self.kept} for {self.sha256}, which is named {self.named} times"
        namers = [[part for part in namer if part] for namer in self.namers]
        repair = {"kind": "refs", "sha256": self.sha256, "namers": namers, "trace": self.trace}
        return Finding(Code.REFS_DISAGREE, Key.REFS, detail, repair)


def _trace(sha256: str) -> tuple[str, ...]:
    """Reads where the changes of an input's counter leave their trace (`trace_of` in references.lua)."""
    return ("HGET", Key.REFS_MOVED, sha256[:3])


def _traces(reader: Reader, inputs: list[str]) -> dict[str, str]:
    found = reader.at_once(*map(_trace, inputs))
    return {sha256: trace or "0" for sha256, trace in zip(inputs, found, strict=True)}


def _at_one_moment(reader: Reader, sha256: str, namers: list[Namer]) -> _Seen:
    kept, trace, *found = reader.at_once(
        ("HGET", Key.REFS, sha256), _trace(sha256), *(_command(namer, sha256) for namer in namers)
    )
    named = 0
    for (key, upload), answer in zip(namers, found, strict=True):
        if key.startswith(Key.BATCH_INPUTS):
            named += answer
            continue
        once = Named.by_record(answer) if upload is None else Named.by_upload(answer)
        named += once[sha256]
    return _Seen(sha256, int(kept or 0), trace or "0", namers, named)


def _command(namer: Namer, sha256: str = "") -> tuple[str, ...]:
    key, upload = namer
    if key.startswith(Key.BATCH_INPUTS):
        return ("SISMEMBER", key, sha256)
    return ("HMGET", key, "schema", "content", "styles", "init") if upload is None else ("HGET", key, upload)


def _names(reader: Reader) -> Iterator[tuple[Namer, Named]]:
    """What each record and each upload names. One that is there all the while is not missed."""
    for uids in reader.keys(Key.JOB):
        namers: list[Namer] = [(Key.JOB + uid, None) for uid in uids]
        for namer, fields in zip(namers, reader.at_once(*map(_command, namers)), strict=True):
            yield namer, Named.by_record(fields)
    for uids in reader.keys(Key.BATCH_INPUTS):
        for uid in uids:
            for inputs in reader.entries(Key.BATCH_INPUTS + uid):
                yield (Key.BATCH_INPUTS + uid, None), Named(dict.fromkeys(inputs, 1))
    for owners in reader.keys(Key.UPLOADS):
        for owner in owners:
            for uploads in reader.fields(Key.UPLOADS + owner):
                for upload, picture in uploads:
                    yield (Key.UPLOADS + owner, upload), Named.by_upload(picture)
