"""The Python client: submit pictures, follow the job, collect the painting.

    with Impasto() as impasto:
        job = impasto.submit("bridge.jpg", ["https://example.org/starry.jpg"], spec={"size": 768})
        impasto.download(impasto.wait(job.id), "painting.png")

Every call is safe to repeat and is repeated by itself while the service is away for a moment. What the calls
do is written as plans (`client.jobs`, `client.many`, `client.batches`); `client.aio` has it for asyncio.
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
from client.transport import Transport


class Impasto:
    """A client of one service, good for many calls; close it, or use it in a `with` statement.

    May be used by several threads at once.

    Args:
        url: the service's address; `IMPASTO_URL`, else http://127.0.0.1:8000.
        token: bearer token; `IMPASTO_TOKEN`, else none.
        timeout: seconds to wait for a connection, and for each answer.
        retries: how persistent to be while the service is away.

    Attributes:
        batches: calls about batches.

    Every method may raise `ApiError` (the service said no, and why) or `UnreachableError` (no answer).
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        timeout: float = 30.0,
        retries: Retries | None = None,
    ) -> None:
        self._calls = Calls(url, token, timeout, retries)
        self._transport = Transport(timeout)
        self.batches = Batches(self._calls, self._transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def submit(
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
        """Hand in a job. Files and bytes are uploaded first, the same bytes once.

        Args:
            content: the picture to repaint.
            styles: one or more pictures to take the style from; a weight may stand beside each, and in a
                `Style` a mask and a region.
            init: the picture to start from; goes with `init` = `picture` in the spec.
            spec: what to do with them (fields of `shared.spec`, all optional).
            metadata: your own strings, kept with the job.
            priority: 0 (last) to 9 (first) among your own jobs.
            deadline_seconds: seconds from now after which the job is not wanted any more.
            webhook: an address that is to be told of the job's events; see `client.webhooks`.
            fresh: True to have it painted even where the same has been painted before.
            id: your own ID for the job; the same ID and request give the same job.
            idempotency_key: likewise for a day, where you have no ID of your own; a fresh one when not given.
                Repeat a request with a key or an ID of yours on `upload` references: another client's upload
                of a file has another reference, and that is another request.
        """
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
        return self._transport.run(self._calls.jobs.submit(request))

    def submit_many(self, requests: Iterable[Request], *, in_flight: int = 8) -> Iterator[Outcome]:
        """Hand in many jobs, some at a time; their outcomes as they come, not in order.

        The iterable is read only as far ahead as requests are in flight, and not while you do something else
        than to ask for the next outcome. A request that is refused is an outcome with an `error`; what the
        next one would meet too is raised: the service is away for longer than `Retries` says, or the token is
        not known. Give requests an `id` of your own to be able to begin again then.

        Args:
            requests: what to hand in.
            in_flight: requests at once.

        Raises:
            ApiError, UnreachableError: no request would be accepted now.
        """
        return self._transport.stream(submit_many(self._calls.jobs, requests, in_flight))

    def as_completed(
        self,
        jobs: Iterable[Watched],
        *,
        window: int = 256,
        in_flight: int = 8,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Iterator[Job]:
        """Watch jobs and have each as it ends, however it does: look at `succeeded`.

        Takes what `submit_many` gives, too: then at most `window` of the jobs are open at a time, and further
        ones are handed in as others end. The iterable is read on another thread.

        Args:
            jobs: jobs, their IDs, or outcomes; an outcome without a job raises its error.
            window: jobs watched at a time.
            in_flight: polls at once.
            on_progress: called with each job that has changed.
        """
        return self._transport.stream(as_completed(self._calls.jobs, jobs, window, in_flight, on_progress))

    def get(self, id: str) -> Job:  # noqa: A002
        """The job as it is now."""
        return self._transport.run(self._calls.jobs.get(id))

    def jobs(
        self, *, status: str | None = None, batch: str | None = None, page_size: int = 100
    ) -> Iterator[Job]:
        """Your jobs, newest first; pages are asked for as the iterator reaches them."""
        return self._transport.stream(self._calls.jobs.pages(status, batch, page_size))

    def cancel(self, id: str) -> Job:  # noqa: A002
        """Ask for the job to be stopped; a running one stops after its current step."""
        return self._transport.run(self._calls.jobs.cancel(id))

    def retry(self, id: str, *, idempotency_key: str | None = None) -> Job:  # noqa: A002
        """Hand in an ended job again: a new job that names the old one."""
        return self._transport.run(self._calls.jobs.retry(id, idempotency_key))

    def delete(self, id: str) -> None:  # noqa: A002
        """Remove an ended job and its pictures."""
        self._transport.run(self._calls.jobs.delete(id))

    def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Wait until the job has succeeded.

        The service is asked to hold its answer until there is news (`Prefer: wait`); one that does not is
        polled as often as its Retry-After says. Goes on while the service is away for a minute, as it is
        when it is started anew.

        Args:
            id: the job's ID.
            timeout: seconds after which to stop waiting; the job goes on.
            on_progress: called with the job when it has changed.

        Raises:
            JobFailed: it ended failed, canceled or expired.
            WaitTimeoutError: it did not end in time.
        """
        return self._transport.run(self._calls.jobs.wait(id, timeout, on_progress))

    def events(self, id: str, *, last_event_id: str | None = None) -> Iterator[Event]:  # noqa: A002
        """What happens to the job, until it has ended.

        Connects again by itself and goes on where it was; where there are no events to be had, a poll's
        changes are told, as events of type `job`.

        Args:
            id: the job's ID.
            last_event_id: begin after this event.
        """
        return self._transport.stream(self._calls.job_events(id, last_event_id))

    def download(self, job: Job, path: str | os.PathLike[str], on_chunk: OnChunk | None = None) -> Path:
        """Store the job's picture in a file: complete and with the promised SHA-256, or not at all.

        Args:
            job: a job that has succeeded.
            path: the file.
            on_chunk: called with the bytes so far and the bytes in all, where those are known.

        Raises:
            JobFailed, UnfinishedError: there is no picture.
            DamagedError: what arrived is not what was promised.
        """
        return self._transport.run(self._calls.jobs.download(job, Path(path), on_chunk))

    def upload(self, picture: str | os.PathLike[str] | bytes) -> Upload:
        """Hand in a picture, the same bytes once; its `ref` can stand for it in any number of jobs."""
        given = picture if isinstance(picture, bytes) else Path(picture)
        return self._transport.run(self._calls.pictures.upload(given))

    def backbones(self) -> tuple[BackboneInfo, ...]:
        """The feature networks that a spec can name, and which of them a worker offers now."""
        return self._transport.run(self._calls.jobs.backbones())

    def presets(self) -> tuple[PresetInfo, ...]:
        """The named specs that a spec can start from."""
        return self._transport.run(self._calls.jobs.presets())

    def webhook_secrets(self) -> tuple[str, ...]:
        """What your webhooks are signed with, for `client.webhooks.verify`; the present secret first."""
        return self._transport.run(self._calls.jobs.webhook_secrets())


class Batches:
    """Calls about batches: many jobs that are handed in, watched and collected as one."""

    def __init__(self, calls: Calls, transport: Transport) -> None:
        self._calls = calls
        self._transport = transport

    def create(
        self,
        items: Items,
        *,
        defaults: Request | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: WebhookLike | None = None,
        idempotency_key: str | None = None,
        background: bool = False,
    ) -> Batch:
        """Hand in up to 10 000 items, or a million in the background. All are accepted, or none.

        Args:
            items: requests, each with a `custom_id` where you want one. Files are uploaded.
            defaults: what they share, with content `""`: an item's own fields go before it, and `spec` and
                `metadata` are merged.
            metadata: your own strings, kept with the batch.
            webhook: an address that is to be told of the batch's events.
            idempotency_key: one of your own in place of one that is made.
            background: have the lines checked after the answer; the batch is `validating` until then.

        Raises:
            ApiError: items have faults: each with its line in `errors`.
            ValueError: there are more items than one request takes.
        """
        made = self._calls.batches.create(
            items, defaults, metadata, webhook, idempotency_key, background=background
        )
        return self._transport.run(made)

    def create_many(
        self,
        items: Items,
        *,
        defaults: Request | None = None,
        metadata: Mapping[str, str] | None = None,
        webhook: WebhookLike | None = None,
        idempotency_key: str | None = None,
        size: int = 10_000,
    ) -> Iterator[Batch]:
        """Hand in any number of items as batches of `size`, each when you ask for it.

        Args:
            items: as for `create`; read as far as the batch that is asked for.
            defaults: as for `create`, of each batch.
            metadata: likewise.
            webhook: likewise.
            idempotency_key: each batch has this and its number.
            size: items of a batch.
        """
        made = self._calls.batches.create_many(items, defaults, metadata, webhook, idempotency_key, size)
        return self._transport.stream(made)

    def get(self, id: str) -> Batch:  # noqa: A002
        """The batch as it is now."""
        return self._transport.run(self._calls.batches.get(id))

    def list(self, *, page_size: int = 100) -> Iterator[Batch]:
        """Your batches, newest first."""
        return self._transport.stream(self._calls.batches.pages(page_size))

    def items(self, id: str, *, status: str | None = None, page_size: int = 1000) -> Iterator[Job]:  # noqa: A002
        """The batch's jobs, in its order."""
        return self._transport.stream(self._calls.batches.items(id, status, page_size))

    def results(self, id: str) -> Iterator[Result]:  # noqa: A002
        """What came of each item, in the batch's order, as the answer arrives."""
        return self._transport.stream(self._calls.batches.results(id))

    def errors(self, id: str) -> Iterator[FieldError]:  # noqa: A002
        """Every fault of a batch that was found wanting in the background."""
        return self._transport.stream(self._calls.batches.errors(id))

    def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None = None,
        on_progress: Callable[[Batch], None] | None = None,
    ) -> Batch:
        """Wait until every item has ended, however it did: look at `counts`.

        Raises:
            BatchFailed: it was found wanting, or canceled.
            BatchTimeoutError: it did not end in time.
        """
        return self._transport.run(self._calls.batches.wait(id, timeout, on_progress))

    def events(self, id: str, *, last_event_id: str | None = None) -> Iterator[Event]:  # noqa: A002
        """What happens to the batch, until it has ended; as `Impasto.events`."""
        return self._transport.stream(self._calls.batch_events(id, last_event_id))

    def archive(
        self,
        id: str,  # noqa: A002
        path: str | os.PathLike[str],
        on_chunk: OnChunk | None = None,
    ) -> Path:
        """Store all pictures of an ended batch in a ZIP file: complete, or not at all.

        Waits while the service builds it.
        What has arrived when it breaks off is kept beside the file, and the next call goes on there.
        """
        return self._transport.run(self._calls.batches.archive(id, Path(path), on_chunk))

    def cancel(self, id: str) -> Batch:  # noqa: A002
        """Ask for every item that has not ended to be stopped."""
        return self._transport.run(self._calls.batches.cancel(id))

    def retry(self, id: str, *, idempotency_key: str | None = None) -> Batch:  # noqa: A002
        """Hand in again what failed, expired or was canceled: a new batch that names the old one."""
        return self._transport.run(self._calls.batches.retry(id, idempotency_key))

    def delete(self, id: str) -> None:  # noqa: A002
        """Remove an ended batch, its jobs and their pictures."""
        self._transport.run(self._calls.batches.delete(id))
