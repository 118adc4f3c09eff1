"""Painting jobs, several as one batch: the paint worker's task.

A claimed job may take companions, which the engine paints with it. What stands here is which jobs are painted
together and what follows when that cannot be; a job's own course, from its pictures to its end, is
`worker.attempt`, the painting itself `worker.engine`.
"""

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from contextlib import ExitStack

import torch

from shared.errors import DeviceFailed, StoreUnavailable
from shared.jobs.record import Queue
from shared.jobs.results import Claim, LeaseLostError
from shared.jobs.store import JobStore
from shared.logs import about
from shared.objects import ObjectStore
from shared.settings import Settings
from shared.sizes import size_for
from worker.attempt import Attempt, settle
from worker.engine import CheckpointError, DeviceLostError, Engine, Request, memory
from worker.lease import Lease, Pulse
from worker.leaving import DEVICE_LOST_EXIT, Unfit

log = logging.getLogger(__name__)

#: Of the memory that is free, what the decoded pictures of a batch may take.
INPUTS_SHARE = 0.25


class Painter:
    """Claims and paints one job, or one batch, at a time."""

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
        """Claim a job and companions to it, and bring each as far as it goes; False when none was waiting.

        Raises:
            Unfit: the device has failed. The jobs were put back as if this worker had died: charged with an
                attempt where there was but one, and each painted alone from then on.
        """
        leader = self._store.claim(Queue.PAINT, self._name, self._engine.backbones())
        if leader is None:
            return False
        pulse = Pulse()
        with ExitStack() as held:
            attempts = [self._attempt(leader, pulse, held)]
            attempts += [self._attempt(claim, pulse, held) for claim in self._companions(leader)]
            if len(attempts) > 1:
                log.info("job %s: painted as one batch with %d others", leader.job.id, len(attempts) - 1)
            try:
                self._paint(attempts)
            except DeviceLostError as error:
                for attempt in attempts:
                    attempt.settle(DeviceFailed(str(error)), time.monotonic())
                raise Unfit(str(error), DEVICE_LOST_EXIT) from error
        return True

    def _attempt(self, claim: Claim, pulse: Pulse, held: ExitStack) -> Attempt:
        with about(**claim.log_fields):
            log.info("job %s: painting, attempt %d", claim.job.id, claim.job.attempt)
        lease = Lease(
            self._store,
            claim,
            lease_seconds=self._config.lease_seconds,
            stall_seconds=self._config.paint_stall_seconds,
            draining=self._draining,
            pulse=pulse,
        )
        return Attempt(self._store, self._objects, self._config, held.enter_context(lease))

    def _companions(self, leader: Claim) -> Sequence[Claim]:
        """Jobs to paint with the leader; none when that is not to be, or when the store does not say."""
        most = self._most(leader) - 1
        if most < 1 or self._draining.is_set():
            return []
        try:
            return self._store.companions(leader, most, self._engine.backbones())
        except LeaseLostError:
            return []  # the leader's own lease will say so
        except StoreUnavailable:
            log.warning("job %s: painted alone, the job store does not answer", leader.job.id)
            return []

    def _most(self, leader: Claim) -> int:
        """How many pictures like the leader's may be painted at once."""
        limit, content, spec = self._config.batch, leader.job.content, leader.job.spec
        if limit == 1 or content.width is None or content.height is None:
            return 1
        try:
            capacity = self._engine.capacity(spec, *size_for(content.height, content.width, spec.size))
        except Exception as error:  # noqa: BLE001 - painting meets it again, and says so in the record
            log.warning("job %s: painted alone: %s", leader.job.id, error)
            return 1
        return min(limit, capacity) if limit else capacity

    def _paint(self, attempts: Sequence[Attempt]) -> None:
        """Paint those together that go on from the same place, and alone those for which that failed.

        Pictures as callers sent them may be far larger than what is painted: no more of them are held at once
        than is wise, whatever the engine has room for.
        """
        groups: dict[object, list[tuple[Attempt, Request]]] = defaultdict(list)
        room = INPUTS_SHARE * memory.free(torch.device("cpu"))
        again: list[Attempt] = []
        until = time.monotonic() + self._config.store_seconds
        for number, attempt in enumerate(attempts, start=1):
            request = attempt.request(until)
            if request is not None:
                place = request.resume and (request.resume.step, request.resume.level)
                groups[place].append((attempt, request))
                room -= _bytes(request)
            if number == len(attempts) or room < 0:
                request = None
                while groups:
                    again += self._paint_together(groups.pop(next(iter(groups))))
                room = INPUTS_SHARE * memory.free(torch.device("cpu"))
                until = time.monotonic() + self._config.store_seconds
        for attempt in again:
            self._paint([attempt])

    def _paint_together(self, batch: Sequence[tuple[Attempt, Request]]) -> list[Attempt]:
        """Ask the engine and settle what it answers; returns those to be painted again, each alone."""
        batch = [(attempt, request) for attempt, request in batch if attempt.begin(len(batch))]
        if not batch:
            return []
        try:
            results = self._engine.stylize_batch([request for _, request in batch])
        except DeviceLostError:
            raise
        except Exception as error:
            if len(batch) == 1:
                results = [error]
            else:
                log.exception("a batch of %d failed; painting one after another", len(batch))
                return [attempt for attempt, _ in batch]
        painted_at = time.monotonic()
        again, answers = [], []
        for (attempt, request), result in zip(batch, results, strict=True):
            if isinstance(result, CheckpointError) and request.resume is not None:
                attempt.start_over(result)
                again.append(attempt)
            elif isinstance(result, torch.OutOfMemoryError) and len(batch) > 1:
                again.append(attempt)
            else:
                answers.append((attempt, result))
        settle(answers, painted_at)
        return again


def _bytes(request: Request) -> int:
    """What a request's decoded pictures take."""
    tensors = [request.content, request.init]
    tensors += [part for style in request.styles for part in (style.image, style.mask, style.region)]
    return sum(tensor.nbytes for tensor in tensors if tensor is not None)
