"""Progress for people, on standard error: a bar on a terminal, a line for each stage elsewhere."""

import sys
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from tqdm import tqdm

from client.models import Job


class ProgressBar:
    """Step and loss of one painting, in a `with` statement."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None
        self._said = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def say(self, what: str) -> None:
        """Name the stage, where it is another than before."""
        if what == self._said:
            return
        self._said = what
        if self._bar is not None:
            self._bar.set_description(what)
        else:
            print(what, file=sys.stderr, flush=True)

    def step(self, step: int, steps: int, loss: Mapping[str, float]) -> None:
        """Show how far painting has come; a bar only where someone watches."""
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(total=steps, unit="step", desc=self._said, dynamic_ncols=True, leave=True)
        self._bar.total = steps
        if "total" in loss:
            self._bar.set_postfix(loss=f"{loss['total']:.4g}", refresh=False)
        self._bar.n = step
        self._bar.refresh()

    def job(self, job: Job) -> None:
        """Show a job as a poll told it."""
        place = f", number {job.queue_position} in the queue" if job.queue_position else ""
        self.say(f"{job.stage or job.status}{place}")
        if job.progress:
            self.step(job.progress.step, job.progress.steps, job.progress.loss)
