"""What the hub does for those who wait, without a Redis: its thread is not started."""

from typing import Any, cast

import pytest
import redis

from api.waiting.history import History
from api.waiting.hub import Hub
from api.waiting.waiters import Waiter
from shared.jobs.eta import Outlook
from shared.jobs.record import Job
from shared.settings import Settings
from tests.support.waiters import Idler

TOPIC = "batch_1"


class Watcher(Idler):
    """Waits for a batch, and keeps what it was told."""

    ticks = True

    def __init__(self, *, broken: bool = False) -> None:
        super().__init__(TOPIC)
        self.told: list[str] = []
        self._broken = broken

    def begin(self, history: History) -> None:  # noqa: ARG002
        if self._broken:
            raise ValueError("no record that can be read")
        self.told.append("begin")

    def missed(self, job: Job | None, outlook: Outlook | None) -> None:  # noqa: ARG002
        self.told.append("missed")

    def tick(self) -> None:
        self.told.append("tick")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Hub:
    monkeypatch.setattr("api.waiting.hub.read_jobs", lambda *_: {})
    return Hub(Settings(), cast("redis.Redis", None), lambda _: None)


def begin(hub: Hub, *watchers: Any) -> None:
    hub.begins("5-0")
    for watcher in watchers:
        hub._hold(cast("Waiter", watcher))
    hub.caught_up()


def test_who_has_missed_something_is_told_so_before_anything_else(hub: Hub) -> None:
    watcher = Watcher()
    begin(hub, watcher)
    hub.begins("9-0")
    hub._tick(0.0)
    assert watcher.told == ["begin"], "the changes since are still being read"
    hub.caught_up()
    hub._tick(1.0)
    assert watcher.told == ["begin", "missed", "tick"]


def test_one_that_cannot_be_begun_costs_no_other_its_place(hub: Hub) -> None:
    broken, watcher = Watcher(broken=True), Watcher()
    begin(hub, broken, watcher)
    hub._tick(0.0)
    assert (watcher.told, broken.sink.open) == (["begin", "tick"], False)
