"""The engine's own figures: seconds an evaluation through its public door."""

from bench.inputs import Pair
from bench.stopwatch import Mark, Stopwatch, pace
from shared.backbones import BACKBONES
from shared.spec import Spec, resolve
from worker.engine import Engine, Outcome, Progress, Style


def one_level(network: str, size: int, evaluations: int) -> Spec:
    """The defaults at full size only, for so many evaluations."""
    return resolve({"size": size, "steps": evaluations, "pyramid": 1}, BACKBONES[network])


def timed(engine: Engine, pair: Pair, spec: Spec) -> tuple[float, Outcome]:
    """Paint; give seconds an evaluation and the outcome.

    The optimiser's steps are in the seconds; what precedes the end of the first evaluation is not.
    """
    marks: list[Mark] = []
    clock = Stopwatch()

    def mark(progress: Progress) -> None:
        marks.append(Mark(progress.step, clock.seconds()))

    outcome = engine.stylize(pair.content, [Style(pair.style)], spec, on_progress=mark)
    return pace(marks), outcome
