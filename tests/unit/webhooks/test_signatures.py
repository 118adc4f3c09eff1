"""Signatures: what the reference library makes and takes."""

import base64
import time
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from shared.webhooks.signatures import PREFIX, new_secret, sign

ID, BODY = (
    "msg_01KB2T6P8Q5V7W9X0Y1Z2A3B4C_job_succeeded",
    '{"type":"job.succeeded","data":"täglich"}'.encode(),
)


def test_a_secret_is_as_the_specification_has_it_and_never_the_same() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith(PREFIX)
        assert 24 <= len(base64.b64decode(secret.removeprefix(PREFIX), validate=True)) <= 64


def test_the_reference_library_verifies_what_is_signed() -> None:
    secret = new_secret()
    headers = sign(ID, int(time.time()), BODY, [secret])
    assert Webhook(secret).verify(BODY, headers) == {"type": "job.succeeded", "data": "täglich"}


def test_a_signature_is_the_reference_librarys_own() -> None:
    secret, at = new_secret(), 1_800_000_000
    expected = Webhook(secret).sign(ID, datetime.fromtimestamp(at, UTC), BODY.decode())
    assert sign(ID, at, BODY, [secret])["webhook-signature"] == expected


def test_either_secret_verifies_while_two_sign_and_no_other_does() -> None:
    new, old = new_secret(), new_secret()
    headers = sign(ID, int(time.time()), BODY, [new, old])
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, old):
        assert Webhook(secret).verify(BODY, headers)
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(new_secret()).verify(BODY, headers)


@pytest.mark.parametrize("part", ["webhook-id", "webhook-timestamp", "body"])
def test_a_change_of_any_part_is_told(part: str) -> None:
    secret, now = new_secret(), int(time.time())
    headers, body = sign(ID, now, BODY, [secret]), BODY
    changed = {"webhook-id": f"{ID}x", "webhook-timestamp": str(now + 1)}
    if part == "body":
        body += b" "
    else:
        headers[part] = changed[part]
    with pytest.raises(WebhookVerificationError, match="No matching signature"):
        Webhook(secret).verify(body, headers)
