"""An outage is told once, however many parts of a worker notice it."""

import logging

import pytest

from worker.outage import Outage


def test_an_outage_is_told_when_it_begins_and_when_it_is_over(caplog: pytest.LogCaptureFixture) -> None:
    outage = Outage()
    with caplog.at_level(logging.WARNING):
        outage.back("ticker")
        assert not caplog.messages
        outage.away("ticker", "refused")
        outage.away("consumer", "reset")
        outage.away("ticker", "refused")
        assert caplog.messages == ["Redis is away, trying on: refused"]
        outage.back("ticker")
        assert len(caplog.messages) == 1, "the consumer is still cut off"
        outage.back("consumer")
        assert caplog.messages[1].startswith("Redis is back after")
        outage.away("consumer", "reset")
        outage.back("consumer")
    assert len(caplog.messages) == 4
