"""A seed decides everything that a chaos run does to the service, and what is asked of it."""

from tests.chaos.callers import requests
from tests.chaos.schedule import DECK, schedule


def test_a_seed_decides_the_faults() -> None:
    assert schedule(1, 600, 6) == schedule(1, 600, 6)
    assert schedule(1, 600, 6) != schedule(2, 600, 6)


def test_every_kind_of_fault_comes_up_and_all_are_over_in_time() -> None:
    faults = schedule(7, 600, 6)
    assert {(fault.kind, fault.target) for fault in faults} == {card[:2] for card in DECK}
    assert [fault.at for fault in faults] == sorted(fault.at for fault in faults)
    assert all(fault.at + fault.seconds <= 600.01 for fault in faults)


def test_a_seed_decides_what_is_asked_for() -> None:
    asked = requests(1, 500, 600)
    assert asked == requests(1, 500, 600)
    assert len({one.key for one in asked}) == 500
    assert 0 <= asked[0].at <= asked[-1].at <= 600
    assert {one.cut_off for one in asked} == {True, False}
    kinds = [(one.by_url, one.cancel_after is None, one.deadline is None) for one in asked]
    assert {(True, True, True), (False, True, True), (False, False, True), (False, True, False)} <= {*kinds}
