"""When to ask again."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from client.retries import Retries, repeatable, retry_after, worth_repeating


def test_delays_double_up_to_their_bound_and_end() -> None:
    retries = Retries(attempts=5, first_seconds=1, longest_seconds=4)
    longest = [1, 2, 4, 4]
    for failures, bound in enumerate(longest, start=1):
        for _ in range(50):
            delay = retries.delay(failures)
            assert delay is not None
            assert bound / 2 <= delay <= bound
    assert retries.delay(5) is None


def test_delays_are_not_all_the_same() -> None:
    assert len({Retries().delay(1) for _ in range(20)}) > 1


def test_the_services_own_delay_is_followed_within_our_patience() -> None:
    retries = Retries(patience_seconds=60)
    assert retries.delay(1, 60) == 60
    assert retries.delay(1, 0) == 0
    assert retries.delay(1, 61) is None


@pytest.mark.parametrize(("value", "seconds"), [("7", 7.0), (" 0 ", 0.0)])
def test_retry_after_is_read_as_a_number(value: str, seconds: float) -> None:
    assert retry_after({"retry-after": value}) == seconds


def test_retry_after_is_read_as_a_date() -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    seconds = retry_after({"retry-after": later})
    assert seconds is not None
    assert 25 < seconds <= 30


def test_a_date_that_has_passed_means_now() -> None:
    assert retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0


def test_without_a_retry_after_there_is_none() -> None:
    assert retry_after({}) is None


@pytest.mark.parametrize(
    "value",
    [
        "",
        "soon",
        "-1",
        "\u00b2",
        f"Mon, 01 Jan 2024 00:00:00 +{'9' * 20}",
        f"Mon, {'9' * 20} Jan 2024 00:00:00",
    ],
)
def test_a_retry_after_that_is_neither_number_nor_date_is_none(value: str) -> None:
    assert retry_after({"retry-after": value}) is None


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_later_is_worth_repeating(status: int) -> None:
    assert worth_repeating(status, {})


@pytest.mark.parametrize("status", [400, 401, 404, 409, 422, 500, 501])
def test_no_is_not_worth_repeating(status: int) -> None:
    assert not worth_repeating(status, {"retry-after": "1"} if status != 409 else {})


def test_a_request_still_in_flight_is_worth_repeating() -> None:
    assert worth_repeating(409, {"retry-after": "1"})


def test_no_attempt_begins_after_the_total_time() -> None:
    retries = Retries(attempts=100, first_seconds=1, longest_seconds=1, total_seconds=10)
    assert retries.delay(5, spent=8.9) is not None
    assert retries.delay(5, spent=9.6) is None
    assert retries.delay(1, 9, spent=0.5) == 9
    assert retries.delay(1, 10, spent=0.5) is None


@pytest.mark.parametrize("status", [502, 504])
def test_what_a_gateway_says_is_not_repeated_where_it_might_do_something_twice(status: int) -> None:
    assert worth_repeating(status, {}, again=True)
    assert not worth_repeating(status, {}, again=False)


@pytest.mark.parametrize("status", [429, 503])
def test_what_was_not_done_is_repeated_whatever_it_was(status: int) -> None:
    assert worth_repeating(status, {}, again=False)


def test_methods_and_keys_tell_what_may_be_sent_twice() -> None:
    assert all(repeatable(method, {}) for method in ("GET", "HEAD", "PUT", "DELETE"))
    assert not repeatable("POST", {})
    assert repeatable("POST", {"Idempotency-Key": "k"})
