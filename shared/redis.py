"""How this service talks to Redis: bounded waits, no harmful repetition, and one fault for every outage."""

from contextlib import suppress
from types import TracebackType
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from shared.errors import StoreUnavailable
from shared.patience import Doubt, left, waiting
from shared.settings import Settings

#: Replies by which a server that can be reached says that it cannot serve now.
_REFUSALS = ("MISCONF", "NOREPLICAS", "BUSY")
_MOST_CONNECTIONS = 2**31
#: Seconds below which waiting is not worth while.
SHORTEST = 0.001
#: Shares of what a wait may take: what it is given where that shrinks from call to call, and what will do.
_GIVEN, _ENOUGH = 0.95, 0.9


def connect(settings: Settings) -> redis.Redis:
    """A client of the job store's Redis; safe to share between threads, connects on first use.

    A command is sent once. Repeating it could not tell a lost command from a lost answer, and a claim made
    twice would strand a job for a lease; the callers know what may be (`shared.repeatable`). A connection
    that the server closed while idle is replaced before the command is sent, so a restarted server is not
    noticed.

    No wait is longer than `redis_timeout`, nor than what `shared.patience` leaves.
    """
    kind, options = connection(settings)
    pool = redis.ConnectionPool(connection_class=_patient(kind), **(options | {"decode_responses": True}))
    return redis.Redis.from_pool(pool)


def connection(settings: Settings) -> tuple[type[Any], dict[str, Any]]:
    """The kind of connection that `redis_url` asks for (TCP, TLS, Unix socket), and what it is made with.

    What the URL says beside the address (`?name=value`) holds, but for what this code relies on, and for the
    timeouts, which are `redis_timeout`.
    """
    given: dict[str, Any] = parse_url(settings.redis_url)  # type: ignore[no-untyped-call]
    kind = given.pop("connection_class", redis.Connection)
    usual: dict[str, Any] = {"db": 0, "retry": Retry(NoBackoff(), 0)}
    if not issubclass(kind, redis.UnixDomainSocketConnection):
        usual["socket_keepalive"] = True
    relied_on = {
        "protocol": 2,
        # As many as threads ask for: `Repeatable` keeps its own, and a limit would leave others none.
        "max_connections": _MOST_CONNECTIONS,
        "socket_connect_timeout": settings.redis_timeout,
        "socket_timeout": settings.redis_timeout,
    }
    return kind, usual | given | relied_on


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
        case redis.exceptions.ClusterDownError() | redis.exceptions.TryAgainError():  # MASTERDOWN is one
            return StoreUnavailable("Redis cannot serve now")
        case redis.ResponseError() if str(error).startswith(_REFUSALS):
            return StoreUnavailable("Redis cannot serve now")
        case _:
            return None


class _Patient:
    """Mixed into a kind of connection: its every wait is bounded by what patience is left."""

    doubt: Doubt

    @property
    def socket_timeout(self) -> float:
        return max(left(self.doubt.limit(super().socket_timeout)), SHORTEST)  # type: ignore[misc]

    @socket_timeout.setter
    def socket_timeout(self, seconds: float) -> None:
        super(_Patient, type(self)).socket_timeout.fset(self, seconds)  # type: ignore[misc]

    @property
    def socket_connect_timeout(self) -> float:
        return max(left(self.doubt.limit(super().socket_connect_timeout)), SHORTEST)  # type: ignore[misc]

    def _connect(self) -> Any:  # noqa: ANN401 - redis-py's
        try:
            return super()._connect()  # type: ignore[misc]
        except TimeoutError:
            self.doubt.in_vain()
            raise

    def send_packed_command(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401 - redis-py's
        if left(SHORTEST) < SHORTEST:
            raise redis.TimeoutError("the time that the caller had is over")
        self._bound()
        super().send_packed_command(*arguments, **options)  # type: ignore[misc]

    def read_response(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - redis-py's
        if "timeout" not in options:
            self._bound()
        try:
            response = super().read_response(*arguments, **options)  # type: ignore[misc]
        except redis.TimeoutError:
            self.doubt.in_vain()
            raise
        self.doubt.answered()
        return response

    def _bound(self) -> None:
        """Bound the next wait of the open socket, if there is one: it was opened under another budget.

        The bound is set only where it is too far off: setting it is a system call, for which the thread gives
        up the interpreter.
        """
        if (open_socket := self._get_socket()) is None:  # type: ignore[attr-defined]
            return
        most = self.socket_timeout
        if not _ENOUGH * most <= (open_socket.gettimeout() or 0.0) <= most:
            shrinks = most < super().socket_timeout  # type: ignore[misc]
            with suppress(OSError):  # of one that another thread has closed, whoever uses it is told
                open_socket.settimeout(_GIVEN * most if shrinks else most)


def _patient(kind: type[Any]) -> type[Any]:
    """A kind of connection (TCP, TLS, Unix socket) made patient, for one server."""
    return type("Patient", (_Patient, kind), {"doubt": Doubt()})
