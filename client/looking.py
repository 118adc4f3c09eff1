"""Watching something until it ends: polls that cost little, and go on while the service is away for a moment.

A poll asks the service to hold its answer until there is something new (RFC 7240, `Prefer: wait`), and names
what it has seen (`If-None-Match`). A service that does not hold answers is asked again when its Retry-After
says.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Generic, TypeVar

from client.core import Call, Core, read_json
from client.errors import ApiError, UnreachableError
from client.plans import Pause, Plan
from client.retries import LATER, retry_after

T = TypeVar("T")

#: Seconds between two polls where the service does not say.
POLL_SECONDS = 2.0
#: Seconds for which the service is asked to hold an answer.
HOLD_SECONDS = 20
#: Seconds between two answers that were held, however fast things change.
_PACE_SECONDS = 0.25


@dataclass(frozen=True)
class Look(Generic[T]):
    """One poll.

    Attributes:
        value: what was seen. etag: what names it.
        pause: seconds until the next poll.
        changed: whether it is news.
        held: whether the service holds answers.
    """

    value: T
    etag: str | None
    pause: float
    changed: bool = True
    held: bool = False


@dataclass(frozen=True)
class Watch(Generic[T]):
    """How to look at one thing.

    Attributes:
        path: its address.
        read: makes it of its JSON.
    """

    core: Core
    path: str
    read: Callable[[Mapping[str, Any]], T]

    def look(
        self, before: Look[T] | None = None, hold: float = 0, *, every_change: bool = True
    ) -> Plan[Look[T]]:
        """Poll once.

        Args:
            before: the poll before.
            hold: seconds for which the service may hold its answer.
            every_change: be told of every change, and not only of the end, by a service that holds answers.
        """
        if every_change and not (before and before.etag):
            hold = 0.0  # without a word of what is known, an answer is held until the end
        headers = {"Prefer": f"wait={int(hold)}"} if hold >= 1 else {}
        if before and before.etag and (every_change or not before.held):
            headers["If-None-Match"] = before.etag
        began = time.monotonic()
        response = yield from self.core.request(Call("GET", self.path, headers, longer=hold))
        asked = retry_after(response.headers)
        held = "wait" in response.headers.get("preference-applied", "")
        if held:
            pause = max(0.0, _PACE_SECONDS - (time.monotonic() - began))
        else:
            pause = POLL_SECONDS if asked is None else min(asked, self.core.retries.patience_seconds)
        if before and response.status_code == HTTPStatus.NOT_MODIFIED:
            return replace(before, pause=pause, changed=False, held=held)
        return Look(self.read(read_json(response)), response.headers.get("etag"), pause, held=held)

    def until(
        self,
        ended: Callable[[T], bool],
        timeout: float | None = None,
        on_progress: Callable[[T], None] | None = None,
    ) -> Plan[tuple[T, bool]]:
        """Watch it until it has ended; returns how it is then, and whether it has.

        Args:
            ended: whether it will not change any more.
            timeout: seconds after which to stop.
            on_progress: called when it has changed.
        """
        give_up_at = math.inf if timeout is None else time.monotonic() + timeout
        seen: Look[T] | None = None
        while True:
            seen = yield from self.patiently(seen, give_up_at, every_change=on_progress is not None)
            if on_progress and seen.changed:
                on_progress(seen.value)
            left = give_up_at - time.monotonic()
            if ended(seen.value) or left <= 0:
                return seen.value, ended(seen.value)
            yield Pause(min(seen.pause, left))

    def patiently(
        self, before: Look[T] | None, give_up_at: float = math.inf, *, every_change: bool = True
    ) -> Plan[Look[T]]:
        """Poll once, held by the service if it does that; asks again while it is away for a minute."""
        until = min(give_up_at, time.monotonic() + self.core.retries.absence_seconds)
        while True:
            try:
                hold = min(HOLD_SECONDS, give_up_at - time.monotonic())
                return (yield from self.look(before, hold, every_change=every_change))
            except (UnreachableError, ApiError) as error:
                if not away(error) or time.monotonic() >= until:
                    raise
                yield Pause(self.core.retries.first_seconds)


def away(error: Exception) -> bool:
    """Whether an error says that the service does not answer for now, rather than no."""
    return isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in LATER)
