"""Server-sent events: read as they come, gone on with where the connection broke off.

The reader follows the WHATWG HTML standard, section 9.2: UTF-8, lines that end in CR, LF or both.
Where the service, or something in between, does not hand out events, changes are polled for instead.
"""

import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping
from http import HTTPStatus
from typing import Any

import httpx

from client.core import Call, Core, Refused, problem
from client.errors import ApiError, ImpastoError, UnreachableError
from client.looking import Watch
from client.models import Event
from client.plans import END, Close, Flow, Give, Next, Open, Pause, Plan, Read, Send
from client.retries import LATER, retry_after

MEDIA = "text/event-stream"
#: The event after which the service closes a stream for good.
_END = "end"
#: What a service says that holds as many streams as it may: polls are still answered.
_FULL = "too_many_waiting"
#: Answers of a service that knows no events, or of a proxy that lets none through.
_NO_EVENTS = frozenset({404, 405, 406, 501})
#: Seconds without a byte after which a connection counts as broken; the service sends a comment every 15.
_SILENCE_SECONDS = 60.0
#: Bytes that one line may have.
_LINE_BYTES = 2**20


class EventReader:
    """Turns the bytes of a stream into events.

    Attributes:
        last_id: of the last event that had one.
        retry: seconds to wait before connecting again, if said.
        heard: when bytes came last, on the monotonic clock; minus infinity before.
    """

    def __init__(self, last_id: str | None = None) -> None:
        self.last_id = last_id
        self.retry: float | None = None
        self.heard = -math.inf
        self._rest = b""
        self._started = False
        self._after_return = False
        self._type, self._data, self._id = "", list[str](), last_id

    def feed(self, chunk: bytes) -> Iterator[Event]:
        """The events that are complete with these bytes.

        Raises:
            ImpastoError: a line has no end, or an event's data is no JSON object.
        """
        self.heard = time.monotonic()
        for line in self._lines(chunk):
            event = self._line(line)
            if event is not None:
                yield event

    def anew(self) -> "EventReader":
        """A reader for another connection: half an event of the last one is not gone on with."""
        fresh = EventReader(self.last_id)
        fresh.retry = self.retry
        return fresh

    def _lines(self, chunk: bytes) -> Iterator[str]:
        if self._after_return and chunk[:1] == b"\n":  # a CR that ended the last chunk was half of a CRLF
            chunk = chunk[1:]
        if not chunk:
            return
        self._after_return = chunk[-1:] == b"\r"
        *lines, self._rest = (self._rest + chunk).replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            raise ImpastoError("an event's line does not end")
        for line in lines:
            text = line.decode("utf-8", "replace")
            yield text if self._started else text.removeprefix("\ufeff")
            self._started = True

    def _line(self, line: str) -> Event | None:
        if not line:
            return self._dispatch()
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name == "id" and "\0" not in value:
            self._id = value
        elif name == "retry" and value.isascii() and value.isdigit() and len(value) <= 9:
            self.retry = int(value) / 1000
        return None

    def _dispatch(self) -> Event | None:
        kind, data, self._type, self._data = self._type, self._data, "", []
        self.last_id = self._id
        if not data:
            return None
        try:
            told = json.loads("\n".join(data))
        except ValueError as error:
            raise ImpastoError("an event of the service is not JSON") from error
        return Event(kind or "message", told if isinstance(told, dict) else {"value": told}, self.last_id)


class NoEventsError(ImpastoError):
    """The service does not hand out events here."""


def listen(core: Core, path: str, last_id: str | None, ended: Callable[[Event], bool]) -> Flow:
    """Go through the events of an address until one ends it, connecting again whenever that is needed.

    Args:
        core: the service.
        path: the address.
        last_id: ID of the last event that is known already.
        ended: whether nothing follows an event.

    Raises:
        NoEventsError: there are no events at this address.
        ApiError: the service said no.
        UnreachableError: the service has been away for longer than `Retries.absence_seconds`.
    """
    reader = EventReader(last_id)
    heard = time.monotonic()
    while True:
        error: ApiError | UnreachableError = UnreachableError(f"{core.url} ends its events")
        asked: float | None = None
        try:
            told = yield from _connection(core, path, reader, ended)
            if told:
                return
            heard = time.monotonic()
        except Refused as refused:
            error = problem(refused.response)
            if error.code == _FULL:
                raise NoEventsError(error.detail) from None
            if refused.response.status_code not in LATER:
                raise error from None
            asked = retry_after(refused.response.headers)
        except httpx.TransportError as fault:
            error = UnreachableError(f"{core.url} does not answer: {fault}")
        heard = max(heard, reader.heard)
        reader = reader.anew()
        pause = next(one for one in (asked, reader.retry, core.retries.first_seconds) if one is not None)
        if time.monotonic() - heard + pause > core.retries.absence_seconds:
            raise error
        yield Pause(random.uniform(pause / 2, pause) if asked is None else asked)


def _connection(core: Core, path: str, reader: EventReader, ended: Callable[[Event], bool]) -> Plan[bool]:
    """Go through the events of one connection; returns whether nothing follows."""
    response: httpx.Response = yield Send(_request(core, path, reader.last_id), stream=True)
    try:
        if response.status_code == HTTPStatus.NO_CONTENT:
            return True
        yield from _check(response)
        source = yield Open(response)
        while (chunk := (yield Next(source))) is not END:
            for event in reader.feed(chunk):
                if event.type == _END:
                    return True
                yield Give(event)
                if ended(event):
                    return True
        return False
    finally:
        yield Close(response)


def poll(watch: Watch[Any], ended: Callable[[Any], bool], kind: str) -> Flow:
    """The same told by polling: an event with the whole of it for each change.

    Args:
        watch: how to look.
        ended: whether it will not change any more.
        kind: what the events are called.
    """
    seen = None
    while True:
        seen = yield from watch.patiently(seen)
        if seen.changed:
            yield Give(Event(kind, seen.value.raw))
        if ended(seen.value):
            return
        yield Pause(seen.pause)


def follow(
    watch: Watch[Any],
    path: str,
    kind: str,
    ended: Callable[[Any], bool],
    over: Callable[[Mapping[str, Any]], bool],
    last_id: str | None = None,
) -> Flow:
    """Events where there are some, polls where there are none.

    Args:
        watch: how to look.
        path: where the events are.
        kind: type of those that tell of the whole; others, such as a batch's of its items, end nothing.
        ended: whether what was seen will not change any more.
        over: the same of an event's data.
        last_id: ID of the last event that is known already.
    """
    try:
        yield from listen(watch.core, path, last_id, lambda event: event.type == kind and over(event.data))
    except NoEventsError:
        yield from poll(watch, ended, kind)


def _request(core: Core, path: str, last_id: str | None) -> httpx.Request:
    headers = {"Accept": MEDIA, "Cache-Control": "no-store"}
    if last_id:
        headers["Last-Event-ID"] = last_id
    request = core.build(Call("GET", path, headers))
    request.extensions["timeout"]["read"] = _SILENCE_SECONDS
    return request


def _check(response: httpx.Response) -> Plan[None]:
    if response.is_success and response.headers.get("content-type", "").partition(";")[0].strip() == MEDIA:
        return
    yield Read(response)
    if response.status_code in _NO_EVENTS or response.is_success:
        raise NoEventsError(f"{response.url} has no events")
    raise Refused(response)
