"""Whether inputs are counted as often as they are named.

The names are spread over all records and uploads. They are recounted in portions; what does not agree is
looked at again, with all that name it at one moment, until the difference is sure or gone.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from shared.audit.findings import Code, Finding
from shared.audit.named import Named
from shared.audit.reader import LOOK_SECONDS, Reader
from shared.jobs.keys import Key

#: Inputs whose names are counted in one pass over the records.
PORTION = 250_000
#: Inputs that are looked at again in one pass, and records that name one, at most.
MAX_SUSPECTS, MAX_NAMERS = 10_000, 1_000
#: Looks after the first one at what does not agree.
LOOKS = 2

#: What names inputs: a record's key and None, or an owner's uploads and the upload's ID.
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

    What names one is found in a pass over the records, then read at one moment with the counter. That can
    miss only what came since: a counter that is too low is proved by one look. One that is too high may count
    what came; it is a fault when it has not moved during each look, nor its excess between them.
    """
    excess: dict[str, int | None] = dict.fromkeys(suspects)
    unreadable = False
    for _ in range(LOOKS):
        if not excess:
            return
        reader.pause(LOOK_SECONDS)
        before = _kept(reader, list(excess))
        namers: defaultdict[str, set[Namer]] = defaultdict(set)
        for namer, once in _names(reader):
            unreadable |= not once.readable
            for sha256 in excess.keys() & once:
                namers[sha256].add(namer)
        for sha256, last in list(excess.items()):
            if len(namers[sha256]) > MAX_NAMERS:
                del excess[sha256]
                continue
            kept, named = _at_one_moment(reader, sha256, sorted(namers[sha256], key=str))
            if kept < named:
                yield _miscounted(sha256, kept, named)
            if kept <= named or kept != before[sha256] or last not in (None, kept - named):
                del excess[sha256]
            else:
                excess[sha256] = kept - named
    # What a later Impasto's record names is not known.
    for sha256, over in excess.items() if not unreadable else ():
        [kept] = _kept(reader, [sha256]).values()
        yield _miscounted(sha256, kept, kept - (over or 0))


def _miscounted(sha256: str, kept: int, named: int) -> Finding:
    detail = f"it says {kept} for {sha256}, which is named {named} times"
    repair = {"kind": "refs", "sha256": sha256, "by": named - kept}
    return Finding(Code.REFS_DISAGREE, Key.REFS, detail, repair)


def _kept(reader: Reader, inputs: list[str]) -> dict[str, int]:
    found = reader.at_once(*(("HGET", Key.REFS, sha256) for sha256 in inputs))
    return {sha256: int(kept or 0) for sha256, kept in zip(inputs, found, strict=True)}


def _at_one_moment(reader: Reader, sha256: str, namers: list[Namer]) -> tuple[int, int]:
    """An input's counter, and how often these name it."""
    kept, *found = reader.at_once(
        ("HGET", Key.REFS, sha256),
        *(_command(namer) for namer in namers),
    )
    named = 0
    for (_, upload), answer in zip(namers, found, strict=True):
        once = Named.by_record(answer) if upload is None else Named.by_upload(answer)
        named += once[sha256]
    return int(kept or 0), named


def _command(namer: Namer) -> tuple[str, ...]:
    key, upload = namer
    return ("HMGET", key, "schema", "content", "styles", "init") if upload is None else ("HGET", key, upload)


def _names(reader: Reader) -> Iterator[tuple[Namer, Named]]:
    """What each record and each upload names. One that is there all the while is not missed."""
    for uids in reader.keys(Key.JOB):
        namers: list[Namer] = [(Key.JOB + uid, None) for uid in uids]
        for namer, fields in zip(namers, reader.at_once(*map(_command, namers)), strict=True):
            yield namer, Named.by_record(fields)
    for owners in reader.keys(Key.UPLOADS):
        for owner in owners:
            for uploads in reader.fields(Key.UPLOADS + owner):
                for upload, picture in uploads:
                    yield (Key.UPLOADS + owner, upload), Named.by_upload(picture)
