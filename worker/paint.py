"""One job from claim to stored picture: the paint worker's task.

Painting itself is `worker.engine`; holding the claim is `worker.lease`. What stands here is the order of
things: load, resume, paint with checkpoints and previews, store, publish. Nothing is published without the
fence, and what was stored under a lost fence is taken away again.
"""

import hashlib
import logging
import threading
import time
from contextlib import suppress
from functools import partial

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
from shared.jobs.store import Claim, JobStore, LeaseLostError
from shared.objects import ObjectMissingError, ObjectStore
from shared.settings import Settings
from worker import pictures
from worker.engine import (
    BackboneUnavailableError,
    Checkpoint,
    CheckpointError,
    DivergedError,
    Engine,
    Outcome,
    Progress,
    Stopped,
    UnknownLayerError,
    files,
)
from worker.lease import Lease, Stop

log = logging.getLogger(__name__)

PREVIEW_SECONDS = 2.0
PREVIEW_QUALITY = 80
#: A checkpoint costs a moment; none is worth taking more often than this.
MIN_CHECKPOINT_SECONDS = 1.0


class Painter:
    """Claims and paints one job at a time."""

    def __init__(
        self,
        store: JobStore,
        objects: ObjectStore,
        engine: Engine,
        config: Settings,
        name: str,
        draining: threading.Event,
    ) -> None:
        self._store = store
        self._objects = objects
        self._engine = engine
        self._config = config
        self._name = name
        self._draining = draining

    def work(self) -> bool:
        """Claim a job and bring it as far as it goes; False when none was waiting."""
        claim = self._store.claim(Queue.PAINT, self._name, self._engine.backbones())
        if claim is None:
            return False
        log.info("job %s: painting, attempt %d", claim.job.id, claim.job.attempt)
        lease = Lease(
            self._store,
            claim,
            lease_seconds=self._config.lease_seconds,
            stall_seconds=self._config.paint_stall_seconds,
            draining=self._draining,
        )
        try:
            with lease:
                _Attempt(self._store, self._objects, self._engine, self._config, lease).run()
        except LeaseLostError:
            log.warning("job %s: the lease was lost; nothing was published", claim.job.id)
        except StoreUnavailable:
            log.warning("job %s: the job store stayed away; the reaper will see to it", claim.job.id)
        return True


class _Attempt:
    """One attempt at one job."""

    def __init__(
        self, store: JobStore, objects: ObjectStore, engine: Engine, config: Settings, lease: Lease
    ) -> None:
        self._store = store
        self._objects = objects
        self._engine = engine
        self._config = config
        self._lease = lease
        self._claim: Claim = lease.claim
        self._job = lease.claim.job
        self._checkpoints = 0
        self._checkpoint_key = self._job.checkpoint.key if self._job.checkpoint else None
        self._started = self._checkpointed = self._previewed = time.monotonic()

    def run(self) -> None:
        """Paint and publish, or end the attempt as its fault or stop demands."""
        try:
            outcome = self._paint()
            self._publish(outcome)
        except Stopped as stopped:
            self._end_early(stopped.checkpoint)
        except (LeaseLostError, StoreUnavailable):
            raise
        except Fault as fault:
            self._fail(fault)
        except torch.OutOfMemoryError:
            self._fail(
                OutOfMemory("the device ran out of memory: ask for a smaller `size`", pointer="/spec/size")
            )
        except DivergedError as error:
            self._fail(PaintingDiverged(f"{error}: lower the style weight or use Adam", pointer="/spec"))
        except BackboneUnavailableError as error:
            self._fail(BackboneUnavailable(str(error), pointer="/spec/backbone"))
        except UnknownLayerError as error:
            self._fail(InvalidRequest(str(error), pointer=f"/spec/{self._naming(error.layers[0])}"))
        except Exception as error:
            log.exception("job %s: attempt failed", self._job.id)
            self._fail(InternalFault(f"{type(error).__name__} while painting"))

    def _naming(self, layer: str) -> str:
        """The spec's field that names a layer."""
        return "content_layers" if layer in (self._job.spec.content_layers or {}) else "style_layers"

    def _paint(self) -> Outcome:
        loaded = pictures.load(self._job, self._objects)
        resume = self._resumable()
        try:
            return self._stylize(loaded, resume)
        except CheckpointError as error:
            log.warning("job %s: starting over, the checkpoint is of no use: %s", self._job.id, error)
            return self._stylize(loaded, None)

    def _stylize(self, loaded: pictures.Loaded, resume: Checkpoint | None) -> Outcome:
        return self._engine.stylize(
            loaded.content,
            loaded.styles,
            self._job.spec,
            on_progress=self._on_progress,
            should_stop=lambda: self._lease.stop is not None,
            resume=resume,
            init=loaded.init,
        )

    def _resumable(self) -> Checkpoint | None:
        pointer = self._job.checkpoint
        if pointer is None:
            return None
        try:
            checkpoint = Checkpoint.from_bytes(self._objects.get(pointer.key))
        except (ObjectMissingError, CheckpointError) as error:
            log.warning("job %s: starting over, the checkpoint is of no use: %s", self._job.id, error)
            return None
        log.info("job %s: going on from step %d", self._job.id, pointer.step)
        return checkpoint

    def _on_progress(self, progress: Progress) -> None:
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
        if now - self._previewed >= PREVIEW_SECONDS:
            self._previewed = now
            self._preview(progress)
        if now - self._checkpointed >= self._checkpoint_interval(progress, now):
            self._checkpointed = now
            self._keep(progress.checkpoint())

    def _checkpoint_interval(self, progress: Progress, now: float) -> float:
        """The shorter of the setting and a tenth of the time that the job is expected to take."""
        done = max(progress.step - (self._job.checkpoint.step if self._job.checkpoint else 0), 1)
        expected = (now - self._started) / done * progress.steps
        return max(min(self._config.checkpoint_seconds, expected / 10), MIN_CHECKPOINT_SECONDS)

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
        try:
            replaced = self._store.checkpoint(self._claim, CheckpointPointer(key, checkpoint.step))
        except LeaseLostError:
            self._discard(key)
            raise
        except StoreUnavailable:
            # It may have been noted all the same: the object stays, and a chore sweeps it if not.
            log.warning("job %s: the job store does not answer; the checkpoint may not count", self._job.id)
            return
        self._checkpoint_key = key
        if replaced:
            self._discard(replaced)

    def _publish(self, outcome: Outcome) -> None:
        painted = time.monotonic()
        if self._lease.stop is Stop.LOST:
            raise LeaseLostError(self._job.uid)
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
        seconds = {"paint": round(painted - self._started, 3), "store": round(time.monotonic() - painted, 3)}
        finish = partial(
            self._store.finish,
            self._claim,
            output,
            seconds=seconds,
            evaluations=outcome.evaluations,
            loss=outcome.losses,
        )
        try:
            self._lease.insist(finish)
        except LeaseLostError:
            self._discard(key)
            raise
        log.info("job %s: succeeded in %.1f s", self._job.id, painted - self._started)
        self._tidy()

    def _end_early(self, checkpoint: Checkpoint) -> None:
        """The work was stopped: hand the job back as the reason demands."""
        match self._lease.stop:
            case Stop.CANCEL:
                self._lease.insist(lambda: self._store.canceled(self._claim))
                log.info("job %s: canceled at step %d", self._job.id, checkpoint.step)
                self._tidy()
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
        if self._checkpoint_key:
            self._discard(self._checkpoint_key)

    def _discard(self, key: str) -> None:
        # What stays behind is swept by a chore.
        with suppress(StorageUnavailable):
            self._objects.delete(key)
