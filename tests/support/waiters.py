"""One that waits at the hub and makes nothing of what it is told."""

from collections.abc import Sequence

from api.waiting.history import History
from api.waiting.sinks import QueueSink, Sink
from shared.jobs.changes import Change
from shared.jobs.eta import Outlook
from shared.jobs.record import Job


class Idler:
    """An `api.waiting.waiters.Waiter` for tests to build on."""

    deadline: float | None = None
    ticks = False

    def __init__(self, topic: str, *, queued: bool = False) -> None:
        self.topic, self.queued = topic, queued
        self.sink: Sink = QueueSink(None, 0)

    def begin(self, history: History) -> None: ...

    def wants_record(self, changes: Sequence[Change]) -> bool:  # noqa: ARG002
        return False

    def changed(self, changes: Sequence[Change], job: Job | None, outlook: Outlook | None) -> None: ...

    def moved(self, job: Job, outlook: Outlook | None) -> None: ...

    def missed(self, job: Job | None, outlook: Outlook | None) -> None: ...

    def due(self, job: Job | None, outlook: Outlook | None) -> None: ...

    def unanswerable(self) -> None: ...

    def tick(self) -> None: ...

    def leave(self) -> None: ...
