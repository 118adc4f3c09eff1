"""What can be asked about jobs, as plans (`client.plans`)."""

import uuid
from collections.abc import Callable
from pathlib import Path

from client.core import Call, Core, OnChunk, pages, read_json, segment
from client.errors import ApiError, JobFailed, UnfinishedError, WaitTimeoutError
from client.looking import Watch
from client.models import BackboneInfo, Job, PresetInfo, Request
from client.pictures import Pictures, pictures_of, reference
from client.plans import Flow, Plan


class Jobs:
    """Calls about jobs of one service."""

    def __init__(self, core: Core, pictures: Pictures) -> None:
        self._core = core
        self._pictures = pictures
        self.retries = core.retries

    def submit(self, request: Request) -> Plan[Job]:
        """See `Impasto.submit`."""
        key = request.idempotency_key or uuid.uuid4().hex
        try:
            return (yield from self._submit(request, key))
        except ApiError as error:
            ours = [picture for picture in pictures_of(request) if reference(picture) is None]
            if error.code != "upload_not_found" or not ours:
                raise
            # Handed in so long ago that the service has deleted it. What was refused has used up no key.
            yield from self._pictures.forget(ours)
            return (yield from self._submit(request, key))

    def get(self, id: str) -> Plan[Job]:  # noqa: A002 - the wire's name
        """See `Impasto.get`."""
        return (yield from self._job(Call("GET", path_of(id))))

    def pages(self, status: str | None, batch: str | None, page_size: int) -> Flow:
        """See `Impasto.jobs`."""
        params = {"status": status, "batch": batch, "limit": page_size}
        yield from pages(self._core, "v1/jobs", "jobs", params, Job.from_json)

    def cancel(self, id: str) -> Plan[Job]:  # noqa: A002
        """See `Impasto.cancel`."""
        return (yield from self._job(Call("POST", path_of(id, "cancel"), again=True)))

    def retry(self, id: str, key: str | None = None) -> Plan[Job]:  # noqa: A002
        """See `Impasto.retry`."""
        headers = {"Idempotency-Key": key or uuid.uuid4().hex}
        return (yield from self._job(Call("POST", path_of(id, "retry"), headers)))

    def delete(self, id: str) -> Plan[None]:  # noqa: A002
        """See `Impasto.delete`."""
        yield from self._core.remove(path_of(id))

    def watch(self, id: str) -> Watch[Job]:  # noqa: A002
        """How to look at a job."""
        return Watch(self._core, path_of(id), Job.from_json)

    def wait(
        self,
        id: str,  # noqa: A002
        timeout: float | None,
        on_progress: Callable[[Job], None] | None,
    ) -> Plan[Job]:
        """See `Impasto.wait`."""
        job, ended = yield from self.watch(id).until(lambda job: job.ended, timeout, on_progress)
        if not ended:
            raise WaitTimeoutError(job)
        if not job.succeeded:
            raise JobFailed(job)
        return job

    def download(self, job: Job, path: Path, on_chunk: OnChunk | None = None) -> Plan[Path]:
        """See `Impasto.download`."""
        if job.output is None:
            raise JobFailed(job) if job.ended else UnfinishedError(job)
        yield from self._core.save(job.output.url, path, job.output.sha256, on_chunk)
        return path

    def backbones(self) -> Plan[tuple[BackboneInfo, ...]]:
        """See `Impasto.backbones`."""
        answer = read_json((yield from self._core.request(Call("GET", "v1/backbones"))))
        return tuple(
            BackboneInfo(
                one["name"], one.get("description", ""), one["available"], tuple(one.get("layers", ())), one
            )
            for one in answer["backbones"]
        )

    def presets(self) -> Plan[tuple[PresetInfo, ...]]:
        """See `Impasto.presets`."""
        answer = read_json((yield from self._core.request(Call("GET", "v1/presets"))))
        return tuple(
            PresetInfo(one["name"], one.get("description", ""), one.get("spec") or {})
            for one in answer["presets"]
        )

    def webhook_secrets(self) -> Plan[tuple[str, ...]]:
        """See `Impasto.webhook_secrets`."""
        answer = read_json((yield from self._core.request(Call("GET", "v1/webhooks/secret"))))
        return (answer["secret"], *(one["secret"] for one in answer.get("previous", ())))

    def _submit(self, request: Request, key: str) -> Plan[Job]:
        path = None if request.id is None else path_of(request.id)  # refused before anything is uploaded
        body = yield from self._pictures.body(request)
        body.setdefault("styles", [])
        if path is None:
            call = Call("POST", "v1/jobs", {"Idempotency-Key": key}, json=body)
        else:
            call = Call("PUT", path, json=body)
        return (yield from self._job(call))

    def _job(self, call: Call) -> Plan[Job]:
        return Job.from_json(read_json((yield from self._core.request(call))))


def path_of(id: str, action: str = "") -> str:  # noqa: A002
    """A job's address below the service's."""
    path = f"v1/jobs/{segment(id)}"
    return f"{path}/{action}" if action else path
