"""Attempts at jobs, as workers make them: each is claimed, keeps its lease up, and ends with what came of it.

What is written under a claim names its fence, and is refused once that is no longer the job's.
"""

import json
import secrets
from collections.abc import Mapping, Sequence

from shared.errors import ErrorInfo, Fault
from shared.jobs.buckets import bucket_for
from shared.jobs.census import BOUNDS
from shared.jobs.eta import work_for
from shared.jobs.flights import FlightStore
from shared.jobs.hashes import to_json
from shared.jobs.pictures import Inputs, Picture
from shared.jobs.policy import milliseconds
from shared.jobs.recipes import recipe_of
from shared.jobs.record import Checkpoint, Job, Output, PaintProgress, Queue, Stage
from shared.jobs.results import Claim, LeaseLostError, Renewal
from shared.jobs.scripts import Reply


class AttemptStore(FlightStore):
    """Workers' side of the job store. Every method may raise `StoreUnavailable`."""

    def claim(self, queue: Queue, worker: str, backbones: Sequence[str] = ()) -> Claim | None:
        """Start an attempt at the next job; None when nothing waits.

        Args:
            queue: the stage.
            worker: the claiming worker's name.
            backbones: for paint, those that the worker offers.
        """
        lanes = _paint_lanes(backbones) if queue == Queue.PAINT else [str(queue)]
        token = secrets.token_hex(8)
        reply = self._scripts.run("claim", lanes=lanes, worker=worker, token=token)
        if not reply:
            return None
        fence, record = reply
        return Claim(Job.from_reply(record), queue, fence)

    def companions(self, claim: Claim, most: int, backbones: Sequence[str] = ()) -> Sequence[Claim]:
        """Start attempts at jobs that can be painted together with one that is held.

        They wait for the same backbone, are of the same bucket (`shared.jobs.buckets`) and go on from the
        same step. Each is an attempt of its own, under its own fence, of the worker that holds `claim`. A job
        that lost a worker takes no companions and is none.

        Args:
            claim: the job that is held, for paint.
            most: companions at most.
            backbones: those that the worker offers: whose companion is taken waits for another turn in each.

        Raises:
            LeaseLostError: the fence of `claim` is stale; nothing was taken.
        """
        if most < 1:
            return []
        given = self._fenced(
            "companions",
            claim,
            most=most,
            lanes=_paint_lanes(backbones),
            worker=claim.job.worker,
            token=secrets.token_hex(8),
        )[0]
        return [Claim(Job.from_reply(record), claim.queue, fence) for fence, record in given]

    def renew(
        self,
        claim: Claim,
        progress: PaintProgress | None = None,
        stage: Stage | None = None,
        preview_key: str | None = None,
        preview_step: int | None = None,
    ) -> Renewal:
        """Prolong the lease, and show how far the work has come. Raises `LeaseLostError`."""
        reply = self._fenced(
            "renew",
            claim,
            progress=progress and to_json(progress),
            stage=stage,
            preview_key=preview_key,
            preview_step=preview_step,
        )
        return Renewal(cancel=bool(reply[0]))

    def pin(self, claim: Claim, inputs: Inputs) -> None:
        """Some pictures are in: another attempt at intake need not bring them in again.

        Args:
            claim: intake's.
            inputs: every picture of the job, those that are in with their clean copies.

        Raises:
            LeaseLostError: the fence is stale.
        """
        self._fenced("pin", claim, **_pictures(inputs.content, inputs.styles, inputs.init))

    def advance(
        self,
        claim: Claim,
        content: Picture,
        styles: Sequence[Picture],
        seconds: Mapping[str, float],
        init: Picture | None = None,
    ) -> bool:
        """Intake is done: the job waits for paint. True when a paint bell is wanted.

        Args:
            claim: intake's.
            content: with its clean copy, as are the others.
            styles: with their masks and regions.
            seconds: what it took.
            init: the picture to start from; None leaves the record's as it is.

        Raises:
            LeaseLostError: the fence is stale.
        """
        spec = claim.job.spec
        reply = self._fenced(
            "advance",
            claim,
            seconds=to_json(seconds),
            bounds=BOUNDS,
            bucket=bucket_for(spec, content),
            recipe=recipe_of(spec, Inputs(content, tuple(styles), init or claim.job.init)),
            **_pictures(content, styles, init),
        )
        return bool(reply[0])

    def checkpoint(self, claim: Claim, checkpoint: Checkpoint) -> str | None:
        """Say where another attempt can go on; returns the key that this replaces.

        Raises:
            LeaseLostError: the fence is stale.
        """
        replaced = self._fenced("checkpoint", claim, checkpoint=to_json(checkpoint))[0]
        return Checkpoint(**json.loads(replaced)).key if replaced else None

    def release(self, claim: Claim) -> bool:
        """Give the job back uncharged, to its old place. True when a bell is wanted.

        Raises:
            LeaseLostError: the fence is stale.
        """
        return bool(self._fenced("release", claim)[0])

    def set_aside(self, claim: Claim, seconds: float) -> None:
        """Give the job back uncharged; it waits again after so many seconds. Raises `LeaseLostError`."""
        self._fenced("set_aside", claim, delay=milliseconds(seconds))

    def finish(
        self,
        claim: Claim,
        output: Output,
        *,
        seconds: Mapping[str, float],
        evaluations: int,
        loss: Mapping[str, float],
        batch: int = 1,
    ) -> None:
        """The output is stored: the job has succeeded. May be repeated. Raises `LeaseLostError`."""
        self._fenced(
            "finish",
            claim,
            output=to_json(output),
            seconds=to_json(seconds),
            evaluations=evaluations,
            loss=to_json(loss),
            batch=batch,
            work=work_for(claim.job.spec, claim.job.content),
            bounds=BOUNDS,
        )

    def fail(self, claim: Claim, fault: Fault) -> Job:
        """The attempt failed; returns the job as it is now.

        A retryable fault is kept and tried again after a back-off while attempts are left.

        Raises:
            LeaseLostError: the fence is stale.
        """
        error = to_json(ErrorInfo.of(fault))
        return Job.from_reply(self._fenced("fail", claim, error=error, retryable=fault.retryable))

    def canceled(self, claim: Claim) -> None:
        """The worker stopped as it was asked to. Raises `LeaseLostError`."""
        self._fenced("canceled", claim)

    def _fenced(self, script: str, claim: Claim, **arguments: object) -> Reply:
        reply = self._scripts.run(script, uid=claim.job.uid, fence=claim.fence, **arguments)
        if not reply:
            raise LeaseLostError(f"job {claim.job.uid} is no longer held under fence {claim.fence}")
        return reply


def _pictures(content: Picture, styles: Sequence[Picture], init: Picture | None) -> dict[str, str | None]:
    """A job's pictures as scripts take them."""
    return {"content": to_json(content), "styles": to_json(styles), "init": to_json(init) if init else None}


def _paint_lanes(backbones: Sequence[str]) -> list[str]:
    return [f"paint.{name}" for name in backbones]
