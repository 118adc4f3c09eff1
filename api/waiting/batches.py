"""Those that wait for one batch: a stream of its events, and a poll that is answered when it has changed.

A batch changes with each of its items: how it is is looked up, and told, twice a second at most.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from flask import Response

from api import links
from api.batches.wire import batch_view
from api.waiting import sse
from api.waiting.answers import Answer
from api.waiting.history import OF_A_TOPIC, History
from api.waiting.jobs import END, missed_since, retry_in
from api.waiting.lately import Lately
from api.waiting.sinks import Headers, Sink
from shared.errors import NotFound, StoreUnavailable
from shared.jobs.batch_record import Batch, BatchStatus
from shared.jobs.changes import Change, order
from shared.jobs.eta import Outlook
from shared.jobs.record import Job
from shared.patience import patience

#: Ticks for which the end of a batch waits for that of its last items to be heard of.
_TICKS_TO_HEAR = 10
#: Seconds for which a stream that begins waits for Redis: those that begin after it wait as long.
_BEGINNING_SECONDS = 0.5
_ENDS = frozenset(str(status) for status in BatchStatus if status.terminal)


class _BatchWaiter:
    """What a stream and a poll have in common: both look at the batch at a tick, if it has changed."""

    queued = False
    ticks = True

    def __init__(self, sink: Sink, batch: Batch, base: str, look: Lately) -> None:
        self.sink = sink
        self.topic = batch.uid
        self._id, self._base = batch.id, base
        self._look = look
        self._changed = False

    def wants_record(self, changes: Sequence[Change]) -> bool:  # noqa: ARG002 - a waiter's
        """It is no job's."""
        return False

    def moved(self, job: Job, outlook: Outlook | None) -> None:
        """A batch has no place."""

    def _look_again(self) -> None:
        """At the next tick."""
        self._look.forget(self.topic)
        self._changed = True


class BatchStream(_BatchWaiter):
    """Tells one caller of a batch until it has ended: each item that ends, and how the batch is.

    A look at the batch may see its end before the changes that led there have been read. That it has ended is
    told behind its last items, as the stream of changes has them.

    Args:
        sink: where to.
        batch: as it was when the caller's request was checked.
        base: address of the API as the caller sees it.
        last_id: what the caller has read already (`Last-Event-ID`); empty for nothing.
        look: see `Lately`.
    """

    deadline: float | None = None

    def __init__(self, sink: Sink, batch: Batch, base: str, last_id: str, look: Lately) -> None:
        super().__init__(sink, batch, base, look)
        self._first: tuple[Batch, str] | None = (batch, last_id)
        self._last_id: str | None = None
        self._version = 0  # that was told
        self._anew = False  # whether all that has happened so far is in what is told of the batch next
        self._end_heard = False
        self._ticks_to_hear = _TICKS_TO_HEAR
        sink.send(retry_in())

    def begin(self, history: History) -> None:
        """Tell what has happened since the caller last heard, and how the batch is."""
        if self._first is None:
            raise AssertionError("a stream begins once")
        batch, last_id = self._first
        self._first = None
        self._last_id = history.last
        self._look_again()  # it may have changed since
        missed = missed_since(history, self.topic, last_id) if last_id else None
        if missed is None:
            self._anew = True
            if last_id:
                self._gap(last_id)
            with suppress(StoreUnavailable), patience(_BEGINNING_SECONDS):  # a later tick tells
                self.tick()
            return
        self._hear(history.latest(self.topic, OF_A_TOPIC))
        # Its end may be older than what is kept here: it is, where the caller has read something later.
        if batch.completed_at is not None and batch.completed_at * 1000 < order(last_id.removesuffix(END))[0]:
            self._end_heard = True
        for change in missed:
            self._item(change)
        self._tell(batch)

    def changed(self, changes: Sequence[Change], job: Job | None, outlook: Outlook | None) -> None:  # noqa: ARG002
        """Tell of items that have ended."""
        self._look_again()
        self._hear(changes)
        for change in changes:
            if self._last_id is None or order(change.id) > order(self._last_id):
                self._last_id = change.id
                self._item(change)

    def tick(self) -> None:
        """Tell how the batch is, if that is another than before."""
        if not self._changed:
            return
        batch = self._look(self.topic)
        self._changed = False
        if batch is None:
            self.sink.end()
        elif batch.version > self._version:
            self._tell(batch)

    def missed(self, job: Job | None, outlook: Outlook | None) -> None:  # noqa: ARG002 - a waiter's
        """Say so; a tick says how the batch is."""
        self._gap(None)
        self._version, self._last_id, self._end_heard = 0, None, False
        self._look_again()

    def due(self, job: Job | None, outlook: Outlook | None) -> None:
        """A stream has no deadline."""

    def unanswerable(self) -> None:
        """A stream has no deadline."""

    def leave(self) -> None:
        """Its caller comes back, to another process."""
        self.sink.send(b": this process goes; come back\n\n")
        self.sink.end()

    def _hear(self, changes: Sequence[Change]) -> None:
        if any(change.uid == self.topic and change.status in _ENDS for change in changes):
            self._end_heard = True

    def _gap(self, last_id: str | None) -> None:
        self._anew = True
        self.sink.send(sse.event("gap", {"id": self._id, "last_event_id": last_id}))

    def _item(self, change: Change) -> None:
        if change.uid != self.topic and change.ended:
            told = {"id": change.uid, "custom_id": change.custom_id, "status": change.status}
            self.sink.send(sse.event("item", told, change.id))

    def _tell(self, batch: Batch) -> None:
        if batch.status.terminal and not (self._end_heard or self._anew):
            if self._ticks_to_hear:
                self._ticks_to_hear -= 1
                self._changed = True
                return
            self._gap(self._last_id)
        self._anew = False
        self._version = batch.version
        self.sink.send(whole(batch, self._base, self._last_id))
        if batch.status.terminal:
            self.sink.send(ended(batch.id, self._last_id))
            self.sink.end()


class BatchPoll(_BatchWaiter):
    """Answers one caller once a batch has changed, or has ended; at the latest at a deadline.

    Args:
        sink: where to.
        headers: of every answer, whatever it says.
        batch: as it was when the caller's request was checked.
        base: address of the API as the caller sees it.
        render: writes the answer.
        until_ended: wait until it has ended; otherwise until `render` answers anything but 304.
        deadline: by the monotonic clock.
        look: see `Lately`.
    """

    def __init__(
        self,
        sink: Sink,
        headers: Headers,
        batch: Batch,
        base: str,
        render: Callable[[Batch], Response],
        *,
        until_ended: bool,
        deadline: float,
        look: Lately,
    ) -> None:
        super().__init__(sink, batch, base, look)
        self.deadline: float | None = deadline
        self._answer = Answer(sink, base, headers)
        self._render, self._until_ended = render, until_ended

    def begin(self, history: History) -> None:  # noqa: ARG002 - a waiter's
        """What has happened meanwhile is seen at a tick."""
        self._look_again()

    def changed(self, changes: Sequence[Change], job: Job | None, outlook: Outlook | None) -> None:  # noqa: ARG002
        """It is seen at a tick."""
        self._look_again()

    def tick(self) -> None:
        """Answer if that was waited for."""
        if self._changed:
            batch = self._look(self.topic)
            self._changed = False
            self._give(batch, at_last=False)

    def missed(self, job: Job | None, outlook: Outlook | None) -> None:  # noqa: ARG002 - a waiter's
        """Nothing is lost on who is told how the batch is."""
        self._look_again()

    def due(self, job: Job | None, outlook: Outlook | None) -> None:  # noqa: ARG002 - a waiter's
        """Answer how the batch is."""
        try:
            batch = self._look(self.topic)
        except StoreUnavailable:
            self.unanswerable()
        else:
            self._give(batch, at_last=True)

    def unanswerable(self) -> None:
        """Say so."""
        self._answer.refuse([StoreUnavailable("Redis does not answer")])

    def leave(self) -> None:
        """It is answered how the batch is."""

    def _give(self, batch: Batch | None, *, at_last: bool) -> None:
        if batch is None:
            self._answer.refuse([NotFound(f"no batch {self._id!r}")])
        elif at_last or not self._until_ended or batch.status.terminal:
            with links.seen_from(self._base):
                response = self._render(batch)
            if at_last or self._until_ended or response.status_code != 304:
                self._answer.give(response)


def whole(batch: Batch, base: str, event_id: str | None) -> bytes:
    """The event that says how a batch is."""
    with links.seen_from(base):
        shown = batch_view(batch, time.time()).model_dump(mode="json")
    return sse.event("batch", shown | {"version": batch.version}, event_id)


def ended(batch_id: str, event_id: str | None) -> bytes:
    """The event after the last."""
    return sse.event("end", {"id": batch_id}, event_id and event_id + END)
