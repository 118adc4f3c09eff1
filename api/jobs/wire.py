"""A job's record as callers see it."""

from functools import lru_cache

from api import links
from api.jobs.views import (
    FailedAttemptError,
    JobError,
    JobView,
    Metrics,
    OutputView,
    PictureView,
    Place,
    Progress,
    StyleView,
    WebhookView,
)
from shared.errors import AttemptError, ErrorInfo
from shared.jobs.eta import Outlook
from shared.jobs.pictures import Picture
from shared.jobs.record import Job, PaintProgress, Stage, Status
from shared.timestamps import maybe_timestamp, timestamp

_SOONEST, _LATEST, _LATEST_QUEUED = 1, 10, 60
#: Pictures whose views are kept: a style belongs to many jobs, and a job is polled many times.
_KEPT_VIEWS = 2048


def job_view(job: Job, outlook: Outlook | None) -> JobView:
    """A job as an answer shows it.

    Args:
        job: the record.
        outlook: its place where it waits and how long it may take; None in lists and for one that has ended.
    """
    urls = links.of_job(job.id)
    output = job.output
    return JobView(
        id=job.id,
        status=job.status,
        stage=job.stage,
        progress=progress_of(job, outlook),
        queue=place(outlook),
        output=OutputView(
            url=urls.output,
            width=output.width,
            height=output.height,
            bytes=output.bytes,
            sha256=output.sha256,
            content_type=output.content_type,
        )
        if output
        else None,
        output_expires_at=maybe_timestamp(job.output_expires_at) if job.status is Status.SUCCEEDED else None,
        error=error_view(job.error),
        spec=job.spec,
        content=_picture(job.content),
        styles=[_style(style) for style in job.styles],
        init=_picture(job.init) if job.init else None,
        attempt=job.attempt,
        attempt_errors=[_attempt(error) for error in job.attempt_errors],
        priority=job.priority,
        cancel_requested=job.cancel_requested,
        retry_of=job.retry_of,
        reused_from=job.reused_from,
        batch=job.batch_id,
        custom_id=job.custom_id,
        created_at=timestamp(job.created_at),
        started_at=maybe_timestamp(job.started_at),
        completed_at=maybe_timestamp(job.completed_at),
        deadline_at=timestamp(job.deadline_at),
        expires_at=maybe_timestamp(job.expires_at),
        metadata=dict(job.metadata),
        webhook=WebhookView(url=job.webhook.url, events=list(job.webhook.events), disabled=job.webhook_off)
        if job.webhook
        else None,
        urls=urls,
        metrics=Metrics(
            seconds=dict(job.seconds), evaluations=job.evaluations, batch=job.batch, loss=dict(job.loss)
        )
        if job.status.terminal
        else None,
    )


def etag(job: Job, outlook: Outlook | None) -> str:
    """Weak entity tag (RFC 9110, section 8.8.1) of what `job_view` shows: changes whenever that does.

    But for what is expected, which is never the same twice.
    """
    return f"{job.uid}.{job.version}.{(outlook and outlook.position) or 0}"


def retry_after(job: Job, outlook: Outlook | None) -> int | None:
    """Seconds until another poll may show something new; None for a job that has ended.

    Half of what is expected to be left: whoever polls so asks a few times, however long it takes. Where
    nothing is known, by the place.
    """
    if job.status.terminal:
        return None
    position, seconds = (outlook.position, outlook.seconds) if outlook else (None, None)
    wanted = 1.0 + (position or 0) / 2 if seconds is None else seconds / 2
    latest = _LATEST if job.status is Status.PROCESSING or seconds is None else _LATEST_QUEUED
    return round(min(max(wanted, _SOONEST), latest))


def place(outlook: Outlook | None) -> Place | None:
    """A place among those that wait; None for one that does not."""
    if outlook is None or outlook.position is None:
        return None
    return Place(position=outlook.position, eta_seconds=rounded(outlook.seconds))


def rounded(seconds: float | None) -> float | None:
    """A duration to tell: it is not known to the microsecond."""
    return None if seconds is None else round(seconds, 1)


def progress_of(job: Job, outlook: Outlook | None) -> Progress | None:
    """How far painting has come; None before it begins."""
    return (
        progress_view(job.progress, rounded(outlook.seconds) if outlook else None) if job.progress else None
    )


def progress_view(progress: PaintProgress, eta: float | None) -> Progress:
    """How far painting has come, and how many seconds are expected to be left."""
    fraction = min(progress.step / progress.steps, 1.0) if progress.steps else 0.0
    return Progress(
        fraction=round(fraction, 4),
        step=progress.step,
        steps=progress.steps,
        level=progress.level,
        levels=progress.levels,
        loss=dict(progress.loss),
        eta_seconds=eta,
    )


def error_view(error: ErrorInfo | None) -> JobError | None:
    """Why something has failed, if it has."""
    return (
        JobError(code=error.code, title=error.title, detail=error.detail, pointer=error.pointer)
        if error
        else None
    )


@lru_cache(_KEPT_VIEWS)
def _picture(picture: Picture) -> PictureView:
    return PictureView(
        image=picture.source,
        weight=picture.weight,
        width=picture.width,
        height=picture.height,
        sha256=picture.sha256,
    )


@lru_cache(_KEPT_VIEWS)
def _style(picture: Picture) -> StyleView:
    return StyleView(
        **dict(_picture(picture)),
        mask=_picture(picture.mask) if picture.mask else None,
        region=_picture(picture.region) if picture.region else None,
    )


def _attempt(error: AttemptError) -> FailedAttemptError:
    """A failed attempt. Which worker made it is the operator's business: the name has a host's in it."""
    return FailedAttemptError(
        code=error.code,
        title=error.title,
        detail=error.detail,
        pointer=error.pointer,
        stage=Stage(error.stage) if error.stage else None,
        attempt=error.attempt,
        at=maybe_timestamp(None if error.at is None else error.at / 1000),
    )
