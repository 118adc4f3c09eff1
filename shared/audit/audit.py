"""One audit from beginning to end."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

import redis

from shared.audit import (
    archives,
    batches,
    counters,
    deliveries,
    entries,
    inputs,
    places,
    references,
    results,
    sharing,
    uploads,
)
from shared.audit.findings import Code, Finding
from shared.audit.held import Held
from shared.audit.reader import Reader
from shared.errors import StorageUnavailable
from shared.jobs.batch_record import BATCH_SCHEMA
from shared.jobs.keys import Key
from shared.jobs.policy import policy
from shared.jobs.record import Status
from shared.jobs.scripts import Scripts
from shared.objects import ObjectStore, open_objects
from shared.redis import connect
from shared.settings import Settings, settings

#: Findings that are remembered, so that what a scan shows twice is told once.
_REMEMBERED = 100_000
#: Who cannot be read may name an input in a way that is not known here: none is given up for deletion then.
_UNSURE = (Code.RECORD_LATER, Code.RECORD_UNREADABLE)
#: A person waits for the answer, not a caller: a busy server is given more time.
_PATIENCE_SECONDS = 10.0


def audit(
    client: redis.Redis,
    objects: ObjectStore,
    config: Settings,
    *,
    deep: bool = False,
    repair: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    pause: Callable[[float], object] = time.sleep,
) -> Iterator[Finding]:
    """Everything that is wrong with the two stores, as it is found.

    Args:
        client: the job store's Redis.
        objects: the object store.
        config: the service's settings.
        deep: read every input and result, and compare their SHA-256.
        repair: put right what can be: index entries and counters, from the records. Of what follows from what
            was put right some may be found only by the next audit.
        should_stop: asked before each read.
        pause: waits so many seconds between two looks at what may be changing.

    Raises:
        StoreUnavailable: Redis does not answer.
        StorageUnavailable: the object store does not answer.
        AuditStoppedError: `should_stop` said so.
    """
    told: set[Finding] = set()
    sure = True
    scripts = Scripts(client, policy(config))
    for finding in _everything(Reader(client, objects, should_stop, pause), config, deep=deep):
        if finding in told:
            continue
        if len(told) < _REMEMBERED:
            told.add(finding)
        sure &= finding.code not in _UNSURE
        wanted = repair and (sure or finding.code is not Code.INPUT_FORGOTTEN)
        yield _repaired(finding, scripts) if wanted else finding


def _repaired(finding: Finding, scripts: Scripts) -> Finding:
    """The finding, once its script has put it right as far as it was still so."""
    if finding.repair is None:
        return finding
    [done] = scripts.run("mend", statuses=list(Status), batch_schema=BATCH_SCHEMA, **finding.repair)
    return replace(finding, repaired=bool(done))


def here(*, deep: bool = False, repair: bool = False) -> Iterator[Finding]:
    """The audit of the service that this process' `IMPASTO_*` variables name.

    Raises:
        UnknownSettingError: a variable names no setting; `ValueError` when a value is not allowed.
        StoreUnavailable: Redis does not answer.
        StorageUnavailable: the object store does not answer, or its folder is not here.
    """
    config = settings()
    patient = config.model_copy(update={"redis_timeout": max(config.redis_timeout, _PATIENCE_SECONDS)})
    return _of(config, connect(patient), deep=deep, repair=repair)


def _of(config: Settings, client: redis.Redis, *, deep: bool, repair: bool) -> Iterator[Finding]:
    objects = open_objects(config)
    with client:
        [named] = Reader(client, objects).at_once(("EXISTS", Key.REFS))
        if named and config.storage == "local" and not config.objects_dir.is_dir():
            raise StorageUnavailable(f"there is no folder {config.objects_dir}: IMPASTO_DATA_DIR names it")
        yield from audit(client, objects, config, deep=deep, repair=repair)


def _everything(reader: Reader, config: Settings, *, deep: bool) -> Iterator[Finding]:
    held = Held()
    yield from results.leftovers(reader, held)
    for jobs in reader.jobs():
        yield from batches.of_jobs(reader, jobs)
        for seen in jobs:
            job = results.read(seen)
            if job is not None:
                yield from places.check(seen, job)
                yield from sharing.of_job(seen, job)
                yield from results.check(reader, seen, job, held, deep=deep)
            elif seen.later:
                schema = seen.record["schema"]
                yield Finding(Code.RECORD_LATER, seen.uid, f"its record is of schema {schema}")
            else:
                yield Finding(Code.RECORD_UNREADABLE, seen.uid, "its record cannot be read")
    yield from entries.check(reader)
    yield from sharing.check(reader)
    yield from batches.check(reader, deep=deep)
    yield from archives.check(reader)
    yield from counters.check(reader, config.reap_seconds)
    yield from inputs.check(reader, deep=deep)
    yield from references.check(reader)
    yield from uploads.check(reader)
    yield from deliveries.check(reader)
