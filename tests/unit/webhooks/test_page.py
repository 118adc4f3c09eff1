"""docs/webhooks.md says what is the case, and its snippets verify what is sent."""

import json
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from api.outgoing import MESSAGES
from shared.settings import Settings
from shared.webhooks.payloads import JobMessage
from shared.webhooks.signatures import new_secret, sign

PAGE = (Path(__file__).parents[3] / "docs" / "webhooks.md").read_text(encoding="utf-8")
ID, BODY = (
    "msg_01KB2T6P8Q5V7W9X0Y1Z2A3B4C_job_failed",
    '{"type":"job.failed","data":{"id":"täglich"}}'.encode(),
)


def snippets(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_names_every_event() -> None:
    assert re.findall(r"^\| `((?:job|batch|webhook)\.\w+)` \|", PAGE, re.MULTILINE) == list(MESSAGES)


def test_the_example_is_a_message() -> None:
    [text] = snippets("json")
    message = json.loads(text)
    assert JobMessage.model_validate_json(text).model_dump(mode="json") == message


def test_the_page_knows_the_schedule() -> None:
    names = {5.0: "5 s", 300.0: "5 min", 1800.0: "30 min", 7200.0: "2 h", 18_000.0: "5 h", 36_000.0: "10 h"}
    first, *others = Settings.model_fields["webhook_delays"].default
    assert first == 0
    assert f"sent again after {', '.join(names[delay] for delay in others)} (a setting)" in PAGE


def by_library(headers: dict[str, str], body: bytes, secret: str) -> bool:
    from standardwebhooks.webhooks import WebhookVerificationError

    space: dict[str, Any] = {"SECRET": secret, "print": lambda *_: None}
    exec(snippets("python")[0], space)
    try:
        space["receive"](headers, body)
    except WebhookVerificationError:
        return False
    return True


def by_hand(headers: dict[str, str], body: bytes, secret: str) -> bool:
    space: dict[str, Any] = {}
    exec(snippets("python")[1], space)
    return bool(space["verified"](headers, body, secret))


def in_a_shell(headers: dict[str, str], body: bytes, secret: str, folder: Path) -> bool:
    if not shutil.which("openssl"):
        pytest.skip("the snippet needs openssl")
    (folder / "body.json").write_bytes(body)
    names = {"webhook-id": "ID", "webhook-timestamp": "TIMESTAMP", "webhook-signature": "SIGNATURE"}
    given = {variable: headers[name] for name, variable in names.items()}
    done = subprocess.run(
        ["sh", "-c", snippets("sh")[0]],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "SECRET": secret, **given},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return done.stdout == "verified\n"


@pytest.mark.parametrize("way", [by_library, by_hand, in_a_shell], ids=["library", "by hand", "shell"])
def test_a_snippet_takes_what_is_signed_and_nothing_else(way: Callable[..., bool], tmp_path: Path) -> None:
    new, old = new_secret(), new_secret()
    headers = sign(ID, int(time.time()), BODY, [new, old])
    more = (tmp_path,) if way is in_a_shell else ()
    assert way(headers, BODY, new, *more)
    assert way(headers, BODY, old, *more)
    assert not way(headers, BODY + b" ", new, *more)
    assert not way(headers, BODY, new_secret(), *more)
