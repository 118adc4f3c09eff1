"""Jobs as polls show them: a record that has not changed is not read and written out again.

Whoever polls asks for the same again and again, what was submitted here is likely to be asked for next, and
a record has another version after each change that a poll can see. So only the version is asked for, and
what was written of the record is kept; what is expected of the job, which is never the same twice, is filled
in.
"""

from sys import getsizeof

from api import links
from api.jobs import wire
from api.jobs.views import Place, Progress
from api.services import Texts, services
from shared.jobs.eta import Outlook
from shared.jobs.record import Job

#: Bytes that a record takes beside its texts, and a text beside its characters.
_RECORD, _TEXT = 4000, 400


def look(owner: str, job_id: str) -> tuple[Job, int | None]:
    """An owner's job and its place where it waits, both as they are now.

    Raises:
        NotFound: there is none.
        StoreUnavailable: Redis does not answer.
    """
    known = services().records.get((owner, job_id))
    job, position = services().store.look(owner, job_id, known)
    if job is not known:
        keep(job)
    return job, position


def keep(job: Job) -> None:
    """Remember a record as it is now for the polls to come."""
    services().records.keep((job.owner, job.id), job, _size(job))


def text(job: Job, outlook: Outlook | None, texts: Texts) -> str:
    """`wire.job_view` as JSON, with addresses as the caller of this request sees them.

    Args:
        job: the record.
        outlook: what is expected of it.
        texts: those of the services, which have to be at hand where no request is.
    """
    key = (job.uid, links.base())
    found = texts.get(key)
    if found is not None and found[0] == job.version:
        _, before, after = found
        return f"{before}{_filled(wire.progress_of(job, outlook), wire.place(outlook))}{after}"
    view = wire.job_view(job, outlook)
    whole = view.model_dump_json()
    # What stands before it is the service's own, but for the ID, which has no quotes.
    before, _, after = whole.partition(_filled(view.progress, view.queue))
    texts.keep(key, (job.version, before, after), _TEXT + getsizeof(before) + getsizeof(after))
    return whole


def _filled(progress: Progress | None, place: Place | None) -> str:
    """The fields that are filled in, as the view has them."""
    return (
        f'"progress":{progress.model_dump_json() if progress else "null"},'
        f'"queue":{place.model_dump_json() if place else "null"}'
    )


def _size(job: Job) -> int:
    """About how many bytes a record takes here."""
    words = [picture.source for _, picture in job.inputs.each()]
    words += [*job.metadata, *job.metadata.values(), *(error.detail for error in job.attempt_errors)]
    return _RECORD + sum(map(getsizeof, words))
