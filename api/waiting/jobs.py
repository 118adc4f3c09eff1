"""Those that wait for one job: a stream of its events, and a poll that is answered when it has changed."""

import json
import random
from collections.abc import Callable, Sequence

from flask import Response

from api import links
from api.jobs import wire
from api.jobs.views import JobEvent, PreviewVersion
from api.waiting import sse
from api.waiting.answers import Answer
from api.waiting.history import History
from api.waiting.sinks import Headers, Sink
from shared.errors import NotFound, StoreUnavailable
from shared.jobs.changes import Change
from shared.jobs.eta import Outlook
from shared.jobs.record import Job, PaintProgress, Stage, Status

#: What a reader is told to wait before it comes back, in milliseconds: all come back at once otherwise.
RETRY_MILLISECONDS = (500, 3000)
#: Follows the ID of the last event in that of `end`: who has read it need not come back.
END = ".end"

#: Writes what a poll is answered, now.
Render = Callable[[Job, Outlook | None], Response]


class JobStream:
    """Tells one caller of a job, change by change, until it has ended.

    Args:
        sink: where to.
        job: as it was when the caller's request was checked. outlook: likewise.
        base: address of the API as the caller sees it.
        last_id: what the caller has read already (`Last-Event-ID`); empty for nothing.
    """

    deadline: float | None = None
    ticks = False

    def __init__(self, sink: Sink, job: Job, outlook: Outlook | None, base: str, last_id: str) -> None:
        self.sink = sink
        self.topic = job.uid
        self.queued = job.status is Status.QUEUED
        self._id, self._base, self._version = job.id, base, 0
        self._place: int | None = None
        self._first: tuple[Job, Outlook | None, str] | None = (job, outlook, last_id)
        sink.send(retry_in())

    def begin(self, history: History) -> None:
        """Say how the job is, or what has happened since the caller last heard."""
        if self._first is None:
            raise AssertionError("a stream begins once")
        job, outlook, last_id = self._first
        self._first = None
        if last_id:
            missed = missed_since(history, self.topic, last_id)
            if missed is None:
                self.sink.send(sse.event("gap", {"id": self._id, "last_event_id": last_id}))
            else:
                self._tell([change for change in missed if not change.ended])
        if job.version > self._version:
            self._tell_all(job, outlook, history.last)

    def wants_record(self, changes: Sequence[Change]) -> bool:
        """The last event says everything."""
        return changes[-1].ended

    def changed(self, changes: Sequence[Change], job: Job | None, outlook: Outlook | None) -> None:
        """Tell of each change."""
        last = changes[-1]
        self._tell([change for change in changes if not change.ended])
        if last.ended and last.version > self._version:
            if job is not None:
                self._tell_all(job, outlook, last.id)
            else:  # deleted already
                self._tell([last])
                self._end(last.id)

    def moved(self, job: Job, outlook: Outlook | None) -> None:
        """Tell of another place."""
        position = outlook.position if outlook else None
        if position is None or position == self._place or job.version < self._version:
            return
        self._place = position
        self._event(job.version, job.status, job.stage, None, _preview(job), outlook, None)

    def missed(self, job: Job | None, outlook: Outlook | None) -> None:
        """Say so, and how the job is."""
        self.sink.send(sse.event("gap", {"id": self._id, "last_event_id": None}))
        if job is None:
            self.sink.end()
        else:
            self._tell_all(job, outlook, None)

    def due(self, job: Job | None, outlook: Outlook | None) -> None:
        """A stream has no deadline."""

    def unanswerable(self) -> None:
        """A stream has no deadline."""

    def leave(self) -> None:
        """Its caller comes back, to another process."""
        self.sink.send(b": this process goes; come back\n\n")
        self.sink.end()

    def tick(self) -> None:
        """A job's changes come by themselves."""

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if change.version > self._version:
                self._version = change.version
                progress = PaintProgress(**json.loads(change.progress)) if change.progress else None
                stage = Stage(change.stage) if change.stage else None
                preview = change.preview_step
                self._event(change.version, Status(change.status), stage, progress, preview, None, change.id)

    def _event(
        self,
        version: int,
        status: Status,
        stage: Stage | None,
        progress: PaintProgress | None,
        preview: int | None,
        outlook: Outlook | None,
        event_id: str | None,
    ) -> None:
        with links.seen_from(self._base):
            shown = JobEvent(
                id=self._id,
                status=status,
                stage=stage,
                progress=wire.progress_view(progress, None) if progress else None,
                queue=wire.place(outlook),
                version=version,
                preview=_preview_view(self._id, preview),
            )
        self.sink.send(sse.event("job", shown.model_dump_json(), event_id))

    def _tell_all(self, job: Job, outlook: Outlook | None, event_id: str | None) -> None:
        self._version = job.version
        self._place = outlook.position if outlook else None
        self.sink.send(whole(job, outlook, self._base, event_id))
        if job.status.terminal:
            self._end(event_id)

    def _end(self, event_id: str | None) -> None:
        self.sink.send(ended(self._id, event_id))
        self.sink.end()


class JobPoll:
    """Answers one caller once a job has changed, or has ended; at the latest at a deadline.

    Args:
        sink: where to.
        job: as it was when the caller's request was checked.
        base: address of the API as the caller sees it.
        headers: of every answer, whatever it says.
        render: writes the answer.
        until_ended: wait until the job has ended; otherwise until `render` answers anything but 304.
        deadline: by the monotonic clock.
    """

    ticks = False

    def __init__(
        self,
        sink: Sink,
        job: Job,
        base: str,
        headers: Headers,
        render: Render,
        *,
        until_ended: bool,
        deadline: float,
    ) -> None:
        self.sink = sink
        self.topic = job.uid
        self.queued = job.status is Status.QUEUED and not until_ended
        self.deadline: float | None = deadline
        self._id, self._base, self._version = job.id, base, job.version
        self._to, self._render = Answer(sink, base, headers), render
        self._until_ended = until_ended

    def begin(self, history: History) -> None:
        """What has happened meanwhile comes as a change."""

    def wants_record(self, changes: Sequence[Change]) -> bool:
        """Only if the answer may be due."""
        last = changes[-1]
        return last.ended or (not self._until_ended and last.version > self._version)

    def changed(self, changes: Sequence[Change], job: Job | None, outlook: Outlook | None) -> None:
        """Answer if that was waited for."""
        if self.wants_record(changes):
            self._answer(job, outlook, at_last=False)

    def moved(self, job: Job, outlook: Outlook | None) -> None:
        """Another place is a change too."""
        self._answer(job, outlook, at_last=False)

    def missed(self, job: Job | None, outlook: Outlook | None) -> None:
        """Nothing is lost on who is told how the job is."""
        self._answer(job, outlook, at_last=False)

    def due(self, job: Job | None, outlook: Outlook | None) -> None:
        """Answer how the job is."""
        self._answer(job, outlook, at_last=True)

    def unanswerable(self) -> None:
        """Say so."""
        self._to.refuse([StoreUnavailable("Redis does not answer")])

    def leave(self) -> None:
        """It is answered how the job is."""

    def tick(self) -> None:
        """A job's changes come by themselves."""

    def _answer(self, job: Job | None, outlook: Outlook | None, *, at_last: bool) -> None:
        if job is None:
            self._to.refuse([NotFound(f"no job {self._id!r}")])
            return
        if self._until_ended and not at_last and not job.status.terminal:
            return
        with links.seen_from(self._base):
            response = self._render(job, outlook)
        if at_last or self._until_ended or response.status_code != 304:
            self._to.give(response)


def whole(job: Job, outlook: Outlook | None, base: str, event_id: str | None) -> bytes:
    """The event that says everything of a job."""
    with links.seen_from(base):
        shown = wire.job_view(job, outlook).model_dump(mode="json")
        preview = _preview_view(job.id, _preview(job))
    shown |= {"version": job.version, "preview": preview and preview.model_dump(mode="json")}
    return sse.event("job", shown, event_id)


def ended(job_id: str, event_id: str | None) -> bytes:
    """The event after the last."""
    return sse.event("end", {"id": job_id}, event_id and event_id + END)


def _preview(job: Job) -> int | None:
    return None if job.status.terminal else job.preview_step


def _preview_view(job_id: str, step: int | None) -> PreviewVersion | None:
    if step is None:
        return None
    return PreviewVersion(url=f"{links.of_job(job_id).preview}?v={step}", version=step)


def missed_since(history: History, topic: str, last_id: str) -> list[Change] | None:
    """What happened after an event, by its ID as a caller sends it; None when that is not known any more."""
    try:
        return history.since(topic, last_id.removesuffix(END))
    except ValueError:
        return None


def retry_in() -> bytes:
    """What a stream begins with."""
    return sse.retry(random.randint(*RETRY_MILLISECONDS))
