"""What goes wrong, and when: a schedule of faults that a seed decides, and nothing else does.

Faults are dealt from a shuffled deck, so that every kind comes up before any comes again. What a fault does
to the processes is `tests.chaos.injector`'s.
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Lease of the run in seconds; what is frozen for longer has lost its claims.
LEASE_SECONDS = 2.5
#: Nothing goes wrong before every caller has begun.
FIRST_SECONDS = 3.0
WORKERS = ("api", "intake", "paint-1", "paint-2", "chores")
EVERYTHING = "everything"


class Kind(StrEnum):
    """What is done to a target."""

    KILL = "kill -9"
    TERMINATE = "SIGTERM"
    FREEZE = "frozen"
    RESET = "connections reset"
    BLACK_HOLE = "black hole"
    SLOW = "slow"


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        at: seconds from the beginning of the run.
        kind: what is done.
        target: a process' name, `redis`, `s3`, or `everything` for every process at once.
        seconds: how long it lasts; of a killed server, until it is started again.
    """

    at: float
    kind: Kind
    target: str
    seconds: float

    def __str__(self) -> str:
        lasting = f" for {self.seconds:.1f} s" if self.seconds else ""
        return f"{self.target} {self.kind}{lasting} at {self.at:.1f} s"

    @property
    def beyond_lease(self) -> bool:
        """Whether claims are lost by it."""
        return self.seconds > LEASE_SECONDS

    def hits(self, name: str) -> bool:
        """Whether the process of this name is the target, or one of them."""
        return self.target in (name, EVERYTHING)


#: Kind, target, and how long it lasts at least and at most.
Card = tuple[Kind, str, float, float]

_BLINK, _BEYOND = (0.2, 1.0), (1.6 * LEASE_SECONDS, 2.6 * LEASE_SECONDS)
DECK: Sequence[Card] = (
    *((Kind.KILL, name, 0.0, 0.0) for name in (*WORKERS, "paint-1", "paint-2")),
    (Kind.KILL, "redis", 0.2, 1.5),
    (Kind.KILL, "redis", 0.2, 1.5),
    (Kind.KILL, EVERYTHING, 0.2, 1.5),
    *((Kind.TERMINATE, name, 0.0, 0.0) for name in ("paint-1", "paint-2", "intake", "api")),
    *((Kind.FREEZE, name, *_BLINK) for name in ("paint-1", "api", "redis")),
    *((Kind.FREEZE, name, *_BEYOND) for name in ("paint-1", "paint-2", "intake", "chores", "api")),
    (Kind.FREEZE, "redis", LEASE_SECONDS, _BEYOND[0]),
    (Kind.RESET, "s3", 0.5, 2.5),
    (Kind.RESET, "s3", 0.0, 0.0),
    (Kind.BLACK_HOLE, "s3", 1.0, 5.0),
    (Kind.SLOW, "s3", 3.0, 6.0),
    (Kind.RESET, "redis", 0.0, 0.5),
    (Kind.BLACK_HOLE, "redis", 0.5, 2.0),
    (Kind.SLOW, "redis", 2.0, 4.0),
)


def schedule(seed: int, seconds: float, every: float) -> list[Fault]:
    """The faults of a run, in order.

    Args:
        seed: the same one gives the same faults.
        seconds: when the last of them is over.
        every: seconds from one to the next, on average.
    """
    generator = random.Random(f"faults {seed}")
    dealt = _dealt(generator)
    faults = []
    for number in range(int((seconds - FIRST_SECONDS) / every)):
        at = FIRST_SECONDS + (number + generator.uniform(0.1, 0.9)) * every
        kind, target, shortest, longest = next(dealt)
        lasts = min(generator.uniform(shortest, longest), seconds - at)
        faults.append(Fault(round(at, 2), kind, target, round(lasts, 2)))
    return faults


def _dealt(generator: random.Random) -> Iterator[Card]:
    while True:
        deck = list(DECK)
        generator.shuffle(deck)
        yield from deck
