"""What has happened lately, by topic: what a stream that comes back has missed."""

from collections import deque
from dataclasses import dataclass, field

from shared.jobs.changes import BEGINNING, Change, order

#: Changes kept of one topic, and of all together.
OF_A_TOPIC, OF_ALL = 1024, 65_536


@dataclass
class _Line:
    """One topic's changes, oldest first, and the ID after which none is missing; None while all are there."""

    changes: list[Change] = field(default_factory=list)
    cut_at: str | None = None


class History:
    """The latest changes. A topic is a job's or a batch's uid; of its items, a batch's has those that ended.

    Args:
        complete_from: the ID after which every change will be added.
    """

    def __init__(self, complete_from: str = BEGINNING, of_all: int = OF_ALL) -> None:
        self.last = complete_from
        self._complete_from = complete_from
        self._of_all = of_all
        self._lines: dict[str, _Line] = {}
        self._all: deque[Change] = deque()

    def add(self, change: Change) -> None:
        """Keep the next change."""
        self.last = change.id
        self._all.append(change)
        for topic in _kept_under(change):
            line = self._lines.setdefault(topic, _Line())
            line.changes.append(change)
            if len(line.changes) > OF_A_TOPIC:
                line.cut_at = line.changes.pop(0).id
        if len(self._all) > self._of_all:
            self._forget(self._all.popleft())

    def since(self, topic: str, entry_id: str) -> list[Change] | None:
        """What happened after an entry; None when that is not known any more.

        Raises:
            ValueError: `entry_id` is no ID of an entry.
        """
        place = order(entry_id)
        line = self._lines.get(topic)
        oldest = line.cut_at if line and line.cut_at else self._complete_from
        if place < order(oldest) or place > order(self.last):
            return None
        return [change for change in line.changes if order(change.id) > place] if line else []

    def latest(self, topic: str, most: int) -> list[Change]:
        """The last changes of a topic, at most so many."""
        line = self._lines.get(topic)
        return line.changes[-most:] if line else []

    def _forget(self, change: Change) -> None:
        self._complete_from = change.id
        for topic in _kept_under(change):
            line = self._lines.get(topic)
            if line and line.changes and line.changes[0] is change:
                line.changes.pop(0)
                if not line.changes:
                    del self._lines[topic]


def _kept_under(change: Change) -> tuple[str, ...]:
    return (change.uid, change.batch_id) if change.batch_id and change.ended else (change.uid,)
