"""What a hub holds: one that waits for something to happen to one topic. Called by the hub's thread alone."""

from collections.abc import Sequence
from typing import Protocol

from api.waiting.history import History
from api.waiting.sinks import Sink
from shared.jobs.changes import Change
from shared.jobs.eta import Outlook
from shared.jobs.record import Job


class Waiter(Protocol):
    """One caller that waits.

    Attributes:
        topic: uid of the job or the batch.
        sink: where the answer goes.
        deadline: when it is answered whatever has happened, by the monotonic clock; None for a stream.
        ticks: whether `tick` is to be called.
        queued: whether its job waits, so that its place may change while nothing else does.
    """

    topic: str
    sink: Sink
    deadline: float | None
    queued: bool
    ticks: bool

    def begin(self, history: History) -> None:
        """It is held from now on; what has happened since its caller looked may be in the history."""

    def wants_record(self, changes: Sequence[Change]) -> bool:
        """Whether `changed` needs the job's record to answer these."""

    def changed(self, changes: Sequence[Change], job: Job | None, outlook: Outlook | None) -> None:
        """Its topic has changed; `job` is None where it was not wanted, or is gone."""

    def moved(self, job: Job, outlook: Outlook | None) -> None:
        """Its job waits, and may have another place."""

    def missed(self, job: Job | None, outlook: Outlook | None) -> None:
        """Some changes were lost; this is how things are."""

    def due(self, job: Job | None, outlook: Outlook | None) -> None:
        """The deadline has come."""

    def unanswerable(self) -> None:
        """The deadline has come, and Redis is away."""

    def tick(self) -> None:
        """About twice a second, of those whose topic is a batch; may raise `StoreUnavailable`."""

    def leave(self) -> None:
        """The process goes: end what can be taken up again. Others are asked `due` or `unanswerable`."""
