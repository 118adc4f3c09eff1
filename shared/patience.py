"""How long whoever waits for an answer is kept waiting for Redis: a budget of seconds over all its calls.

    with patience(1.5):
        store.get(...)     # both calls together wait 1.5 s at most,
        store.submit(...)  # then `StoreUnavailable` is raised

What the block does beside waiting for Redis is not counted. Without a budget each call has the timeout of its
connection. `shared.redis` obeys what stands here.
"""

import time
from contextvars import ContextVar
from dataclasses import dataclass
from types import TracebackType

#: Seconds for which a server is doubted, and that a wait for one that is doubted takes at most.
DOUBT_SECONDS, DOUBTFUL_SECONDS = 2.0, 0.1


@dataclass
class _Budget:
    """Seconds that are left, and when they are over if the wait that goes on now is not."""

    seconds: float
    until: float | None = None


_budget: ContextVar[_Budget | None] = ContextVar("patience", default=None)


class patience:  # noqa: N801 - a context manager, used as a verb
    """Let the calls of a block wait for so many seconds in all."""

    def __init__(self, seconds: float) -> None:
        self._given = _Budget(seconds)

    def __enter__(self) -> None:
        self._token = _budget.set(self._given)

    def __exit__(self, *_: object) -> None:
        _budget.reset(self._token)


class waiting:  # noqa: N801 - likewise
    """What happens in a block is waiting, and used up from the budget if there is one.

    Entered for every call to Redis: a class, since that costs a third of a generator.
    """

    def __enter__(self) -> None:
        budget = _budget.get()
        self._counted = budget if budget is not None and budget.until is None else None
        if self._counted:
            self._began = time.monotonic()
            self._counted.until = self._began + self._counted.seconds

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._counted:
            self._counted.until = None
            self._counted.seconds -= time.monotonic() - self._began


class Doubt:
    """Whether a server is likely to answer; safe to share between threads.

    After a wait in vain, who has a budget waits briefly for a while: else each of a crowd of callers would
    hold up those behind it for its whole budget. An answer ends the doubt, and so does time, for a server
    that is slow.
    """

    def __init__(self) -> None:
        self._until = 0.0

    def limit(self, seconds: float) -> float:
        """How long to wait, of so many seconds."""
        return min(seconds, DOUBTFUL_SECONDS) if self._doubted() else seconds

    def in_vain(self) -> None:
        """A wait was in vain."""
        if _budget.get() is not None and not self._doubted():
            self._until = time.monotonic() + DOUBT_SECONDS

    def answered(self) -> None:
        """The server has answered."""
        self._until = 0.0

    def _doubted(self) -> bool:
        return _budget.get() is not None and time.monotonic() < self._until


def left(most: float) -> float:
    """Seconds that one wait may take now: `most`, or less where a budget has less; 0 when it is used up."""
    budget = _budget.get()
    if budget is None:
        return most
    seconds = budget.seconds if budget.until is None else budget.until - time.monotonic()
    return max(0.0, min(most, seconds))
