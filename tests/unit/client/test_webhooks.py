"""Receivers act on what the service has sent now, and on nothing else."""

import base64
import json
import time
from typing import Any

import pytest

from client import WebhookError, webhooks

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
OTHER = "whsec_" + base64.b64encode(bytes(32)).decode()
BODY = json.dumps(
    {"type": "job.succeeded", "timestamp": "2026-01-31T12:00:00Z", "data": {"id": "job_1"}}
).encode()


def signed(body: bytes = BODY, secret: str = SECRET, ago: float = 0, **changes: str) -> dict[str, str]:
    now = int(time.time() - ago)
    headers = {"Webhook-Id": "msg_1", "Webhook-Timestamp": str(now)}
    headers["Webhook-Signature"] = webhooks.sign(secret, "msg_1", now, body)
    return headers | {name.replace("_", "-"): value for name, value in changes.items()}


def test_a_signed_request_is_read() -> None:
    event = webhooks.verify(signed(), BODY, SECRET)
    assert (event.id, event.type, event.data) == ("msg_1", "job.succeeded", {"id": "job_1"})
    assert abs(event.timestamp.timestamp() - time.time()) < 60


def test_the_signature_is_the_one_of_the_standards_own_example() -> None:
    """The example of the Standard Webhooks specification's reference libraries."""
    secret, message, timestamp = (
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "msg_p5jXN8AQM9LWM0D4loKWxJek",
        1614265330,
    )
    expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
    assert webhooks.sign(secret, message, timestamp, '{"test": 2432232314}') == expected


@pytest.mark.parametrize("body", [BODY + b" ", BODY.replace(b"job_1", b"job_2"), b""])
def test_a_changed_body_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookError, match="no signature"):
        webhooks.verify(signed(), body, SECRET)


def test_a_changed_id_or_time_is_refused() -> None:
    later = str(int(time.time()) + 7)
    for changes in {"Webhook_Id": "msg_2"}, {"Webhook_Timestamp": later}:
        with pytest.raises(WebhookError, match="no signature"):
            webhooks.verify(signed(**changes), BODY, SECRET)


def test_another_secret_is_refused_and_one_of_several_is_enough() -> None:
    with pytest.raises(WebhookError):
        webhooks.verify(signed(secret=OTHER), BODY, SECRET)
    assert webhooks.verify(signed(secret=OTHER), BODY, [SECRET, OTHER]).id == "msg_1"


def test_one_signature_of_several_is_enough_and_other_versions_are_passed_over() -> None:
    headers = signed()
    headers["Webhook-Signature"] = (
        f"v1a,AAAA v1,!!! v1, {signed(secret=OTHER)['Webhook-Signature']} " + (headers["Webhook-Signature"])
    )
    assert webhooks.verify(headers, BODY, SECRET).id == "msg_1"
    version = headers | {"Webhook-Signature": signed()["Webhook-Signature"].replace("v1,", "v2,")}
    with pytest.raises(WebhookError):
        webhooks.verify(version, BODY, SECRET)


@pytest.mark.parametrize(("ago", "says"), [(301, "too long"), (-330, "clocks")])
def test_what_was_sent_long_ago_or_is_from_the_future_is_refused(ago: float, says: str) -> None:
    with pytest.raises(WebhookError, match=says):
        webhooks.verify(signed(ago=ago), BODY, SECRET)
    assert webhooks.verify(signed(ago=ago), BODY, SECRET, tolerance=3600).id == "msg_1"


@pytest.mark.parametrize("name", ["Webhook-Id", "Webhook-Timestamp", "Webhook-Signature"])
def test_a_missing_header_is_named(name: str) -> None:
    headers = signed()
    del headers[name]
    with pytest.raises(WebhookError, match=name.lower()):
        webhooks.verify(headers, BODY, SECRET)


@pytest.mark.parametrize("time_said", ["soon", "1e9", "-5", "١٢٣", "9" * 400])
def test_a_time_that_is_none_is_refused(time_said: str) -> None:
    headers = signed()
    key = webhooks._key(SECRET)
    import hashlib
    import hmac

    digest = hmac.digest(key, f"msg_1.{time_said}.".encode() + BODY, hashlib.sha256)
    headers |= {
        "Webhook-Timestamp": time_said,
        "Webhook-Signature": "v1," + base64.b64encode(digest).decode(),
    }
    with pytest.raises(WebhookError, match="no Unix time"):
        webhooks.verify(headers, BODY, SECRET)


@pytest.mark.parametrize("body", [b"[]", b"{}", b"not JSON", b'"text"'])
def test_what_is_signed_but_no_event_is_refused(body: bytes) -> None:
    with pytest.raises(WebhookError, match="no event"):
        webhooks.verify(signed(body), body, SECRET)


@pytest.mark.parametrize("secret", ["whsec_", "whsec_!!!", "", []])
def test_a_secret_that_is_none_is_the_receivers_own_mistake(secret: Any) -> None:
    with pytest.raises(ValueError, match="secret"):
        webhooks.verify(signed(), BODY, secret)
