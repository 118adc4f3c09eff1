"""`python -m bench.null_painter`: a paint worker whose engine paints nothing.

All else is the real worker: claims, leases, pictures read and decoded, results encoded and stored. It is here
and not a setting, so that no service can be told to skip its work.
"""

import sys
from collections.abc import Sequence

from shared.jobs.record import Queue
from shared.logs import set_up_logging
from shared.settings import settings
from shared.spec import Spec
from worker.engine import Outcome, Request
from worker.paint import Painter
from worker.process import Stage, Surroundings, serve

BACKBONE = "compact"


class NullEngine:
    """Answers at once, with the content as it came."""

    def backbones(self) -> tuple[str, ...]:
        """The one that jobs name."""
        return (BACKBONE,)

    def capacity(self, spec: Spec, height: int, width: int) -> int:  # noqa: ARG002 - as `Engine.capacity`
        """One: each job alone, which is the dearest way."""
        return 1

    def stylize_batch(self, requests: Sequence[Request]) -> list[Outcome]:
        """An outcome for each request."""
        return [
            Outcome(
                image=request.content,
                losses={"total": 0.0},
                evaluations=request.spec.steps,
                seconds=0.0,
                device="cpu",
                dtype="float32",
                batch=len(requests),
            )
            for request in requests
        ]


def _paint(around: Surroundings) -> Stage:
    engine = NullEngine()
    painter = Painter(
        around.store,
        around.objects,
        engine,  # type: ignore[arg-type] # all that a painter asks of one
        around.config,
        around.name,
        around.draining,
    )
    return Stage(painter.work, engine.backbones())


def main() -> int:
    """Serve until told to stop; returns the exit status."""
    config = settings()
    set_up_logging(config)
    return serve(Queue.PAINT, 1, config, _paint)


if __name__ == "__main__":
    sys.exit(main())
