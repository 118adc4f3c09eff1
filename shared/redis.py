"""How this service talks to Redis: bounded waits, no hidden repetition, and one fault for every outage."""

from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from shared.errors import StoreUnavailable
from shared.patience import Doubt, left, waiting
from shared.settings import Settings

#: Replies by which a server that can be reached says that it cannot serve now.
_REFUSALS = ("MISCONF", "NOREPLICAS", "BUSY", "CLUSTERDOWN", "MASTERDOWN")
#: Seconds below which waiting is not worth while.
SHORTEST = 0.001


def connect(settings: Settings) -> redis.Redis:
    """A client of the job store's Redis; safe to share between threads, connects on first use.

    A command is sent once. Repeating it could not tell a lost command from a lost answer, and a claim made
    twice would strand a job for a lease; the callers know what may be repeated. A connection that the server
    closed while idle is replaced before the command is sent, so a restarted server is not noticed.

    No wait is longer than `redis_timeout`, nor than what `shared.patience` leaves.
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
    pool = client.connection_pool
    pool.connection_class = _patient(pool.connection_class)
    return client


class translated(waiting):  # noqa: N801 - as `waiting`, which it is
    """Turn what redis-py raises when Redis is away, loading, full or read-only into `StoreUnavailable`.

    Other errors of redis-py are errors of ours and pass unchanged.
    """

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        super().__exit__(kind, error, trace)
        if isinstance(error, redis.RedisError) and (fault := _fault(error)) is not None:
            raise fault from error


def _fault(error: redis.RedisError) -> StoreUnavailable | None:
    """What the service calls an outage; None for an error of ours."""
    match error:
        case redis.ConnectionError() | redis.TimeoutError():
            return StoreUnavailable(f"Redis does not answer: {type(error).__name__}")
        case redis.OutOfMemoryError() | redis.ReadOnlyError():
            return StoreUnavailable("Redis takes no writes now")
        case redis.ResponseError() if str(error).startswith(_REFUSALS):
            return StoreUnavailable("Redis cannot serve now")
        case _:
            return None


def _patient(kind: type[Any]) -> type[Any]:
    """A kind of connection (TCP, TLS, Unix socket) whose every wait is bounded by what patience is left."""
    doubt = Doubt()

    class Patient(kind):  # type: ignore[misc]
        @property
        def socket_timeout(self) -> float:
            return max(left(doubt.limit(super().socket_timeout)), SHORTEST)

        @property
        def socket_connect_timeout(self) -> float:
            return max(left(doubt.limit(super().socket_connect_timeout)), SHORTEST)

        def _connect(self) -> Any:  # noqa: ANN401 - redis-py's
            try:
                return super()._connect()
            except TimeoutError:
                doubt.in_vain()
                raise

        def send_packed_command(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - redis-py's
            if left(SHORTEST) < SHORTEST:
                raise redis.TimeoutError("the time that the caller had is over")
            # What was connected under one budget is used under another.
            if (open_socket := self._get_socket()) is not None:
                open_socket.settimeout(self.socket_timeout)
            super().send_packed_command(*arguments, **options)

        def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
            options.setdefault("timeout", self.socket_timeout)
            try:
                response = super().read_response(*arguments, **options)
            except redis.TimeoutError:
                doubt.in_vain()
                raise
            doubt.answered()
            return response

    return Patient
