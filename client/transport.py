"""The two drivers of plans: one blocks its thread, one awaits. Neither knows what a plan is about.

What a request says is put together in `client.core` and above, when to repeat it is decided in
`client.retries`.
"""

import asyncio
import ssl
import threading
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterator
from concurrent import futures
from functools import cache, partial
from typing import Any, TypeVar, cast

import httpx

from client.plans import (
    END,
    Abandoned,
    Await,
    Close,
    Effect,
    Flow,
    Forget,
    Give,
    Iterate,
    Next,
    Once,
    Open,
    Pause,
    Plan,
    Read,
    Send,
    Start,
    Stop,
    Work,
)

T = TypeVar("T")

_AGENT = {"User-Agent": "impasto-client"}
#: As many requests at once as a caller may have in flight; what is idle is closed again.
_LIMITS = httpx.Limits(max_connections=200, max_keepalive_connections=40)


#: Seconds for what runs beside to end when the client is closed.
_FAREWELL_SECONDS = 5.0


class _Beside(futures.Future[Any]):
    """A plan on a thread of its own, and how it is told to stop."""

    def __init__(self) -> None:
        super().__init__()
        self.stop = threading.Event()


class Transport:
    """Carries plans out on the calling thread; may be used by several threads at once.

    Args:
        timeout: seconds to wait for a connection, and for each answer.
    """

    def __init__(self, timeout: float) -> None:
        self._http = httpx.Client(timeout=timeout, headers=_AGENT, verify=_certificates(), limits=_LIMITS)
        self._once: dict[str, futures.Future[Any]] = {}
        self._beside: set[_Beside] = set()
        self._lock = threading.Lock()

    def close(self) -> None:
        """Close the connections. What still runs beside is told to stop, and given a moment to do so."""
        with self._lock:
            left = list(self._beside)
        _stop(Stop(left))
        futures.wait(left, _FAREWELL_SECONDS)
        self._http.close()

    def run(self, plan: Plan[T]) -> T:
        """Carry a plan out; returns what it returns."""
        return _Run(self, threading.Event()).plan(plan)

    def stream(self, flow: Flow) -> Iterator[Any]:
        """Go through a flow's values; it works only while the next is waited for."""
        return _Run(self, threading.Event()).flow(flow)

    def send(self, effect: Send) -> httpx.Response:
        """See `Send`."""
        return self._http.send(effect.request, stream=effect.stream, follow_redirects=effect.follow_redirects)

    def start(self, effect: Start) -> _Beside:
        """See `Start`: on a thread of its own, as it may wait for others that were started."""
        beside = _Beside()
        with self._lock:
            self._beside.add(beside)
        beside.add_done_callback(self._beside.discard)

        def work() -> None:
            try:
                beside.set_result(_Run(self, beside.stop).plan(effect.plan))
            except BaseException as error:  # noqa: BLE001 - told by `result`
                beside.set_exception(error)

        threading.Thread(target=work, name="impasto", daemon=True).start()
        return beside

    def once(self, effect: Once, run: Callable[[Plan[Any]], Any]) -> Any:  # noqa: ANN401
        """See `Once`: whoever comes first works, the others wait."""
        with self._lock:
            kept = self._once.get(effect.key)
            mine = kept is None
            if kept is None:
                kept = self._once[effect.key] = futures.Future()
        if mine:
            try:
                kept.set_result(run(effect.plan()))
            except BaseException as error:
                self.forget(Forget(effect.key))
                kept.set_exception(error if isinstance(error, Exception) else Abandoned())
                raise
        return kept.result()

    def forget(self, effect: Forget) -> None:
        """See `Forget`."""
        with self._lock:
            self._once.pop(effect.key, None)


class _Run:
    """One thread's way through a plan."""

    def __init__(self, transport: Transport, stop: threading.Event) -> None:
        self._stop = stop
        self._ways: dict[type[Effect], Callable[[Any], Any]] = {
            Send: transport.send,
            Open: lambda effect: effect.response.iter_bytes(),
            Read: lambda effect: effect.response.read(),
            Iterate: _iterate,
            Next: lambda effect: next(effect.source, END),
            Close: lambda effect: effect.response.close(),
            Pause: lambda effect: self._stop.wait(effect.seconds),
            Work: lambda effect: effect.function(),
            Start: transport.start,
            Await: _await,
            Stop: _stop,
            Once: lambda effect: transport.once(effect, self.plan),
            Forget: transport.forget,
        }

    def plan(self, plan: Plan[T]) -> T:
        step: Callable[[], Effect] = partial(next, plan)
        while True:
            try:
                effect = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(plan.send, self._perform(effect))
            except BaseException as error:  # noqa: BLE001 - the plan's to deal with
                step = partial(plan.throw, error)

    def flow(self, flow: Flow) -> Iterator[Any]:
        step: Callable[[], Effect] = partial(next, flow)
        while True:
            try:
                effect = step()
            except (StopIteration, Abandoned):
                return
            try:
                if isinstance(effect, Give):
                    yield effect.value
                    step = partial(next, flow)
                else:
                    step = partial(flow.send, self._perform(effect))
            except GeneratorExit:
                step = partial(flow.throw, Abandoned())
            except BaseException as error:  # noqa: BLE001 - the flow's to deal with
                step = partial(flow.throw, error)

    def _perform(self, effect: Effect) -> Any:  # noqa: ANN401 - what the effect tells
        if self._stop.is_set() and not isinstance(effect, Close | Stop):
            raise Abandoned
        return self._ways[type(effect)](effect)


class AsyncTransport:
    """Carries plans out in the running event loop; for one loop only.

    Args:
        timeout: seconds to wait for a connection, and for each answer.
    """

    def __init__(self, timeout: float) -> None:
        self._http = httpx.AsyncClient(
            timeout=timeout, headers=_AGENT, verify=_certificates(), limits=_LIMITS
        )
        self._once: dict[str, asyncio.Task[Any]] = {}
        self._ways: dict[type[Effect], Callable[[Any], Any]] = {
            Send: lambda effect: self._http.send(
                effect.request, stream=effect.stream, follow_redirects=effect.follow_redirects
            ),
            Open: lambda effect: _told(effect.response.aiter_bytes()),
            Read: lambda effect: effect.response.aread(),
            Iterate: lambda effect: _told(_aiterate(effect)),
            Next: _anext,
            Close: lambda effect: effect.response.aclose(),
            Pause: lambda effect: asyncio.sleep(effect.seconds),
            Work: lambda effect: asyncio.to_thread(effect.function),
            Start: lambda effect: _told(asyncio.create_task(self.run(effect.plan))),
            Await: _aawait,
            Stop: _astop,
            Once: self._run_once,
            Forget: lambda effect: _told(self._once.pop(effect.key, None)),
        }

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, plan: Plan[T]) -> T:
        """Carry a plan out; returns what it returns."""
        step: Callable[[], Effect] = partial(next, plan)
        while True:
            try:
                effect = step()
            except StopIteration as end:
                return cast("T", end.value)
            try:
                step = partial(plan.send, await self._ways[type(effect)](effect))
            except BaseException as error:  # noqa: BLE001 - the plan's to deal with
                step = partial(plan.throw, error)

    async def stream(self, flow: Flow) -> AsyncIterator[Any]:
        """Go through a flow's values; it works only while the next is waited for."""
        step: Callable[[], Effect] = partial(next, flow)
        while True:
            try:
                effect = step()
            except (StopIteration, Abandoned):
                return
            try:
                if isinstance(effect, Give):
                    yield effect.value
                    step = partial(next, flow)
                else:
                    step = partial(flow.send, await self._ways[type(effect)](effect))
            except GeneratorExit:
                step = partial(flow.throw, Abandoned())
            except BaseException as error:  # noqa: BLE001 - the flow's to deal with
                step = partial(flow.throw, error)

    async def _run_once(self, effect: Once) -> Any:  # noqa: ANN401
        task = self._once.get(effect.key)
        if task is None:
            task = self._once[effect.key] = asyncio.create_task(self.run(effect.plan()))
        try:
            # One who is canceled does not take it from the others.
            return await asyncio.shield(task)
        finally:
            if task.done() and (task.cancelled() or task.exception()) and self._once.get(effect.key) is task:
                del self._once[effect.key]


def _iterate(effect: Iterate) -> Iterator[Any]:
    if isinstance(effect.items, AsyncIterable):
        raise TypeError("an asynchronous iterable is for AsyncImpasto")
    return iter(effect.items)


def _await(effect: Await) -> set[futures.Future[Any]]:
    waited = cast("list[futures.Future[Any]]", list(effect.handles))
    return futures.wait(waited, effect.seconds, futures.FIRST_COMPLETED).done


def _stop(effect: Stop) -> None:
    for handle in effect.handles:
        cast("_Beside", handle).stop.set()


def _aiterate(effect: Iterate) -> Iterator[Any] | AsyncIterator[Any]:
    return aiter(effect.items) if isinstance(effect.items, AsyncIterable) else iter(effect.items)


async def _anext(effect: Next) -> Any:  # noqa: ANN401
    if isinstance(effect.source, AsyncIterator):
        return await anext(effect.source, END)
    return next(effect.source, END)


async def _aawait(effect: Await) -> set[asyncio.Task[Any]]:
    waited = cast("list[asyncio.Task[Any]]", list(effect.handles))
    done, _ = await asyncio.wait(waited, timeout=effect.seconds, return_when=asyncio.FIRST_COMPLETED)
    return done


async def _astop(effect: Stop) -> None:
    tasks = cast("list[asyncio.Task[Any]]", list(effect.handles))
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
        for task in tasks:
            # Looked at, so that asyncio does not report what nobody asked for.
            _ = task.cancelled() or task.exception()


async def _told(value: T) -> T:
    return value


@cache
def _certificates() -> ssl.SSLContext:
    """The authorities we trust, read once a process: that takes longer than many a request."""
    return httpx.create_ssl_context()
