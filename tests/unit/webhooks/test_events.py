"""Which receivers are refused by their address alone."""

from typing import Any

import pytest

from shared.errors import WebhookRefused
from shared.settings import Settings
from shared.webhooks.events import check_receiver

OPEN = [
    ("https://example.org/hook", {}),
    ("http://example.org", {}),
    ("https://EXAMPLE.org:443/a?b=c", {}),
    ("https://93.184.216.34/", {}),
    ("https://[2606:2800:220:1:248:1893:25c8:1946]/", {}),
    ("https://example.org:8443/", {"fetch_ports": "443,8443"}),
    ("http://127.0.0.1:9000/", {"trusted_networks": "127.0.0.0/8"}),
    # What a name leads to is looked at when something is sent.
    ("http://hooks.internal:9000/", {"trusted_networks": "10.0.0.0/8"}),
]
CLOSED = [
    ("ftp://example.org/", {}),
    ("https:///hook", {}),
    ("https://user:secret@example.org/", {}),
    ("https://example.org\\@10.0.0.1/", {}),
    ("https://example.org/\r\nHost: other", {}),
    ("https://exämple.org/", {}),
    ("https://example.org:8443/", {}),
    ("https://example.org:0/", {}),
    ("http://127.0.0.1/", {}),
    ("http://2130706433/", {}),
    ("http://10.0.0.1/", {}),
    ("http://169.254.169.254/latest/meta-data", {}),
    ("http://[::1]/", {}),
    ("http://[::ffff:10.0.0.1]/", {}),
    ("http://localhost/", {}),
    ("http://redis/", {}),
    ("http://metadata.google.internal/", {"trusted_networks": "10.0.0.0/8"}),
    ("http://10.0.0.1/", {"trusted_networks": "127.0.0.0/8"}),
    ("https://93.184.216.34:8443/", {"trusted_networks": "10.0.0.0/8"}),
]


@pytest.mark.parametrize(("url", "settings"), OPEN)
def test_a_public_or_trusted_receiver_passes(url: str, settings: dict[str, Any]) -> None:
    check_receiver(url, Settings(**settings))


@pytest.mark.parametrize(("url", "settings"), CLOSED)
def test_any_other_is_refused(url: str, settings: dict[str, Any]) -> None:
    with pytest.raises(WebhookRefused):
        check_receiver(url, Settings(**settings))
