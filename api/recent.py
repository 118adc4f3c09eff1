"""Remembering what was asked for last."""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """The values that were asked for last, of so many bytes at most; safe to share between threads."""

    def __init__(self, most_bytes: int) -> None:
        self._left = most_bytes
        self._lock = threading.Lock()
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of a key, if it is remembered."""
        with self._lock:
            if (found := self._values.get(key)) is None:
                return None
            self._values.move_to_end(key)
            return found[0]

    def keep(self, key: K, value: V, size: int) -> None:
        """Remember a value of so many bytes; it takes the room of those that were asked for longest ago."""
        with self._lock:
            self._left += self._values.pop(key, (None, 0))[1]
            self._values[key] = value, size
            self._left -= size
            while self._left < 0:
                self._left += self._values.popitem(last=False)[1][1]
