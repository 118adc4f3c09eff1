"""A clock for the job store that tests turn by hand.

The scripts know the time from one call of Redis' `TIME`, in `reading.lua`. Here, and only here, that call is
replaced in the text given to the server by a key of the test's own; everything else of a script is what
production runs. Nothing in `shared/` knows of it.
"""

import pytest
import redis

from shared.jobs import scripts

_TIME = "redis.call('TIME')"
_KEY = "test:clock"
_TURNED_BY_HAND = (
    f"{{math.floor(redis.call('GET', '{_KEY}') / 1000), redis.call('GET', '{_KEY}') % 1000 * 1000}}"
)
#: Long after what is compared with it has happened by other clocks.
START = 4_000_000_000_000


class Clock:
    """What the scripts take for the time, in milliseconds since the epoch."""

    def __init__(self, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
        self._client = client
        true_source = scripts.source
        assert true_source("claim").count(_TIME) == 1, "the scripts must know the time from one place"
        monkeypatch.setattr(scripts, "source", lambda name: true_source(name).replace(_TIME, _TURNED_BY_HAND))
        self.reset()

    @property
    def now(self) -> int:
        return int(self._client.get(_KEY))

    def reset(self) -> None:
        self._client.set(_KEY, START)

    def advance(self, seconds: float) -> None:
        """Let this much time pass."""
        self._client.incrby(_KEY, round(seconds * 1000))
