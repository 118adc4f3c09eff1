"""Whether what jobs share is as their records say: who makes a recipe, who follows, who names an output."""

from collections.abc import Callable, Iterator

from shared.audit.entries import each, jobs_in, rank
from shared.audit.findings import Code, Finding
from shared.audit.reader import Reader, Sighting
from shared.jobs.keys import Key
from shared.jobs.record import Job, Status


def check(reader: Reader) -> Iterator[Finding]:
    """What is wrong with the indexes of recipes, followers and sharers."""
    for owner in each(reader, Key.RECIPES):
        yield from _recipes(reader, owner)
    for name in each(reader, Key.FOLLOWING):
        recipe, _, owner = name.partition(":")
        yield from jobs_in(reader, Key.FOLLOWING + name, _follows(recipe, owner))
        yield from _led(reader, recipe, owner)
    for output in each(reader, Key.SHARERS):
        yield from _sharers(reader, output)


def of_job(seen: Sighting, job: Job) -> Iterator[Finding]:
    """Whether an ended job stands among those that share its output, where there are others.

    Args:
        seen: what the store knows of it.
        job: its record, read.
    """
    if job.output is None or seen.sharing is not None:
        return
    key = job.output.key
    if seen.sharers:
        detail = f"{seen.sharers} jobs share {key}, and it is not counted among them"
    elif key.split("/")[1] != job.uid:
        detail = f"it has the output {key} of another job, and nobody is counted as sharing it"
    else:
        return
    yield Finding(Code.SHARERS_DISAGREE, job.uid, detail, _shared(key, job.uid))


def _shared(output: str, uid: str) -> dict[str, object]:
    return {"kind": "sharer", "key": output, "uid": uid}


def _recipes(reader: Reader, owner: str) -> Iterator[Finding]:
    """Recipes that name a job which neither makes nor has what they stand for."""
    for entries in reader.fields(Key.RECIPES + owner):
        sightings = reader.sightings([uid for _, uid in entries])
        for (recipe, uid), seen in zip(entries, sightings, strict=True):
            if seen.later or _makes(seen, recipe, owner):
                continue
            [kept] = reader.at_once(("HGET", Key.RECIPES + owner, recipe))
            if kept == uid:
                detail = f"{recipe} names {uid}, which does not make it"
                repair = {"kind": "recipe", "owner": owner, "recipe": recipe, "uid": uid}
                yield Finding(Code.RECIPE_DISAGREES, Key.RECIPES + owner, detail, repair)


def _makes(seen: Sighting, recipe: str, owner: str) -> bool:
    """A recipe is kept by those that share alone, and of what has ended by what has succeeded."""
    record = seen.record
    same = (record.get("recipe"), record.get("owner")) == (recipe, owner)
    return same and "following" not in record


def _follows(recipe: str, owner: str) -> Callable[[Sighting], bool]:
    def belongs(seen: Sighting) -> bool:
        record = seen.record
        try:
            place = rank(record)
        except (KeyError, ValueError):
            return False
        named = (record.get("recipe"), record.get("owner"), record.get("following"))
        return named == (recipe, owner, "1") and seen.found == place

    return belongs


def _led(reader: Reader, recipe: str, owner: str) -> Iterator[Finding]:
    """A group of followers whose leader is gone or has ended, and that nobody attends to."""
    group = f"{recipe}:{owner}"
    asked = (
        ("HGET", Key.RECIPES + owner, recipe),
        ("ZCARD", Key.FOLLOWING + group),
        ("ZSCORE", Key.SETTLING, group),
    )
    leader, followers, attended = before = reader.at_once(*asked)
    if not followers or attended is not None:
        return
    seen = reader.sightings([leader])[0] if leader else None
    if seen and (seen.later or seen.record.get("status") in (Status.QUEUED, Status.PROCESSING)):
        return
    # Whatever ends a leader changes one of these.
    if reader.at_once(*asked) == before:
        detail = f"{followers} jobs of {owner} follow one that is not being made"
        repair = {"kind": "group", "owner": owner, "recipe": recipe}
        yield Finding(Code.FOLLOWERS_WITHOUT_LEADER, Key.FOLLOWING + group, detail, repair)


def _sharers(reader: Reader, output: str) -> Iterator[Finding]:
    """Who is counted as sharing an output and does not name it."""
    for entries in reader.members(Key.SHARERS + output):
        for seen in reader.sightings([uid for uid, _ in entries]):
            if seen.later or f'"key":"{output}"' in seen.record.get("output", ""):
                continue
            [kept] = reader.at_once(("ZSCORE", Key.SHARERS + output, seen.uid))
            if kept is not None:
                detail = f"{seen.uid} is counted as sharing {output}, which it does not name"
                yield Finding(Code.SHARERS_DISAGREE, Key.SHARERS + output, detail, _shared(output, seen.uid))
