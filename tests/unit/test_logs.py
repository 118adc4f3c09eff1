"""Lines of the log: one JSON object each, with what is worked on and without what nobody may see."""

import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest

from shared import logs
from shared.settings import Settings

SECRET = "s3cr3t-value"


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    logs.begin()
    yield
    logs.begin()


@pytest.fixture
def line() -> logging.Formatter:
    return logs.formatter(Settings(log_format="json", api_tokens={"ann": SECRET}))


def logged(
    formatter: logging.Formatter, message: str, *arguments: object, **options: object
) -> dict[str, object]:
    record = logging.LogRecord("here", logging.INFO, __file__, 1, message, arguments, None)
    record.__dict__.update(options)
    text = formatter.format(record)
    assert "\n" not in text
    said: dict[str, object] = json.loads(text)
    return said


def test_a_line_says_when_how_bad_who_and_what(line: logging.Formatter) -> None:
    said = logged(line, "%d jobs\nand more", 3, created=1_800_000_000.5)
    assert said == {
        "time": "2027-01-15T08:00:00.500Z",
        "level": "INFO",
        "logger": "here",
        "message": "3 jobs\nand more",
    }


def test_what_is_worked_on_stands_in_every_line_of_its_thread_until_it_is_done(
    line: logging.Formatter,
) -> None:
    with logs.about(job="job_1", owner="ann", batch=None, attempt=2):
        with logs.about(owner="ben"):
            assert logged(line, "x")["owner"] == "ben"
        said = logged(line, "x")
        seen: list[object] = []
        look = lambda: seen.append(logs.known("job"))  # noqa: E731
        for target in (look, logs.carried(look)):
            thread = threading.Thread(target=target)
            thread.start()
            thread.join()
    assert (said["job"], said["owner"], said["attempt"], "batch" in said) == ("job_1", "ann", 2, False)
    assert seen == [None, "job_1"]
    assert "job" not in logged(line, "x")


def test_fields_of_an_event_and_its_exception_are_fields_of_the_line(line: logging.Formatter) -> None:
    try:
        int(f"no {SECRET}")
    except ValueError:
        said = logged(line, "failed", fields={"status": 500}, exc_info=sys.exc_info())
    assert said["status"] == 500
    exception = said["exception"]
    assert isinstance(exception, dict)
    assert (exception["type"], exception["message"]) == (
        "ValueError",
        "invalid literal for int() with base 10: 'no [secret]'",
    )
    assert exception["traceback"].startswith("Traceback")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("GET https://ann:pw@example.org/a.jpg?key=1#f failed", "GET https://example.org/a.jpg failed"),
        ("at 'http://example.org?key=1', then", "at 'http://example.org', then"),
        ("rediss://:pw@host:6379/0?x=y", "rediss://host:6379/0"),
        ("Authorization: Bearer abc.def-1", "Authorization: Bearer [secret]"),
        (f"token {SECRET}!", "token [secret]!"),
        ("data:image/png;base64,iVBORw0KGgoAAAANSUhEUg==", "data:image/png;..."),
        ("is it so? yes: a?b=c", "is it so? yes: a?b=c"),
    ],
)
@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_shows_what_nobody_may_see(form: str, text: str, shown: str) -> None:
    formatter = logs.formatter(Settings(log_format=form, api_tokens={"ann": SECRET}))
    record = logging.LogRecord("here", logging.INFO, __file__, 1, "%s", (text,), None)
    line = formatter.format(record)
    found = json.loads(line)["message"] if form == "json" else line.partition("here: ")[2]
    assert found == shown


def test_every_secret_of_the_settings_is_known_and_rediss_password() -> None:
    config = Settings(
        redis_url="rediss://:redis-p%40ssword@localhost/0?ssl_password=key-password",
        s3_secret_key="s3-secret-key",
        metrics_token="metrics-token",
        api_tokens={"ann": "first-token", "ben": "second-token"},
    )
    redact = logs.Redaction.of(config)
    redis = ("redis-p@ssword", "redis-p%40ssword", "key-password")
    for secret in (*redis, "s3-secret-key", "metrics-token", "first-token", "second-token"):
        assert redact(f"it is {secret}.") == "it is [secret]."
