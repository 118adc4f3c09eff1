"""Absolute addresses in answers, so that callers never build one."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from urllib.parse import quote, urlencode

from flask import request
from werkzeug.sansio.utils import get_current_url, get_host

from api.jobs.views import Urls
from api.services import services

_seen_from: ContextVar[str | None] = ContextVar("seen_from", default=None)


@contextmanager
def seen_from(address: str) -> Iterator[None]:
    """For answers that are written when their request is over: what `base` said while it was not."""
    token = _seen_from.set(address)
    try:
        yield
    finally:
        _seen_from.reset(token)


def base() -> str:
    """Address of the API as the caller sees it, without a slash at its end; "" where no Host says it."""
    if (address := _seen_from.get()) is not None:
        return address
    if public := services().settings.public_url:
        return public.rstrip("/")
    return _base(request.scheme, request.headers.get("Host"), request.server)


@lru_cache(256)
def _base(scheme: str, host: str | None, server: tuple[str, int | None] | None) -> str:
    name = get_host(scheme, host, server)
    return get_current_url(scheme, name).rstrip("/") if name else ""


def job(job_id: str) -> str:
    """Address of a job."""
    return f"{base()}/v1/jobs/{quote(job_id)}"


def of_job(job_id: str) -> Urls:
    """Every address that belongs to a job."""
    this = job(job_id)
    return Urls(
        self=this,
        cancel=f"{this}/cancel",
        retry=f"{this}/retry",
        events=f"{this}/events",
        preview=f"{this}/preview",
        output=f"{this}/output",
    )


def next_page(token: str, limit: int, at: str = "/v1/jobs", **filters: str | None) -> str:
    """Address of the page that follows, of the list at this path."""
    given = {name: value for name, value in filters.items() if value is not None}
    return f"{base()}{at}?{urlencode({'page_token': token, 'limit': limit, **given})}"
