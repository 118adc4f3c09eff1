"""What can be asked about batches, as plans (`client.plans`).

A batch is handed in as NDJSON: one line of what its items share, one line an item. Files of a caller's own
are uploaded on the way, each content once.
"""

import json
import tempfile
import uuid
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

import httpx

from client.core import Call, Core, OnChunk, Refused, pages, read_json, segment
from client.errors import BatchFailed, BatchTimeoutError, FieldError, UnreachableError
from client.looking import Watch
from client.models import Batch, Job, Request, Result, WebhookLike
from client.pictures import (
    Pictures,
    pictures_of,
    plain_webhook,
    reference,
    written,
)
from client.plans import END, Close, Flow, Give, Iterate, Next, Open, Pause, Plan, Read, Send

NDJSON = "application/x-ndjson"
#: Items of one request; a service takes more only to check them in the background.
MOST_ITEMS = 10_000
#: Items whose files are uploaded side by side.
_UPLOADS_AT_ONCE = 16
_CHUNK = 2**16

Items = Iterable[Request] | AsyncIterable[Request]


class BatchCalls:
    """Calls about batches of one service."""

    def __init__(self, core: Core, pictures: Pictures) -> None:
        self._core = core
        self._pictures = pictures

    def create(
        self,
        items: Items,
        defaults: Request | None,
        metadata: Mapping[str, str] | None,
        webhook: WebhookLike | None,
        key: str | None,
        *,
        background: bool,
    ) -> Plan[Batch]:
        """See `Batches.create`."""
        source = yield Iterate(items)
        first = yield from self._shared(defaults, metadata, webhook)
        if background:
            return (yield from self._create_in_background(source, first, key))
        lines, _ = yield from self._lines(source, MOST_ITEMS)
        if (yield Next(source)) is not END:
            raise ValueError(
                f"a request takes {MOST_ITEMS} items: use create_many, or background=True for one large batch"
            )
        return (yield from self._post(first, lines, key or uuid.uuid4().hex))

    def create_many(
        self,
        items: Items,
        defaults: Request | None,
        metadata: Mapping[str, str] | None,
        webhook: WebhookLike | None,
        key: str | None,
        size: int,
    ) -> Flow:
        """See `Batches.create_many`."""
        if not 1 <= size <= MOST_ITEMS:
            raise ValueError(f"size is {size}: a request takes 1 to {MOST_ITEMS} items")
        source = yield Iterate(items)
        first = yield from self._shared(defaults, metadata, webhook)
        key, number, exhausted = key or uuid.uuid4().hex, 0, False
        while not exhausted:
            lines, exhausted = yield from self._lines(source, size)
            if lines:
                yield Give((yield from self._post(first, lines, f"{key}-{number}")))
            number += 1

    def get(self, id: str) -> Plan[Batch]:  # noqa: A002 - the wire's name
        """See `Batches.get`."""
        return (yield from self._batch(Call("GET", path_of(id))))

    def pages(self, page_size: int) -> Flow:
        """See `Batches.list`."""
        yield from pages(self._core, "v1/batches", "batches", {"limit": page_size}, Batch.from_json)

    def items(self, id: str, status: str | None, page_size: int) -> Flow:  # noqa: A002
        """See `Batches.items`."""
        params = {"status": status, "limit": page_size}
        yield from pages(self._core, path_of(id, "items"), "items", params, Job.from_json)

    def results(self, id: str) -> Flow:  # noqa: A002
        """See `Batches.results`."""
        yield from self._ndjson(path_of(id, "results.ndjson"), Result.from_json)

    def errors(self, id: str) -> Flow:  # noqa: A002
        """See `Batches.errors`."""
        yield from self._ndjson(
            path_of(id, "errors.ndjson"),
            lambda fault: FieldError(
                fault.get("pointer") or "", fault.get("detail") or "", fault.get("line")
            ),
        )

    def watch(self, id: str) -> Watch[Batch]:  # noqa: A002
        """How to look at a batch."""
        return Watch(self._core, path_of(id), Batch.from_json)

    def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None,
        on_progress: Callable[[Batch], None] | None,
    ) -> Plan[Batch]:
        """See `Batches.wait`."""
        batch, ended = yield from self.watch(id).until(lambda batch: batch.ended, timeout, on_progress)
        if not ended:
            raise BatchTimeoutError(batch)
        if batch.status != "completed":
            raise BatchFailed(batch)
        return batch

    def archive(self, id: str, path: Path, on_chunk: OnChunk | None) -> Plan[Path]:  # noqa: A002
        """See `Batches.archive`."""
        yield from self._core.save(path_of(id, "archive.zip"), path, None, on_chunk, keep=True)
        return path

    def cancel(self, id: str) -> Plan[Batch]:  # noqa: A002
        """See `Batches.cancel`."""
        return (yield from self._batch(Call("POST", path_of(id, "cancel"), again=True)))

    def retry(self, id: str, key: str | None) -> Plan[Batch]:  # noqa: A002
        """See `Batches.retry`."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return (yield from self._batch(Call("POST", path_of(id, "retry"), headers)))

    def delete(self, id: str) -> Plan[None]:  # noqa: A002
        """See `Batches.delete`."""
        yield from self._core.remove(path_of(id))

    def _shared(
        self,
        defaults: Request | None,
        metadata: Mapping[str, str] | None,
        webhook: WebhookLike | None,
    ) -> Plan[bytes]:
        """The line of what the items share; empty where they share nothing."""
        shared: dict[str, Any] = {}
        if defaults is not None:
            if defaults.id or defaults.custom_id or defaults.idempotency_key or defaults.content:
                raise ValueError("what items share names no content, ID or key: leave them empty")
            names = yield from self._pictures.references(pictures_of(defaults)[1:])
            body = written(defaults, {**names, defaults.content: ""})
            del body["content"]
            shared["defaults"] = body
        if metadata:
            shared["metadata"] = dict(metadata)
        if webhook is not None:
            shared["webhook"] = plain_webhook(webhook)
        return _line(shared) if shared else b""

    def _lines(self, source: Any, most: int) -> Plan[tuple[list[bytes], bool]]:  # noqa: ANN401
        """Up to so many items as lines, and whether there are no more. Files are uploaded side by side."""
        lines: list[bytes] = []
        exhausted = False
        while len(lines) < most and not exhausted:
            few, ours = list[Request](), 0
            while len(lines) + len(few) < most and ours < _UPLOADS_AT_ONCE:
                item = yield Next(source)
                if item is END:
                    exhausted = True
                    break
                few.append(_checked(item))
                ours += any(reference(picture) is None for picture in pictures_of(item))
            names = yield from self._pictures.references([one for item in few for one in pictures_of(item)])
            lines += [_line(written(item, names)) for item in few]
        return lines, exhausted

    def _create_in_background(self, source: Any, first: bytes, key: str | None) -> Plan[Batch]:  # noqa: ANN401
        """One request of any length: the lines are kept in a file, so that it can be sent again."""
        with tempfile.TemporaryFile() as spool:
            spool.write(first)
            exhausted = False
            while not exhausted:
                lines, exhausted = yield from self._lines(source, MOST_ITEMS)
                spool.writelines(lines)
            length = spool.tell()
            headers = {
                "Content-Type": NDJSON,
                "Content-Length": str(length),
                "Idempotency-Key": key or uuid.uuid4().hex,
                "Prefer": "respond-async",
            }
            body = partial(FileStream, spool)
            return (yield from self._batch(Call("POST", "v1/batches", headers, body=body, longer=60)))

    def _post(self, first: bytes, lines: list[bytes], key: str) -> Plan[Batch]:
        headers = {"Content-Type": NDJSON, "Idempotency-Key": key}
        body = first + b"".join(lines)
        return (yield from self._batch(Call("POST", "v1/batches", headers, body=body, longer=60)))

    def _batch(self, call: Call) -> Plan[Batch]:
        return Batch.from_json(read_json((yield from self._core.request(call))))

    def _ndjson(self, path: str, read: Callable[[Mapping[str, Any]], Any]) -> Flow:
        """Go through the lines of a document; when it breaks off it is asked for again, and gone on with."""
        told, failures = 0, 0
        while True:
            response = yield from self._core.repeat(partial(self._opened, path), again=True)
            number, rest = 0, b""
            try:
                source = yield Open(response)
                while (chunk := (yield Next(source))) is not END:
                    *lines, rest = (rest + chunk).split(b"\n")
                    for line in lines:
                        number += 1
                        if number > told:
                            yield Give(read(json.loads(line)))
                            told, failures = number, 0
            except httpx.TransportError as fault:
                failures += 1
                delay = self._core.retries.delay(failures)
                if delay is None:
                    raise UnreachableError(f"{response.url} breaks off: {fault}") from fault
                yield Pause(delay)
                continue
            finally:
                yield Close(response)
            if rest:
                yield Give(read(json.loads(rest)))
            return

    def _opened(self, path: str) -> Plan[httpx.Response]:
        request = self._core.build(Call("GET", path, {"Accept": NDJSON}))
        response: httpx.Response = yield Send(request, stream=True)
        if response.is_error:
            yield Read(response)
            raise Refused(response)
        return response


class FileStream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A file as the body of a request, from its beginning; for either kind of client."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        self._file.seek(0)
        while chunk := self._file.read(_CHUNK):
            yield chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for chunk in self:
            yield chunk


def path_of(id: str, action: str = "") -> str:  # noqa: A002
    """A batch's address below the service's."""
    path = f"v1/batches/{segment(id)}"
    return f"{path}/{action}" if action else path


def _line(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def _checked(item: Request) -> Request:
    if item.id is not None or item.idempotency_key is not None:
        raise ValueError("an item of a batch has a custom_id, and no ID or key of its own")
    return item
