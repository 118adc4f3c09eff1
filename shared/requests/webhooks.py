"""Webhooks as a request names them: whether something may be sent there, and what the record keeps."""

from typing import Any

from shared.errors import WebhookRefused
from shared.jobs.record import Webhook
from shared.requests.bodies import Parsed
from shared.requests.models import BatchWebhook, JobWebhook
from shared.settings import Settings
from shared.webhooks.events import check_receiver


def check_webhook(parsed: Parsed[Any], settings: Settings, pointer: str = "/webhook") -> None:
    """Look at the receiver that a body names at `<pointer>/url`, if any; a fault is added to `parsed`."""
    node: Any = parsed.tree
    for part in [*pointer.split("/")[1:], "url"]:
        node = node.get(part) if isinstance(node, dict) else None
    place = f"{pointer}/url"
    if not isinstance(node, str) or not parsed.sound(place):
        return
    if fault := receiver_fault(node, settings):
        parsed.faults.append(WebhookRefused(fault.detail, pointer=place))


def receiver_fault(url: str, settings: Settings) -> WebhookRefused | None:
    """Why nothing may be sent to this address; None when something may, as far as the address says."""
    try:
        check_receiver(url, settings)
    except WebhookRefused as fault:
        return fault
    return None


def webhook_of(given: JobWebhook | BatchWebhook | None) -> Webhook | None:
    """What the record keeps of a webhook."""
    return None if given is None else Webhook(given.url, tuple(map(str, given.events or ())))
