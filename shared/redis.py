"""How this service talks to Redis: bounded waits, no hidden repetition, and one fault for every outage."""

from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import StoreUnavailable
from shared.settings import Settings

#: Replies by which a server that can be reached says that it cannot serve now.
_REFUSALS = ("MISCONF", "NOREPLICAS", "BUSY", "CLUSTERDOWN", "MASTERDOWN")


def connect(settings: Settings) -> redis.Redis:
    """A client of the job store's Redis; safe to share between threads, connects on first use.

    A command is sent once. Repeating it could not tell a lost command from a lost answer, and a claim made
    twice would strand a job for a lease; the callers know what may be repeated. A connection that the server
    closed while idle is replaced before the command is sent, so a restarted server is not noticed.
    """
    client: redis.Redis = redis.Redis.from_url(
        settings.redis_url,
        decode_responses=True,
        protocol=2,
        socket_connect_timeout=settings.redis_timeout,
        socket_timeout=settings.redis_timeout,
        socket_keepalive=True,
        retry=Retry(NoBackoff(), 0),
    )
    return client


@contextmanager
def translated() -> Iterator[None]:
    """Turn what redis-py raises when Redis is away, loading, full or read-only into `StoreUnavailable`.

    Other errors of redis-py are errors of ours and pass unchanged.
    """
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise StoreUnavailable(f"Redis does not answer: {type(error).__name__}") from error
    except (redis.OutOfMemoryError, redis.ReadOnlyError) as error:
        raise StoreUnavailable("Redis takes no writes now") from error
    except redis.ResponseError as error:
        if str(error).startswith(_REFUSALS):
            raise StoreUnavailable("Redis cannot serve now") from error
        raise
