"""Commands that do no harm when they are sent twice, sent the short way round redis-py.

What redis-py does around each command takes as long as the command itself, even where it has neither to
repeat nor to measure anything. Here a connection is kept, and is not looked at before it is used: where it no
longer stands, the command is sent once more over a new one.
"""

import os
from collections import deque
from typing import Any

import redis


class Repeatable:
    """Sends such commands to a client's server; safe to share between threads.

    Without a budget (`shared.patience`) a command may wait twice as long as one that is sent once.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._pool = client.connection_pool
        self._idle: deque[Any] = deque()

    def ask(self, *command: str | int) -> Any:  # noqa: ANN401 - whatever the command answers
        """A command's reply as the protocol has it: of a hash, a list of its fields and values in turn.

        Raises:
            redis.RedisError: as a client's `execute_command`; `translated` tells the outages among them.
        """
        connection = self._free()
        try:
            try:
                return _exchange(connection, command)
            except redis.ConnectionError:
                # Most likely the server was restarted since. redis-py has closed it and opens it anew.
                return _exchange(connection, command)
        finally:
            self._idle.append(connection)

    def _free(self) -> Any:  # noqa: ANN401 - redis-py's
        """A connection that nobody uses. After a fork the parent still uses those that it opened."""
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.pid == os.getpid():
                return connection
        return self._pool.get_connection()


def _exchange(connection: Any, command: tuple[str | int, ...]) -> Any:  # noqa: ANN401 - redis-py's
    """One command and its reply. A connection on which that fails is closed, so no reply is left in it.

    Nor is one kept on which a server refuses: it may have said so to somebody else, or be none any more that
    serves.
    """
    try:
        connection.send_command(*command)
        return connection.read_response()
    except redis.exceptions.NoScriptError:
        raise
    except BaseException:
        connection.disconnect()
        raise
