"""Wall time of what is measured, without the time that measuring takes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


class Stopwatch:
    """Runs from its making on, but not inside `paused()`."""

    def __init__(self) -> None:
        self._begun = time.perf_counter()

    def seconds(self) -> float:
        """Seconds so far."""
        return time.perf_counter() - self._begun

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What happens inside takes no time."""
        since = time.perf_counter()
        try:
            yield
        finally:
            self._begun += time.perf_counter() - since


@dataclass(frozen=True)
class Mark:
    """So many evaluations were done at this second."""

    evaluation: int
    second: float


def pace(marks: list[Mark]) -> float:
    """Seconds an evaluation between the first and the last mark, so that what comes before counts nothing.

    Raises ValueError where the marks span no evaluation.
    """
    if len(marks) < 2 or marks[-1].evaluation <= marks[0].evaluation:
        raise ValueError("a pace needs marks at two evaluations at least")
    return (marks[-1].second - marks[0].second) / (marks[-1].evaluation - marks[0].evaluation)
