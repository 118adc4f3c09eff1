"""Calls without a transport: a plan says what to do next and is told what came of it.

A plan is a generator. It yields one effect after the other (send this, pause so long, run that beside) and
returns its result; a flow also gives values on its way. Whatever is worth thinking about, such as what a
request says, when it is repeated and in which order things happen, is written once, as a plan.
`client.transport` has the two drivers that carry plans out: one blocks, one awaits.

What an effect meets is raised inside the plan, where it stands, so that `try` and `finally` mean what they
say; `finally` may yield effects too.
"""

from collections.abc import AsyncIterable, AsyncIterator, Callable, Collection, Generator, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import httpx

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class Effect:
    """Something that a plan asks its driver to do."""


#: A call: yields effects, returns its result.
Plan = Generator[Effect, Any, T]
#: A series: yields effects, `Give` among them, and returns nothing.
Flow = Generator[Effect, Any, None]


class Abandoned(BaseException):
    """Raised inside a plan whose results nobody waits for any more. Never reaches a caller."""


class Handle(Protocol[T_co]):
    """A plan that runs beside: a future or a task."""

    def done(self) -> bool:
        """Whether it has ended."""
        ...

    def result(self) -> T_co:
        """What it returned; raises what it raised."""
        ...


class _End:
    """What `Next` tells when nothing is left."""


END: Final = _End()


@dataclass(frozen=True)
class Send(Effect):
    """Send a request; told the response, its body read unless `stream`."""

    request: httpx.Request
    stream: bool = False
    follow_redirects: bool = False


@dataclass(frozen=True)
class Open(Effect):
    """Begin to read the body of a streamed response; told what `Next` takes."""

    response: httpx.Response


@dataclass(frozen=True)
class Read(Effect):
    """Read the body of a streamed response to its end, so that the response knows it."""

    response: httpx.Response


@dataclass(frozen=True)
class Iterate(Effect):
    """Begin to go through what a caller gave; told what `Next` takes."""

    items: Iterable[Any] | AsyncIterable[Any]


@dataclass(frozen=True)
class Next(Effect):
    """Take the next item; told `END` when there is none."""

    source: Iterator[Any] | AsyncIterator[Any]


@dataclass(frozen=True)
class Close(Effect):
    """Give back the connection of a streamed response."""

    response: httpx.Response


@dataclass(frozen=True)
class Pause(Effect):
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True)
class Work(Effect):
    """Call a function that blocks, such as one that reads a file; told what it returns."""

    function: Callable[[], Any]


@dataclass(frozen=True)
class Start(Effect):
    """Run another plan beside this one; told its handle."""

    plan: Plan[Any]


@dataclass(frozen=True)
class Await(Effect):
    """Wait until one of the handles is done, or for so many seconds; told the set of those that are."""

    handles: Collection[Handle[Any]]
    seconds: float | None = None


@dataclass(frozen=True)
class Stop(Effect):
    """Abandon plans that run beside; those that have ended are left as they are."""

    handles: Collection[Handle[Any]]


@dataclass(frozen=True)
class Once(Effect):
    """Run a plan once for all who ask under one key, now or later; told its result. A failure is not kept."""

    key: str
    plan: Callable[[], Plan[Any]]


@dataclass(frozen=True)
class Forget(Effect):
    """Let the next `Once` under this key run its plan anew."""

    key: str


@dataclass(frozen=True)
class Give(Effect):
    """Hand a value to whoever goes through the flow; returns when they come for the next."""

    value: Any


def all_of(plans: Collection[Plan[T]]) -> Plan[list[T]]:
    """Run plans side by side; their results in order. The first that fails ends the others."""
    if len(plans) == 1:
        return [(yield from next(iter(plans)))]
    handles: list[Handle[T]] = []
    try:
        for plan in plans:
            handles.append((yield Start(plan)))  # noqa: PERF401 - an effect each
        open_handles = set(handles)
        while open_handles:
            done: set[Handle[T]] = yield Await(open_handles)
            for handle in done:
                handle.result()
            open_handles -= done
    finally:
        yield Stop(handles)
    return [handle.result() for handle in handles]
