"""Logging to standard error, one line an event: text for people, or one JSON object a line.

What is worked on (request, job, attempt) is said once, by `about` or `begin`, and stands in every JSON line
that is logged meanwhile in the same thread. No line shows a secret of the settings, a bearer token, or what
an address has beside its place: user, password, query.
"""

import json
import logging
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar
from urllib.parse import quote

from pydantic import SecretStr
from redis.connection import parse_url

from shared.settings import Settings

P = ParamSpec("P")
T = TypeVar("T")

#: What every line may say, in this order; further fields come with the event (`extra={"fields": {...}}`).
FIELDS = ("job", "job_id", "batch", "owner", "request_id", "trace_id", "worker", "attempt")

_everywhere: dict[str, object] = {}
_known: ContextVar[Mapping[str, object]] = ContextVar("log_fields", default={})  # noqa: B039 - never changed


def everywhere(**fields: object) -> None:
    """Say in every line of this process what it is."""
    _everywhere.update(_given(fields))


@contextmanager
def about(**fields: object) -> Iterator[None]:
    """Say in every line of the block what it is about, on top of what is said already; None says nothing."""
    token = _known.set({**_known.get(), **_given(fields)})
    try:
        yield
    finally:
        _known.reset(token)


def begin(**fields: object) -> None:
    """From here on this thread's lines are about this and nothing else."""
    _known.set(_given(fields))


def add(**fields: object) -> None:
    """From here on this thread's lines say this as well, until the next `begin`."""
    _known.set({**_known.get(), **_given(fields)})


def known(name: str) -> object:
    """What the lines of this thread say under a name; None for nothing."""
    return _known.get().get(name)


def carried(call: Callable[P, T]) -> Callable[P, T]:
    """The call, for another thread to make: its lines there say what those here do."""
    return partial(copy_context().run, call)


def _given(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


#: User and password of an address, and what follows its path.
_USERINFO = re.compile(r"(?<=://)[^/\s@\"'<>\\]*@")
_QUERY = re.compile(r"([a-z][a-z0-9+.-]*://[^\s?#\"'<>\\]*)[?#][^\s\"'<>\\]*", re.IGNORECASE)
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
_DATA = re.compile(r"(?i)\b(data:[a-z0-9/+.-]*[;,])[A-Za-z0-9+/=%;,_-]{16,}")


class Redaction:
    """Takes out of text what no log may show.

    Args:
        secrets: to be taken out wherever they stand; very short ones are not, since they stand everywhere.
    """

    _SHORTEST = 6

    def __init__(self, secrets: Iterator[str] | list[str] = []) -> None:  # noqa: B006 - only read
        kept = sorted({one for one in secrets if len(one) >= self._SHORTEST}, key=len, reverse=True)
        self._secrets = re.compile("|".join(map(re.escape, kept))) if kept else None

    @classmethod
    def of(cls, config: Settings) -> "Redaction":
        """That of the service: every secret among its settings, and Redis' password."""
        found = [value.get_secret_value() for value in _secret_values(config)]
        redis = parse_url(config.redis_url)  # type: ignore[no-untyped-call]
        found += [redis.get(name) or "" for name in ("password", "ssl_password")]
        found += [quote(one, safe="") for one in found]
        return cls(found)

    def __call__(self, text: str) -> str:
        """The text without them."""
        if "://" in text:
            text = _QUERY.sub(r"\1", _USERINFO.sub("", text))
        if self._secrets:
            text = self._secrets.sub("[secret]", text)
        text = _BEARER.sub(r"\1[secret]", text)
        return _DATA.sub(r"\1...", text) if "data:" in text else text


def _secret_values(config: Settings) -> Iterator[SecretStr]:
    for name in type(config).model_fields:
        value = getattr(config, name)
        for one in value.values() if isinstance(value, dict) else (value,):
            if isinstance(one, SecretStr):
                yield one


class TextFormatter(logging.Formatter):
    """Lines for people."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line, and a traceback below it where there is one."""
        return self._redact(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (RFC 3339 in UTC), level, logger, message, what it is about, exception."""

    def __init__(self, redact: Redaction) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        said: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._redact(record.getMessage()),
        }
        fields = {**_everywhere, **_known.get()}
        said |= {name: self._plain(fields[name]) for name in FIELDS if name in fields}
        said |= {name: self._plain(value) for name, value in getattr(record, "fields", {}).items()}
        if record.exc_info and record.exc_info[0]:
            said["exception"] = {
                "type": record.exc_info[0].__name__,
                "message": self._redact(str(record.exc_info[1])),
                "traceback": self._redact(self.formatException(record.exc_info)),
            }
        return json.dumps(said, ensure_ascii=False, separators=(",", ":"))

    def _plain(self, value: object) -> object:
        return value if isinstance(value, int | float) else self._redact(str(value))


def formatter(config: Settings) -> logging.Formatter:
    """What the settings ask for."""
    redact = Redaction.of(config)
    return JsonFormatter(redact) if config.log_format == "json" else TextFormatter(redact)


def set_up_logging(config: Settings) -> None:
    """Send every logger's lines to standard error, at the configured level and in the configured format.

    Warnings of Python, and what ends a thread or the process, are lines as well.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(config))
    logging.basicConfig(level=config.log_level, handlers=[handler], force=True)
    # Their chatter at INFO is about connections; ours is about jobs.
    for name in ("botocore", "boto3", "celery", "kombu", "httpx", "urllib3", "s3transfer", "amqp"):
        logging.getLogger(name).setLevel(max(logging.WARNING, logging.getLevelName(config.log_level)))
    logging.captureWarnings(capture=True)
    sys.excepthook = _ended
    threading.excepthook = _thread_ended


def _ended(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    logging.getLogger("impasto").critical("the process ends with an error", exc_info=(kind, error, trace))


def _thread_ended(ended: threading.ExceptHookArgs) -> None:
    if ended.exc_value is not None and ended.exc_type is not SystemExit:
        trace = (ended.exc_type, ended.exc_value, ended.exc_traceback)
        name = ended.thread.name if ended.thread else "unknown"
        logging.getLogger("impasto").error("the thread %s ended with an error", name, exc_info=trace)
