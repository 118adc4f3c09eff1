"""A batch's record as callers see it."""

from urllib.parse import quote

from api import links
from api.batches.views import BatchCounts, BatchUrls, BatchView, LineError, ResultLine
from api.jobs import wire
from shared.jobs.batch_record import Batch
from shared.jobs.batches import Item
from shared.timestamps import maybe_timestamp, timestamp

_SOONEST, _LATEST = 1, 30


def address(batch_id: str) -> str:
    """Address of a batch."""
    return f"{links.base()}/v1/batches/{quote(batch_id)}"


def batch_view(batch: Batch, now: float) -> BatchView:
    """A batch as an answer shows it.

    Args:
        batch: the record.
        now: seconds since the epoch.
    """
    this = address(batch.id)
    rate = None if batch.status.terminal else batch.rate(now)
    return BatchView(
        id=batch.id,
        status=batch.status,
        counts=_counts(batch),
        eta_seconds=None if (seconds := _eta(batch, now)) is None else round(seconds, 1),
        throughput_per_minute=None if rate is None else round(60 * rate, 2),
        errors=[LineError(line=e.line, pointer=e.pointer, detail=e.detail) for e in batch.errors],
        error=wire.error_view(batch.error),
        retry_of=batch.retry_of,
        cancel_requested=batch.cancel_requested,
        metadata=dict(batch.metadata),
        created_at=timestamp(batch.created_at),
        completed_at=maybe_timestamp(batch.completed_at),
        expires_at=maybe_timestamp(batch.expires_at),
        urls=BatchUrls(
            self=this,
            items=f"{this}/items",
            results=f"{this}/results.ndjson",
            errors=f"{this}/errors.ndjson",
            archive=f"{this}/archive.zip",
            cancel=f"{this}/cancel",
            retry=f"{this}/retry",
            events=f"{this}/events",
        ),
    )


def etag(batch: Batch) -> str:
    """Weak entity tag of what `batch_view` shows, but for what follows from the time alone: ETA and rate."""
    return f"{batch.uid}.{batch.version}"


def retry_after(batch: Batch, now: float) -> int | None:
    """Seconds until another poll is worth while; None for a batch that has ended."""
    if batch.status.terminal:
        return None
    seconds = _eta(batch, now)
    return _SOONEST if seconds is None else round(min(max(seconds / 4, _SOONEST), _LATEST))


def result_line(item: Item) -> ResultLine:
    """What has become of an item that is a job."""
    view = wire.job_view(item.job, None)
    return ResultLine(
        index=item.index,
        custom_id=view.custom_id,
        id=view.id,
        status=view.status,
        output=view.output,
        error=view.error,
    )


def _counts(batch: Batch) -> BatchCounts:
    counts = {str(status): number for status, number in batch.counts.items()}
    if batch.status_of_unmade:
        counts[batch.status_of_unmade] += batch.unmade
    return BatchCounts(total=batch.total, **counts)


def _eta(batch: Batch, now: float) -> float | None:
    """Seconds until the last item has ended, if all goes on as in the last minutes."""
    rate = None if batch.status.terminal else batch.rate(now)
    # Where all that is left waits for other jobs, theirs is the rate.
    return batch.to_do / rate if rate and batch.to_do > 0 else None
