"""One attempt at one job: its pictures, what it tells while it is painted, and how it ends.

Which jobs are painted together, and when, is `worker.paint`'s; holding the claim is `worker.lease`, waiting
for the object store `worker.tries`. Nothing is published without the fence, and what was stored under a
lost fence is taken away again. Whatever goes wrong in an attempt ends that attempt: nothing that befalls one
job of a batch reaches another.
"""

import logging
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
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
from shared.jobs.record import Checkpoint as Pointer
from shared.jobs.record import Output, PaintProgress, Queue, Stage
from shared.jobs.results import LeaseLostError
from shared.jobs.store import JobStore
from shared.logs import about
from shared.objects import ObjectMissingError, ObjectStore
from shared.settings import Settings
from worker import pictures
from worker.checkpoints import Checkpoints
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
)
from worker.lease import Lease, Stop
from worker.previews import Previews
from worker.results import discard, remove_others, store_result
from worker.tries import LEAVING_SECONDS, QUICK_SECONDS, StoppedError, in_thread, patiently

log = logging.getLogger(__name__)
T = TypeVar("T")

#: A checkpoint costs a moment; none is worth taking more often than this.
MIN_CHECKPOINT_SECONDS = 0.5
#: The part of the time that a job is expected to take after which a checkpoint is due: with the evaluation
#: under way and the upload on top, no more than a tenth of a job of ten seconds is lost with its worker.
CHECKPOINT_SHARE = 1 / 15
#: Of the time of painting, what taking checkpoints may cost at most.
CHECKPOINT_COST = 0.1
#: Attempts that are settled at a time.
SETTLED_AT_A_TIME = 16


def settle(answers: "Sequence[tuple[Attempt, Outcome | Exception]]", painted_at: float) -> None:
    """End attempts side by side, so that one whose result is hard to store holds back no other.

    Args:
        answers: each attempt with what the engine answered for its job.
        painted_at: when it did, by the monotonic clock.
    """
    if len(answers) == 1:
        ((attempt, result),) = answers
        attempt.settle(result, painted_at)
    elif answers:
        with ThreadPoolExecutor(min(len(answers), SETTLED_AT_A_TIME), "settle") as pool:
            list(pool.map(lambda answer: answer[0].settle(answer[1], painted_at), answers))


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
        self._checkpoints = Checkpoints(store, objects, lease)
        self._useless: Pointer | None = None
        self._checkpoint_cost = 0.0
        self._previews = Previews(objects, lease)
        self._together = 1
        self._started = self._checkpointed = time.monotonic()
        self._begun_step, self._begun_at = 0, self._started

    def request(self, until: float) -> Request | None:
        """What the engine is asked for, from the newest checkpoint on; None when that ended the attempt.

        Args:
            until: how long the object store is waited for, by the monotonic clock.
        """
        return self._guarded(lambda: self._request(until))

    def begin(self, together: int) -> bool:
        """The engine is asked now, for so many pictures at once; False when this one is to stop, and has."""
        self._together = together
        self._begun_at = time.monotonic()
        if self._lease.stop is not None:
            self._guarded(self._leave)
            self._end()
        return not self.ended

    def start_over(self, error: CheckpointError) -> None:
        """Let the next request be from the beginning, since the engine refused the checkpoint."""
        log.warning("job %s: starting over, the checkpoint is of no use: %s", self._job.id, error)
        self._useless = self._checkpoints.newest

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
        with about(**self._claim.log_fields):
            return self._ended_by_faults(action)

    def _ended_by_faults(self, action: Callable[[], T]) -> T | None:
        try:
            try:
                return action()
            except StoppedError:
                self._leave()
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
            case torch.OutOfMemoryError() | MemoryError():
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

    def _request(self, until: float) -> Request:
        source = _PatientSource(self._objects, self._lease, until)
        loaded = pictures.load(self._job, source)
        resume = self._resumable(source)
        if resume is None:
            log.info("job %s: beginning with the first step", self._job.id)
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

    def _resumable(self, source: pictures.Source) -> Checkpoint | None:
        pointer = self._checkpoints.newest
        if pointer is None or pointer == self._useless:
            return None
        try:
            checkpoint = Checkpoint.from_bytes(source.get(pointer.key))
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
        self._previews.show(progress, self._together)
        now = time.monotonic()
        due = now - self._checkpointed >= self._checkpoint_interval(progress, now)
        if due and self._checkpoints.offer(progress.checkpoint):
            self._checkpointed = now
            self._checkpoint_cost = time.monotonic() - now

    def _checkpoint_interval(self, progress: Progress, now: float) -> float:
        """The shorter of the setting and a part of the time that the job is expected to take."""
        done = max(progress.step - self._begun_step, 1)
        expected = (now - self._begun_at) / done * progress.steps
        affordable = self._together * self._checkpoint_cost / CHECKPOINT_COST
        wanted = min(self._config.checkpoint_seconds, expected * CHECKPOINT_SHARE)
        return max(wanted, affordable, MIN_CHECKPOINT_SECONDS)

    # When it ends.

    def _settle(self, result: Outcome | Exception, painted_at: float) -> None:
        match result:
            case Outcome():
                self._publish(result, painted_at)
            case Stopped():
                self._leave(result.checkpoint, painted_at)
            case _:
                raise result

    def _publish(self, outcome: Outcome, painted_at: float) -> None:
        storing_at = time.monotonic()
        self._lease.moved(stage=Stage.STORING)
        until = painted_at + self._config.store_seconds
        output = store_result(self._objects, self._lease, outcome, until)
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
            discard(self._objects, output.key)
            raise
        log.info("job %s: succeeded in %.1f s", self._job.id, painted_at - self._started)
        self._tidy(output)

    def _leave(self, checkpoint: Checkpoint | None = None, stopped_at: float = 0.0) -> None:
        """The work was stopped: hand the job back as the reason demands."""
        match self._lease.stop:
            case Stop.CANCEL:
                self._lease.insist(self._canceled)
            case Stop.DRAIN:
                if checkpoint is not None:
                    left = stopped_at + LEAVING_SECONDS - time.monotonic()
                    self._checkpoints.keep(checkpoint, max(left, QUICK_SECONDS))
                if self._lease.insist(lambda: self._store.release(self._claim)):
                    ring(Queue.PAINT)
                newest = self._checkpoints.newest
                log.info("job %s: put back at step %d", self._job.id, newest.step if newest else 0)
            case _:
                raise LeaseLostError(self._job.uid)

    def _fail(self, fault: Fault) -> None:
        log.warning("job %s: %s: %s", self._job.id, fault.code, fault.detail)
        if self._lease.insist(lambda: self._store.fail(self._claim, fault)).status.terminal:
            self._tidy()

    def _tidy(self, output: Output | None = None) -> None:
        """Take away what only a running job needs, and what lost attempts have stored beside the result.

        A store that is too slow for that is not waited for: what stays behind is swept by a chore.
        """
        wait([in_thread(partial(self._take_away, output), "tidy")], QUICK_SECONDS)

    def _take_away(self, output: Output | None) -> None:
        with suppress(StorageUnavailable):
            self._previews.drop()
            self._checkpoints.drop()
            remove_others(self._objects, self._claim, output)


class _PatientSource:
    """The object store as pictures are read from it: it may be away for a while."""

    def __init__(self, objects: ObjectStore, lease: Lease, until: float) -> None:
        self._objects = objects
        self._lease = lease
        self._until = until

    def get(self, key: str) -> bytes:
        """As `ObjectStore.get`; raises `StoppedError` as well, see `patiently`."""
        until = max(self._until, time.monotonic() + QUICK_SECONDS)
        return patiently(partial(self._objects.get, key), self._lease, until=until)
