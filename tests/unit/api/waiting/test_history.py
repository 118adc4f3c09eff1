"""What a stream that comes back has missed."""

import pytest

from api.waiting.history import OF_A_TOPIC, History
from shared.jobs.changes import Change


def change(number: int, uid: str = "a", status: str = "processing", batch: str | None = None) -> Change:
    return Change(f"{number}-0", uid, number, status, "painting", batch_id=batch)


def ids(changes: list[Change] | None) -> list[str] | None:
    return changes if changes is None else [change.id for change in changes]


def test_what_happened_to_a_topic_after_an_entry_is_known() -> None:
    history = History()
    for number in range(1, 10):
        history.add(change(number, "ab"[number % 2]))
    assert ids(history.since("a", "3-0")) == ["4-0", "6-0", "8-0"]
    assert ids(history.since("a", "9-0")) == []
    assert ids(history.since("nothing happened to it", "3-0")) == []


def test_entries_are_compared_as_numbers() -> None:
    history = History()
    for number in (9, 10, 11):
        history.add(change(number))
    assert ids(history.since("a", "9-0")) == ["10-0", "11-0"]
    assert ids(history.since("a", "10-7")) == ["11-0"]


def test_what_was_before_the_first_entry_is_not_known() -> None:
    history = History(complete_from="100-0")
    history.add(change(101))
    assert history.since("a", "99-0") is None
    assert ids(history.since("a", "100-0")) == ["101-0"]


def test_an_entry_that_there_has_not_been_yet_is_another_streams() -> None:
    history = History()
    history.add(change(5))
    assert history.since("a", "6-0") is None


def test_a_topic_keeps_1024_changes() -> None:
    history = History()
    for number in range(1, OF_A_TOPIC + 3):
        history.add(change(number))
    assert history.since("a", "1-0") is None
    assert len(history.since("a", "2-0") or ()) == OF_A_TOPIC == 1024


def test_all_topics_together_are_bounded_too() -> None:
    history = History(of_all=10)
    history.add(change(1, "early"))
    for number in range(2, 12):
        history.add(change(number))
    assert history.since("early", "0-0") is None
    assert history.since("a", "0-5") is None
    assert ids(history.since("early", "1-0")) == []
    assert len(history.since("a", "1-0") or ()) == 10


def test_of_the_items_of_a_batch_those_that_ended_are_kept_under_it() -> None:
    history = History()
    history.add(change(1, "a", batch="batch"))
    history.add(change(2, "a", "succeeded", batch="batch"))
    history.add(change(3, "b", "failed", batch="batch"))
    assert ids(history.since("batch", "0-0")) == ["2-0", "3-0"]
    assert ids(history.since("a", "0-0")) == ["1-0", "2-0"]


@pytest.mark.parametrize("entry_id", ["", "x", "5", "5-", "-5", "5-x", "٣-0", "1" * 21 + "-0"])
def test_what_is_no_entry_is_refused(entry_id: str) -> None:
    with pytest.raises(ValueError, match="is not the ID of an entry"):
        History().since("a", entry_id)
