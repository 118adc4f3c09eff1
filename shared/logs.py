"""Logging to standard error, one line an event."""

import logging
import sys

from shared.settings import Settings


def set_up_logging(config: Settings) -> None:
    """Send every logger's lines to standard error, at the configured level."""
    logging.basicConfig(
        level=config.log_level,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    # Their chatter at INFO is about connections; ours is about jobs.
    for name in ("botocore", "boto3", "celery", "kombu", "httpx", "urllib3", "s3transfer", "amqp"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(config.log_level)))
