"""One attempt at one job: its pictures, what it tells while it is painted, and how it ends.

Which jobs are painted together, and when, is `worker.paint`'s; holding the claim is `worker.lease`. Nothing
is published without the fence, and what was stored under a lost fence is taken away again. Whatever goes
wrong in an attempt ends that attempt: nothing that befalls one job of a batch reaches another.
"""

import hashlib
import logging
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TypeVar

import torch

from shared.bells import ring
from shared.errors import (
    BackboneUnavailable,
    Fault,
    InternalFault,
    InvalidRequest,
    OutOfMemory,
    PaintingDiverged,
    StorageUnavailable,
    StoreUnavailable,
)
from shared.jobs.record import Checkpoint as CheckpointPointer
from shared.jobs.record import Output, PaintProgress, Queue, Stage
from shared.jobs.store import JobStore, LeaseLostError
from shared.objects import ObjectMissingError, ObjectStore
from shared.settings import Settings
from worker import pictures
from worker.engine import (
    BackboneUnavailableError,
    Checkpoint,
    CheckpointError,
    DivergedError,
    Outcome,
    Progress,
    Request,
    Stopped,
    UnknownLayerError,
    files,
)
from worker.lease import Lease, Stop

log = logging.getLogger(__name__)
T = TypeVar("T")

PREVIEW_SECONDS = 2.0
PREVIEW_QUALITY = 80
#: A checkpoint costs a moment; none is worth taking more often than this.
MIN_CHECKPOINT_SECONDS = 1.0


class Attempt:
    """An attempt under way. Neither its methods nor the callbacks that it hands out raise.

    Args:
        store: where the job's record is.
        objects: where its pictures are.
        config: the settings.
        lease: the claim that is held.

    Attributes:
        ended: True once there is nothing more to do for the job.
    """

    def __init__(self, store: JobStore, objects: ObjectStore, config: Settings, lease: Lease) -> None:
        self.ended = False
        self._store = store
        self._objects = objects
        self._config = config
        self._lease = lease
        self._claim = lease.claim
        self._job = lease.claim.job
        self._checkpoint, self._resumes = self._job.checkpoint, True
        self._checkpoints = 0
        self._together = 1
        self._started = self._checkpointed = self._previewed = time.monotonic()
        self._begun_step, self._begun_at = 0, self._started

    def request(self) -> Request | None:
        """What the engine is asked for, from the newest checkpoint on; None when that ended the attempt."""
        return self._guarded(self._request)

    def begin(self, together: int) -> None:
        """The engine is asked now, for so many pictures at once."""
        self._together = together
        self._begun_at = time.monotonic()

    def start_over(self, error: CheckpointError) -> None:
        """Let the next request be from the beginning, since the engine refused the checkpoint."""
        log.warning("job %s: starting over, the checkpoint is of no use: %s", self._job.id, error)
        self._resumes = False

    def settle(self, result: Outcome | Exception, painted_at: float) -> None:
        """End the attempt as the engine's answer demands, unless it has ended already.

        Args:
            result: what the engine answered for this job.
            painted_at: when it did, by the monotonic clock.
        """
        if not self.ended:
            self._guarded(lambda: self._settle(result, painted_at))
            self._end()

    def _guarded(self, action: Callable[[], T]) -> T | None:
        """Do a part of the work. Whatever goes wrong in it ends the attempt: None then."""
        try:
            try:
                return action()
            except (LeaseLostError, StoreUnavailable):
                raise
            except Exception as error:  # noqa: BLE001 - each kind has its fault, which is logged
                self._fail(self._fault_of(error))
        except LeaseLostError:
            log.warning("job %s: the lease was lost; nothing was published", self._job.id)
        except StoreUnavailable:
            log.warning("job %s: the job store stayed away; the reaper will see to it", self._job.id)
        except Exception:
            log.exception("job %s: left to the reaper", self._job.id)
        self._end()
        return None

    def _fault_of(self, error: Exception) -> Fault:
        match error:
            case Fault():
                return error
            case torch.OutOfMemoryError():
                return OutOfMemory(
                    "the device ran out of memory: ask for a smaller `size`", pointer="/spec/size"
                )
            case DivergedError():
                return PaintingDiverged(f"{error}: lower the style weight or use Adam", pointer="/spec")
            case BackboneUnavailableError():
                return BackboneUnavailable(str(error), pointer="/spec/backbone")
            case UnknownLayerError():
                return InvalidRequest(str(error), pointer=f"/spec/{self._naming(error.layers[0])}")
            case _:
                log.error("job %s: attempt failed", self._job.id, exc_info=error)
                return InternalFault(f"{type(error).__name__} while painting")

    def _naming(self, layer: str) -> str:
        """The spec's field that names a layer."""
        return "content_layers" if layer in (self._job.spec.content_layers or {}) else "style_layers"

    def _end(self) -> None:
        self.ended = True
        self._lease.close()

    # Before it is painted.

    def _request(self) -> Request:
        loaded = pictures.load(self._job, self._objects)
        resume = self._resumable()
        self._begun_step = resume.step if resume else 0
        self._lease.moved()
        return Request(
            loaded.content,
            loaded.styles,
            self._job.spec,
            loaded.init,
            on_progress=lambda progress: self._guarded(lambda: self._on_progress(progress)),
            should_stop=self._should_stop,
            resume=resume,
        )

    def _resumable(self) -> Checkpoint | None:
        pointer = self._checkpoint
        if pointer is None or not self._resumes:
            return None
        try:
            checkpoint = Checkpoint.from_bytes(self._objects.get(pointer.key))
        except (ObjectMissingError, CheckpointError) as error:
            log.warning("job %s: starting over, the checkpoint is of no use: %s", self._job.id, error)
            return None
        log.info("job %s: going on from step %d", self._job.id, pointer.step)
        return checkpoint

    # While it is painted.

    def _should_stop(self) -> bool:
        stop = self._lease.stop
        if stop is Stop.CANCEL and not self.ended:
            # The others of a batch may have long to go; who canceled this one need not wait for them.
            self._guarded(self._cancel_now)
        return self.ended or stop is not None

    def _cancel_now(self) -> None:
        try:
            self._canceled()
        except StoreUnavailable:
            log.warning("job %s: canceled, but the job store does not answer", self._job.id)

    def _canceled(self) -> None:
        self._store.canceled(self._claim)
        log.info("job %s: canceled", self._job.id)
        self._end()
        self._tidy()

    def _on_progress(self, progress: Progress) -> None:
        if self.ended:
            return
        self._lease.moved(
            PaintProgress(
                step=progress.step,
                steps=progress.steps,
                level=progress.level,
                levels=progress.levels,
                loss=progress.losses,
            ),
            stage=Stage.PAINTING,
        )
        if progress.step == progress.steps:
            return
        now = time.monotonic()
        if now - self._previewed >= PREVIEW_SECONDS * self._together:
            self._previewed = now
            self._preview(progress)
        if now - self._checkpointed >= self._checkpoint_interval(progress, now):
            self._checkpointed = now
            self._keep(progress.checkpoint())

    def _checkpoint_interval(self, progress: Progress, now: float) -> float:
        """The shorter of the setting and a tenth of the time that the job is expected to take."""
        done = max(progress.step - self._begun_step, 1)
        expected = (now - self._begun_at) / done * progress.steps
        shortest = MIN_CHECKPOINT_SECONDS * self._together
        return max(min(self._config.checkpoint_seconds, expected / 10), shortest)

    def _preview(self, progress: Progress) -> None:
        key = f"previews/{self._job.uid}"
        try:
            self._objects.put(key, files.encode(progress.image(), "jpeg", PREVIEW_QUALITY), "image/jpeg")
        except StorageUnavailable:
            log.warning("job %s: no preview, the object store does not answer", self._job.id)
        else:
            self._lease.moved(preview_key=key)

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Store a checkpoint and point the record at it; a checkpoint that fails is merely missed."""
        self._checkpoints += 1
        key = f"checkpoints/{self._job.uid}/{self._claim.fence}-{self._checkpoints}"
        try:
            self._objects.put(key, checkpoint.to_bytes(), "application/octet-stream")
        except StorageUnavailable:
            log.warning("job %s: no checkpoint, the object store does not answer", self._job.id)
            return
        pointer = CheckpointPointer(key, checkpoint.step)
        try:
            replaced = self._store.checkpoint(self._claim, pointer)
        except LeaseLostError:
            self._discard(key)
            raise
        except StoreUnavailable:
            # It may have been noted all the same: the object stays, and a chore sweeps it if not.
            log.warning("job %s: the job store does not answer; the checkpoint may not count", self._job.id)
            return
        self._checkpoint, self._resumes = pointer, True
        if replaced:
            self._discard(replaced)

    # When it ends.

    def _settle(self, result: Outcome | Exception, painted_at: float) -> None:
        match result:
            case Outcome():
                self._publish(result, painted_at)
            case Stopped():
                self._end_early(result.checkpoint)
            case _:
                raise result

    def _publish(self, outcome: Outcome, painted_at: float) -> None:
        if self._lease.stop is Stop.LOST:
            raise LeaseLostError(self._job.uid)
        storing_at = time.monotonic()
        self._lease.moved(stage=Stage.STORING)
        spec = self._job.spec
        data = files.encode(outcome.image, spec.output_format, spec.output_quality)
        key = f"outputs/{self._job.uid}/{self._claim.fence}.{files.EXTENSIONS[spec.output_format]}"
        output = Output(
            key=key,
            sha256=hashlib.sha256(data).hexdigest(),
            bytes=len(data),
            width=outcome.image.shape[2],
            height=outcome.image.shape[1],
            content_type=files.CONTENT_TYPES[spec.output_format],
        )
        self._objects.put(key, data, output.content_type)
        stat = self._objects.stat(key)
        if stat is None or stat.size != output.bytes:
            raise StorageUnavailable("the object store does not hold the result it accepted")
        stored_at = time.monotonic()
        finish = partial(
            self._store.finish,
            self._claim,
            output,
            seconds={
                "paint": round(painted_at - self._started, 3),
                "store": round(stored_at - storing_at, 3),
            },
            evaluations=outcome.evaluations,
            loss=outcome.losses,
            batch=outcome.batch,
        )
        try:
            self._lease.insist(finish)
        except LeaseLostError:
            self._discard(key)
            raise
        log.info("job %s: succeeded in %.1f s", self._job.id, painted_at - self._started)
        self._tidy()

    def _end_early(self, checkpoint: Checkpoint) -> None:
        """The work was stopped: hand the job back as the reason demands."""
        match self._lease.stop:
            case Stop.CANCEL:
                self._lease.insist(self._canceled)
            case Stop.DRAIN:
                self._keep(checkpoint)
                if self._lease.insist(lambda: self._store.release(self._claim)):
                    ring(Queue.PAINT)
                log.info("job %s: put back at step %d", self._job.id, checkpoint.step)
            case _:
                raise LeaseLostError(self._job.uid)

    def _fail(self, fault: Fault) -> None:
        log.warning("job %s: %s: %s", self._job.id, fault.code, fault.detail)
        if self._lease.insist(lambda: self._store.fail(self._claim, fault)).status.terminal:
            self._tidy()

    def _tidy(self) -> None:
        """Take away what only a running job needs."""
        self._discard(f"previews/{self._job.uid}")
        if self._checkpoint:
            self._discard(self._checkpoint.key)

    def _discard(self, key: str) -> None:
        # What stays behind is swept by a chore.
        with suppress(StorageUnavailable):
            self._objects.delete(key)
