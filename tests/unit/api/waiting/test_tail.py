"""Who listens to the tail is told when it has caught up, whatever befalls Redis meanwhile."""

from typing import Any, cast

import pytest

from api.waiting.tail import Tail
from shared.errors import StoreUnavailable
from shared.jobs.changes import Change, Extent


def change(number: int) -> Change:
    return Change(f"{number}-0", "a", number, "processing", None)


class Log:
    """A stream whose first read fails."""

    def __init__(self) -> None:
        self._there = [change(1), change(2)]
        self._away = True

    def extent(self) -> Extent:
        return Extent("0-0", "2-0")

    def after(self, entry_id: str, most: int) -> list[Change]:
        if self._away:
            self._away = False
            raise StoreUnavailable("away")
        return [one for one in self._there if one.id > entry_id][: min(most, 1)]


class Heard:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def begins(self, complete_from: str) -> None:
        self.calls.append(f"begins {complete_from}")

    def changed(self, changes: list[Change]) -> None:
        self.calls += [one.id for one in changes]

    def caught_up(self) -> None:
        self.calls.append("caught up")


def test_one_that_is_held_up_while_it_begins_catches_up_all_the_same() -> None:
    heard = Heard()
    tail = Tail(cast("Any", None), 2.0, heard)
    tail._log = cast("Any", Log())
    with pytest.raises(StoreUnavailable):
        tail._begin_if_needed()
    tail._begin_if_needed()
    tail._begin_if_needed()  # as after another break, in which nothing was lost
    assert heard.calls == ["begins 0-0", "1-0", "2-0", "caught up"]
