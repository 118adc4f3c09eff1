"""The client for asyncio: what `client.api` has, awaited.

    async with AsyncImpasto() as impasto:
        job = await impasto.submit("bridge.jpg", ["starry.jpg"])
        await impasto.download(await impasto.wait(job.id), "painting.png")

Every call is the same plan as the blocking client's, carried out by the other driver.
"""

import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pydantic import BaseModel

from client.batches import Items
from client.calls import Calls
from client.core import OnChunk
from client.errors import FieldError
from client.many import Watched, as_completed, submit_many
from client.models import (
    BackboneInfo,
    Batch,
    Event,
    Image,
    Job,
    Outcome,
    PresetInfo,
    Request,
    Result,
    StyleLike,
    Upload,
    WebhookLike,
)
from client.retries import Retries
from client.transport import AsyncTransport


class AsyncImpasto:
    """As `Impasto`, for one event loop; close it, or use it in an `async with` statement."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        self._calls = Calls(url, token, timeout, retries)
        self._transport = AsyncTransport(timeout)
        self.batches = AsyncBatches(self._calls, self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.close()

    async def submit(
        self,
        content: Image,
        styles: Sequence[StyleLike],
        *,
        init: Image | None = None,
        spec: Mapping[str, Any] | BaseModel | None = None,
        metadata: Mapping[str, str] | None = None,
        priority: int | None = None,
        deadline_seconds: float | None = None,
        webhook: WebhookLike | None = None,
        fresh: bool | None = None,
        id: str | None = None,  # noqa: A002 - the wire's name
        idempotency_key: str | None = None,
    ) -> Job:
        """See `Impasto.submit`."""
        request = Request(
            content,
            styles,
            init=init,
            spec=spec,
            metadata=metadata,
            priority=priority,
            deadline_seconds=deadline_seconds,
            webhook=webhook,
            fresh=fresh,
            id=id,
            idempotency_key=idempotency_key,
        )
        return await self._transport.run(self._calls.jobs.submit(request))

    def submit_many(
        self, requests: Iterable[Request] | AsyncIterable[Request], *, in_flight: int = 8
    ) -> AsyncIterator[Outcome]:
        """See `Impasto.submit_many`."""
        return self._transport.stream(submit_many(self._calls.jobs, requests, in_flight))

    def as_completed(
        self,
        jobs: Iterable[Watched] | AsyncIterable[Watched],
        *,
        window: int = 256,
        in_flight: int = 8,
        on_progress: Callable[[Job], None] | None = None,
    ) -> AsyncIterator[Job]:
        """See `Impasto.as_completed`."""
        return self._transport.stream(as_completed(self._calls.jobs, jobs, window, in_flight, on_progress))

    async def get(self, id: str) -> Job:  # noqa: A002
        """See `Impasto.get`."""
        return await self._transport.run(self._calls.jobs.get(id))

    def jobs(
        self, *, status: str | None = None, batch: str | None = None, page_size: int = 100
    ) -> AsyncIterator[Job]:
        """See `Impasto.jobs`."""
        return self._transport.stream(self._calls.jobs.pages(status, batch, page_size))

    async def cancel(self, id: str) -> Job:  # noqa: A002
        """See `Impasto.cancel`."""
        return await self._transport.run(self._calls.jobs.cancel(id))

    async def retry(self, id: str, *, idempotency_key: str | None = None) -> Job:  # noqa: A002
        """See `Impasto.retry`."""
        return await self._transport.run(self._calls.jobs.retry(id, idempotency_key))

    async def delete(self, id: str) -> None:  # noqa: A002
        """See `Impasto.delete`."""
        await self._transport.run(self._calls.jobs.delete(id))

    async def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None = None,  # noqa: ASYNC109 - as in `Impasto`
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """See `Impasto.wait`."""
        return await self._transport.run(self._calls.jobs.wait(id, timeout, on_progress))

    def events(self, id: str, *, last_event_id: str | None = None) -> AsyncIterator[Event]:  # noqa: A002
        """See `Impasto.events`."""
        return self._transport.stream(self._calls.job_events(id, last_event_id))

    async def download(self, job: Job, path: str | os.PathLike[str], on_chunk: OnChunk | None = None) -> Path:
        """See `Impasto.download`."""
        return await self._transport.run(self._calls.jobs.download(job, Path(path), on_chunk))

    async def upload(self, picture: str | os.PathLike[str] | bytes) -> Upload:
        """See `Impasto.upload`."""
        given = picture if isinstance(picture, bytes) else Path(picture)
        return await self._transport.run(self._calls.pictures.upload(given))

    async def backbones(self) -> tuple[BackboneInfo, ...]:
        """See `Impasto.backbones`."""
        return await self._transport.run(self._calls.jobs.backbones())

    async def presets(self) -> tuple[PresetInfo, ...]:
        """See `Impasto.presets`."""
        return await self._transport.run(self._calls.jobs.presets())

    async def webhook_secrets(self) -> tuple[str, ...]:
        """See `Impasto.webhook_secrets`."""
        return await self._transport.run(self._calls.jobs.webhook_secrets())


class AsyncBatches:
    """As `Batches`."""

    def __init__(self, calls: Calls, transport: AsyncTransport) -> None:
        self._calls = calls
        self._transport = transport

    async def create(
        self,
        items: Items,
        *,
        defaults: Request | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: WebhookLike | None = None,
        idempotency_key: str | None = None,
        background: bool = False,
    ) -> Batch:
        """See `Batches.create`."""
        made = self._calls.batches.create(
            items, defaults, metadata, webhook, idempotency_key, background=background
        )
        return await self._transport.run(made)

    def create_many(
        self,
        items: Items,
        *,
        defaults: Request | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: WebhookLike | None = None,
        idempotency_key: str | None = None,
        size: int = 10_000,
    ) -> AsyncIterator[Batch]:
        """See `Batches.create_many`."""
        made = self._calls.batches.create_many(items, defaults, metadata, webhook, idempotency_key, size)
        return self._transport.stream(made)

    async def get(self, id: str) -> Batch:  # noqa: A002
        """See `Batches.get`."""
        return await self._transport.run(self._calls.batches.get(id))

    def list(self, *, page_size: int = 100) -> AsyncIterator[Batch]:
        """See `Batches.list`."""
        return self._transport.stream(self._calls.batches.pages(page_size))

    def items(self, id: str, *, status: str | None = None, page_size: int = 1000) -> AsyncIterator[Job]:  # noqa: A002
        """See `Batches.items`."""
        return self._transport.stream(self._calls.batches.items(id, status, page_size))

    def results(self, id: str) -> AsyncIterator[Result]:  # noqa: A002
        """See `Batches.results`."""
        return self._transport.stream(self._calls.batches.results(id))

    def errors(self, id: str) -> AsyncIterator[FieldError]:  # noqa: A002
        """See `Batches.errors`."""
        return self._transport.stream(self._calls.batches.errors(id))

    async def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None = None,  # noqa: ASYNC109 - as in `Impasto`
        on_progress: Callable[[Batch], None] | None = None,
    ) -> Batch:
        """See `Batches.wait`."""
        return await self._transport.run(self._calls.batches.wait(id, timeout, on_progress))

    def events(self, id: str, *, last_event_id: str | None = None) -> AsyncIterator[Event]:  # noqa: A002
        """See `Batches.events`."""
        return self._transport.stream(self._calls.batch_events(id, last_event_id))

    async def archive(
        self,
        id: str,  # noqa: A002
        path: str | os.PathLike[str],
        on_chunk: OnChunk | None = None,
    ) -> Path:
        """See `Batches.archive`."""
        return await self._transport.run(self._calls.batches.archive(id, Path(path), on_chunk))

    async def cancel(self, id: str) -> Batch:  # noqa: A002
        """See `Batches.cancel`."""
        return await self._transport.run(self._calls.batches.cancel(id))

    async def retry(self, id: str, *, idempotency_key: str | None = None) -> Batch:  # noqa: A002
        """See `Batches.retry`."""
        return await self._transport.run(self._calls.batches.retry(id, idempotency_key))

    async def delete(self, id: str) -> None:  # noqa: A002
        """See `Batches.delete`."""
        await self._transport.run(self._calls.batches.delete(id))
