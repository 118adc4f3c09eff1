"""The events that a receiver can be told of, and the addresses that a receiver may have."""

from enum import StrEnum

from shared.errors import FetchRefused, WebhookRefused
from shared.settings import Settings
from shared.web.addresses import allowed, is_trusted
from shared.web.targets import Target, target


class JobEvent(StrEnum):
    """What happens to a job, each once at most."""

    PROCESSING = "job.processing"
    SUCCEEDED = "job.succeeded"
    FAILED = "job.failed"
    CANCELED = "job.canceled"
    EXPIRED = "job.expired"


class BatchEvent(StrEnum):
    """What happens to a batch, each once at most."""

    COMPLETED = "batch.completed"
    FAILED = "batch.failed"
    CANCELED = "batch.canceled"


#: What `POST /v1/webhooks/test` sends.
TEST_EVENT = "webhook.test"

_REFUSED = (
    "Only public servers are told, on port 80 or 443 unless the operator allows others; a private network is "
    "refused unless it is in IMPASTO_TRUSTED_NETWORKS."
)


def check_receiver(url: str, settings: Settings) -> None:
    """Refuse a receiver whose address says already that nothing may be sent there.

    What a name leads to is looked at whenever something is sent: it may change.

    Raises:
        WebhookRefused: it is no plain http or https URL; or its host is a literal private address or a name
            that only a private network knows, or its port is not allowed; and it cannot be trusted.
    """
    try:
        here = target(url)
    except FetchRefused:
        raise WebhookRefused(
            "A receiver is a plain http or https URL: an ASCII host name or a public address, no user name."
        ) from None
    if not _may_be_sent_to(here, settings):
        raise WebhookRefused(_REFUSED)


def _may_be_sent_to(here: Target, settings: Settings) -> bool:
    trusted = settings.trusted_networks
    if here.address is None:
        # What a name leads to may be trusted, whatever the port.
        return bool(trusted) or not (here.local_name or here.port not in settings.fetch_ports)
    if is_trusted(here.address, trusted):
        return True
    return allowed(here.address, trusted) and here.port in settings.fetch_ports
