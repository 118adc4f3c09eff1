"""Every picture that a job names brought into the house: fetched, made clean and kept."""

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial

from shared.errors import Fault, UploadNotFound
from shared.jobs.pictures import Inputs, Picture
from shared.jobs.record import Job
from shared.jobs.store import JobStore
from shared.logs import carried
from shared.objects import ObjectStore
from shared.pictures import PictureLimits, clean, keep
from shared.settings import Settings
from worker.intake.fetch import FetchPolicy, fetch
from worker.intake.flights import Flights

_UPLOAD = "upload:"
#: Pictures of one job that are fetched at a time: all of them, for most jobs.
_AT_A_TIME = 9
#: Between two looks at whether to stop, and at what others fetch.
_LOOK_SECONDS, _AWAITING_SECONDS = 0.25, 0.05
#: A job that has nothing to fetch itself waits for others' fetches so long before its slot goes to another.
PATIENCE_SECONDS = 2.0


class IntakeStoppedError(Exception):
    """The work was stopped before every picture was in."""


class IntakeAwaitsError(Exception):
    """All that is not in yet is fetched for other jobs, and takes longer than is worth holding a slot."""


def prepare(
    job: Job,
    store: JobStore,
    objects: ObjectStore,
    settings: Settings,
    on_progress: Callable[[], None] = lambda: None,
    on_copies: Callable[[Inputs], None] = lambda _: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Inputs:
    """The job's pictures, each with its clean copy: content, styles with their masks and regions, init.

    A picture that has its copy already stays as it is: what an earlier attempt has fetched is not fetched
    again, so a source that changes meanwhile does not change the job. One source is fetched once, for other
    jobs that want it at this time as well (`shared.jobs.flights`).

    Args:
        job: the job.
        store: holds uploads, references and who fetches what.
        objects: where clean copies are kept.
        settings: limits.
        on_progress: called whenever a picture is in or has failed.
        on_copies: given the pictures, some of them with their copies, whenever there are more copies and
            something is still to come or has failed. What it raises goes on its way.
        should_stop: asked again and again meanwhile.

    Raises:
        IntakeStoppedError: `should_stop` said so. Fetches under way end by themselves, within their limits.
        IntakeAwaitsError: what is left is fetched by others, who take their time.
        StoreUnavailable: the job store does not say who fetches what.
        Fault: the first that another attempt would meet again, else the first; with a pointer to the picture.
    """
    missing = dict.fromkeys(picture.source for _, picture in job.inputs.each() if picture.key is None)
    uploads = [source for source in missing if source.startswith(_UPLOAD)]
    pool = ThreadPoolExecutor(_AT_A_TIME, thread_name_prefix="intake")
    flights = Flights(job, store, pool, partial(_fetched, store=store, objects=objects, settings=settings))
    try:
        work = {source: pool.submit(carried(_uploaded), source, job.owner, store) for source in uploads}
        work |= flights.start([source for source in missing if source not in work])
        for done, complete in _progress(work.values(), flights, should_stop):
            on_progress()
            if any(future.exception() is None for future in done) and not complete:
                on_copies(job.inputs.changed(lambda picture: _with_copy(picture, work)))
    finally:
        flights.leave()
        pool.shutdown(wait=False, cancel_futures=True)
    faults = [fault for pointer, picture in job.inputs.each() if (fault := _fault(picture, pointer, work))]
    if faults:
        raise min(faults, key=lambda fault: fault.retryable)
    return job.inputs.changed(lambda picture: _with_copy(picture, work))


def _progress(
    work: Collection[Future[Picture]], flights: Flights, should_stop: Callable[[], bool]
) -> Iterator[tuple[set[Future[Picture]], bool]]:
    """What is done, piece by piece, each with whether that was all and nothing failed.

    Raises:
        IntakeStoppedError: it is not wanted any more.
        IntakeAwaitsError: only what others fetch has been missing for a while.
    """
    pending = set(work)
    until = time.monotonic() + PATIENCE_SECONDS
    while pending:
        if should_stop():
            raise IntakeStoppedError
        done, pending = wait(pending, _AWAITING_SECONDS if flights.awaits else _LOOK_SECONDS, FIRST_COMPLETED)
        if done:
            yield done, not pending and all(future.exception() is None for future in work)
        flights.look()
        if done or not flights.only_awaits:
            until = time.monotonic() + PATIENCE_SECONDS
        elif time.monotonic() > until:
            raise IntakeAwaitsError


def _uploaded(source: str, owner: str, store: JobStore) -> Picture:
    found = store.upload(owner, source.removeprefix(_UPLOAD))
    if found is None or found.sha256 is None:
        raise UploadNotFound("There is no such upload, or it has expired; POST /v1/uploads gives an ID.")
    store.hold(found.sha256)
    return found


def _fetched(url: str, *, store: JobStore, objects: ObjectStore, settings: Settings) -> Picture:
    data = fetch(url, FetchPolicy.of(settings))
    return keep(clean(data, PictureLimits.of(settings)), store, objects, source=url)


def _fault(picture: Picture, pointer: str, work: Mapping[str, Future[Picture]]) -> Fault | None:
    """What went wrong with a picture; an error that is no fault is ours and goes on its way."""
    error = work[picture.source].exception() if picture.key is None else None
    if error is None:
        return None
    if not isinstance(error, Fault):
        raise error
    error.pointer = error.pointer or pointer
    return error


def _with_copy(picture: Picture, work: Mapping[str, Future[Picture]]) -> Picture:
    """The picture with its clean copy, if that is there by now."""
    future = work[picture.source] if picture.key is None else None
    if future is None or not future.done() or future.exception() is not None:
        return picture
    copy = future.result()
    return replace(picture, key=copy.key, sha256=copy.sha256, width=copy.width, height=copy.height)
