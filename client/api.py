"""The Python client: submit pictures, follow the job, collect the painting.

    with Impasto() as impasto:
        job = impasto.submit("bridge.jpg", ["https://example.org/starry.jpg"], spec={"size": 768})
        impasto.download(impasto.wait(job.id), "painting.png")

Every call is safe to repeat and is repeated by itself while the service is away for a moment.
"""

import math
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import quote

import httpx
from pydantic import BaseModel

from client.errors import (
    ApiError,
    ImpastoError,
    JobFailed,
    UnfinishedError,
    UnreachableError,
    WaitTimeoutError,
)
from client.models import BackboneInfo, Image, Job, PresetInfo, Style, Upload
from client.retries import LATER, Retries, retry_after
from client.transport import Transport

DEFAULT_URL = "http://127.0.0.1:8000"
#: Seconds between two polls where the service does not say.
POLL_SECONDS = 2.0
#: What a string must begin with to be passed on as it stands; any other string is a file's path.
REFERENCES = ("http://", "https://", "upload:", "data:")

#: A style as a caller may give it: the picture alone, with its weight, or a `Style`.
StyleLike = Image | tuple[Image, float] | Style


class Impasto:
    """A client of one service, good for many calls; close it, or use it in a `with` statement.

    Args:
        url: the service's address; `IMPASTO_URL`, else http://127.0.0.1:8000.
        token: bearer token; `IMPASTO_TOKEN`, else none.
        timeout: seconds to wait for a connection, and for each answer.
        retries: how persistent to be while the service is away.

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
        self._retries = retries or Retries()
        self._transport = Transport(
            url or os.environ.get("IMPASTO_URL") or DEFAULT_URL,
            token or os.environ.get("IMPASTO_TOKEN") or None,
            timeout,
            self._retries,
        )

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
        id: str | None = None,  # noqa: A002 - the wire's name
        idempotency_key: str | None = None,
    ) -> Job:
        """Hand in a job. Files and bytes are uploaded first.

        Args:
            content: the picture to repaint.
            styles: one or more pictures to take the style from; a weight may stand beside each, and in a
                `Style` a mask and a region.
            init: the picture to start from; goes with `init` = `picture` in the spec.
            spec: what to do with them (fields of `shared.spec`, all optional).
            metadata: your own strings, kept with the job.
            priority: 0 (last) to 9 (first) among your own jobs.
            deadline_seconds: seconds from now after which the job is not wanted any more.
            id: your own ID for the job; the same ID and request give the same job.
            idempotency_key: likewise for a day, where you have no ID of your own; a fresh one when not given.
                Repeat a request with a key or an ID of yours on `upload` references: uploading a file
                again gives it another reference, and that is another request.
        """
        if isinstance(styles, str | bytes):
            raise TypeError("styles is a sequence of pictures: put a single one in a list")
        body: dict[str, Any] = {
            "content": self._reference(content),
            "styles": [self._style(style) for style in styles],
        }
        if init is not None:
            body["init"] = self._reference(init)
        if isinstance(spec, BaseModel):
            spec = spec.model_dump(mode="json", exclude_none=True)
        optional = {
            "spec": spec,
            "metadata": metadata,
            "priority": priority,
            "deadline_seconds": deadline_seconds,
        }
        body |= {name: value for name, value in optional.items() if value is not None}
        if id is None:
            headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
            response = self._transport.request("POST", "v1/jobs", json=body, headers=headers)
        else:
            response = self._transport.request("PUT", _job(id), json=body)
        return _read(response)

    def get(self, id: str) -> Job:  # noqa: A002
        """The job as it is now."""
        return _read(self._transport.request("GET", _job(id)))

    def jobs(self, *, status: str | None = None, page_size: int = 100) -> Iterator[Job]:
        """Your jobs, newest first; pages are asked for as the iterator reaches them."""
        params: dict[str, str | int] = {"limit": page_size}
        if status is not None:
            params["status"] = status
        while True:
            page = _json(self._transport.request("GET", "v1/jobs", params=params))
            yield from map(Job.from_json, page["jobs"])
            if not page.get("next_page_token"):
                return
            params["page_token"] = page["next_page_token"]

    def cancel(self, id: str) -> Job:  # noqa: A002
        """Ask for the job to be stopped; a running one stops after its current step."""
        return _read(self._transport.request("POST", _job(id, "cancel")))

    def retry(self, id: str) -> Job:  # noqa: A002
        """Hand in an ended job again: a new job that names the old one."""
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return _read(self._transport.request("POST", _job(id, "retry"), headers=headers))

    def delete(self, id: str) -> None:  # noqa: A002
        """Remove an ended job and its pictures."""
        self._transport.request("DELETE", _job(id))

    def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None = None,
        on_progress: Callable[[Job], None] | None = None,
    ) -> Job:
        """Poll until the job has succeeded.

        Polls as often as the service's Retry-After says; what did not change is not sent again (ETag). Goes
        on while the service is away for a minute, as it is when it is started anew.

        Args:
            id: the job's ID.
            timeout: seconds after which to stop waiting; the job goes on.
            on_progress: called with the job when it has changed.

        Raises:
            JobFailed: it ended failed, canceled or expired.
            WaitTimeoutError: it did not end in time.
        """
        give_up_at = math.inf if timeout is None else time.monotonic() + timeout
        look = None
        while True:
            look = self._look_patiently(id, look, give_up_at)
            if on_progress and look.changed:
                on_progress(look.job)
            if look.job.succeeded:
                return look.job
            if look.job.ended:
                raise JobFailed(look.job)
            left = give_up_at - time.monotonic()
            if left <= 0:
                raise WaitTimeoutError(look.job)
            time.sleep(min(look.pause, left))

    def download(self, job: Job, path: str | os.PathLike[str]) -> Path:
        """Store the job's picture in a file: complete and with the promised SHA-256, or not at all.

        Raises:
            JobFailed, UnfinishedError: there is no picture.
            DamagedError: what arrived is not what was promised.
        """
        if job.output is None:
            raise JobFailed(job) if job.ended else UnfinishedError(job)
        target = Path(path)
        self._transport.save(job.output.url, target, job.output.sha256)
        return target

    def upload(self, picture: str | os.PathLike[str] | bytes) -> Upload:
        """Hand in a picture; its `ref` can stand for it in any number of jobs."""
        data = picture if isinstance(picture, bytes) else Path(picture).read_bytes()
        name = "picture" if isinstance(picture, bytes) else Path(picture).name
        answer = _json(self._transport.request("POST", "v1/uploads", files={"file": (name, data)}))
        return Upload(answer["id"], answer["image"], answer.get("width"), answer.get("height"))

    def backbones(self) -> tuple[BackboneInfo, ...]:
        """The feature networks that a spec can name, and which of them a worker offers now."""
        answer = _json(self._transport.request("GET", "v1/backbones"))
        return tuple(
            BackboneInfo(
                one["name"], one.get("description", ""), one["available"], tuple(one.get("layers", ())), one
            )
            for one in answer["backbones"]
        )

    def presets(self) -> tuple[PresetInfo, ...]:
        """The named specs that a spec can start from."""
        answer = _json(self._transport.request("GET", "v1/presets"))
        return tuple(
            PresetInfo(one["name"], one.get("description", ""), one.get("spec") or {})
            for one in answer["presets"]
        )

    def _look_patiently(self, id: str, before: "_Look | None", give_up_at: float) -> "_Look":  # noqa: A002
        until = min(give_up_at, time.monotonic() + self._retries.absence_seconds)
        while True:
            try:
                return self._look(id, before)
            except (UnreachableError, ApiError) as error:
                away = isinstance(error, UnreachableError) or error.status in LATER
                if not away or time.monotonic() >= until:
                    raise
                time.sleep(self._retries.first_seconds)

    def _look(self, id: str, before: "_Look | None") -> "_Look":  # noqa: A002
        headers = {"If-None-Match": before.etag} if before and before.etag else {}
        response = self._transport.request("GET", _job(id), headers=headers)
        asked = retry_after(response.headers)
        pause = POLL_SECONDS if asked is None else asked
        if before and response.status_code == HTTPStatus.NOT_MODIFIED:
            return replace(before, pause=pause, changed=False)
        return _Look(_read(response), response.headers.get("etag"), pause)

    def _style(self, style: StyleLike) -> str | dict[str, Any]:
        if isinstance(style, tuple):
            style = Style(*style)
        if isinstance(style, Style):
            parts = {"mask": style.mask, "region": style.region}
            named = {name: self._reference(part) for name, part in parts.items() if part is not None}
            return {"image": self._reference(style.image), "weight": style.weight} | named
        return self._reference(style)

    def _reference(self, image: Image) -> str:
        if isinstance(image, str) and image.startswith(REFERENCES):
            return image
        return self.upload(image).ref


@dataclass(frozen=True)
class _Look:
    """One poll: the job, its ETag, seconds until the next, whether it is news."""

    job: Job
    etag: str | None
    pause: float
    changed: bool = True


def _json(response: httpx.Response) -> Any:  # noqa: ANN401 - JSON
    try:
        return response.json()
    except ValueError as error:
        raise ImpastoError(f"{response.url} answers, but not as Impasto does") from error


def _read(response: httpx.Response) -> Job:
    return Job.from_json(_json(response))


def _job(id: str, action: str = "") -> str:  # noqa: A002
    path = f"v1/jobs/{quote(id, safe='')}"
    return f"{path}/{action}" if action else path
