"""A batch's stream ends behind its last items, however late they are heard of."""

from typing import Any

import pytest

from api.waiting import batches, sse
from api.waiting.batches import BatchStream
from api.waiting.history import History
from api.waiting.lately import Lately
from shared.errors import StoreUnavailable
from shared.jobs.batch_record import Batch, BatchStatus
from shared.jobs.changes import Change

UID = "batch_1"
EARLIER = History("5-0")


class Told:
    """A sink that knows the events that were sent."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.open = True

    def begin(self, status: int, headers: Any) -> None:
        """The head."""

    def send(self, data: bytes) -> None:
        self.events += [line[7:] for line in data.decode().splitlines() if line.startswith("event: ")]

    def end(self) -> None:
        self.open = False


def batch(version: int, status: BatchStatus = BatchStatus.PROCESSING, **more: Any) -> Batch:
    values: dict[str, Any] = dict.fromkeys(Batch.__dataclass_fields__)
    values |= {"uid": UID, "id": UID, "owner": "local", "schema": 1, "version": version, "status": status}
    values |= {"total": 1, "loaded": 1, "checked": 1, "faults": 0, "following": 0, "created_at": 1.7e9}
    values |= {"counts": {}, "gone": {}, "slots": {}, "metadata": {}, "errors": ()}
    return Batch(**values | {"unchecked": False, "cancel_requested": False, "body_hash": "x"} | more)


def change(number: int, uid: str, status: str, version: int = 1) -> Change:
    return Change(f"{number}-0", uid, version, status, None, batch_id=None if uid == UID else UID)


CLAIMED = change(6, "job_1", "processing")
ITEM, END = change(7, "job_1", "succeeded"), change(8, UID, "completed", 5)
COMPLETED = batch(5, BatchStatus.COMPLETED)
#: An item of it was purged since.
LATER = batch(6, BatchStatus.COMPLETED)


@pytest.fixture(autouse=True)
def _shown_briefly(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a poll shows of the batch is not looked at here."""
    monkeypatch.setattr(batches, "whole", lambda _, __, event_id: sse.event("batch", {}, event_id))


def stream(sink: Told, now: list[Batch], last_id: str = "") -> BatchStream:
    return BatchStream(sink, now[0], "", last_id, Lately(lambda _: now[0]))


def test_the_end_waits_for_the_last_item() -> None:
    sink, now = Told(), [batch(3)]
    one = stream(sink, now)
    one.begin(EARLIER)
    now[0] = COMPLETED
    one.changed([CLAIMED], None, None)
    one.tick()
    one.tick()
    assert (sink.events, sink.open) == (["batch"], True)
    one.changed([ITEM, END], None, None)
    one.tick()
    assert (sink.events, sink.open) == (["batch", "item", "batch", "end"], False)


def test_what_ended_before_a_stream_began_is_in_what_it_tells_first() -> None:
    sink, now, history = Told(), [batch(3)], History("5-0")
    one = stream(sink, now)
    history.add(ITEM)
    history.add(END)
    now[0] = COMPLETED
    one.begin(history)
    assert (sink.events, sink.open) == (["batch", "end"], False)


def test_who_comes_back_is_told_the_last_item_before_the_end() -> None:
    sink, now = Told(), [COMPLETED]
    one = stream(sink, now, last_id="5-0")
    one.begin(EARLIER)
    assert (sink.events, sink.open) == ([], True)
    one.changed([ITEM, END], None, None)
    one.tick()
    assert (sink.events, sink.open) == (["item", "batch", "end"], False)


@pytest.mark.parametrize("now", [COMPLETED, LATER])
@pytest.mark.parametrize(("last_id", "told"), [("6-0", ["item"]), ("7-0", []), ("8-0", []), ("8-0.end", [])])
def test_who_comes_back_to_an_end_that_was_heard_of_is_told_at_once(
    now: Batch, last_id: str, told: list[str]
) -> None:
    sink, history = Told(), History("5-0")
    history.add(ITEM)
    history.add(END)
    stream(sink, [now], last_id).begin(history)
    assert (sink.events, sink.open) == ([*told, "batch", "end"], False)


def test_who_comes_back_long_after_an_end_is_told_at_once() -> None:
    sink, history = Told(), History("90-0")
    history.add(change(100, "another", "succeeded"))
    long_ago = batch(5, BatchStatus.COMPLETED, completed_at=0.007)
    stream(sink, [long_ago], "100-0").begin(history)
    assert (sink.events, sink.open) == (["batch", "end"], False)


def test_what_happens_to_a_batch_after_its_end_is_not_waited_for() -> None:
    sink, now = Told(), [batch(3)]
    one = stream(sink, now)
    one.begin(EARLIER)
    one.changed([ITEM, END], None, None)
    now[0] = LATER
    one.tick()
    assert (sink.events, sink.open) == (["batch", "item", "batch", "end"], False)


def test_a_stream_that_begins_while_redis_is_away_tells_how_the_batch_is_later() -> None:
    sink = Told()
    answers: list[Any] = [StoreUnavailable("away"), batch(3)]

    def look(_: str) -> Batch:
        if isinstance(answer := answers.pop(0), Exception):
            raise answer
        found: Batch = answer
        return found

    one = BatchStream(sink, batch(2), "", "", Lately(look))
    one.begin(EARLIER)
    assert sink.events == []
    one.tick()
    assert sink.events == ["batch"]


def test_a_change_that_is_never_heard_of_is_a_gap() -> None:
    sink, now = Told(), [batch(3)]
    one = stream(sink, now)
    one.begin(EARLIER)
    now[0] = COMPLETED
    one.changed([ITEM], None, None)
    for _ in range(batches._TICKS_TO_HEAR + 1):
        one.tick()
    assert (sink.events, sink.open) == (["batch", "item", "gap", "batch", "end"], False)


@pytest.mark.parametrize("last_id", ["", "1-0"])
def test_who_knows_nothing_is_told_how_an_ended_batch_is(last_id: str) -> None:
    sink = Told()
    stream(sink, [COMPLETED], last_id).begin(EARLIER)
    assert (sink.events[-2:], sink.open) == (["batch", "end"], False)


def test_behind_a_gap_the_next_look_says_it_all() -> None:
    sink, now = Told(), [batch(3)]
    one = stream(sink, now)
    one.begin(EARLIER)
    now[0] = COMPLETED
    one.missed(None, None)
    one.tick()
    assert (sink.events, sink.open) == (["batch", "gap", "batch", "end"], False)
