"""What the commands have in common: how they reach the service, how they report errors, how they end.

Exit codes: 0 done; 1 the job has no picture (failed, canceled, expired, not finished) or something on this
machine failed; 2 the request or the command line is wrong; 3 the service cannot be reached or is failing.
"""

import json
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial, wraps
from http import HTTPStatus
from typing import Any, NoReturn, ParamSpec

import click

from client.api import Impasto
from client.calls import DEFAULT_URL
from client.errors import ApiError, ImpastoError, JobFailed, UnreachableError, UnsendableError
from client.models import Job
from client.retries import LATER, Retries

P = ParamSpec("P")

#: Someone watches: tell them soon that nobody answers.
RETRIES = Retries(attempts=3)
#: A command that goes on for hours lives through a restart of the service.
PATIENT = Retries(attempts=40, total_seconds=300, absence_seconds=300)
FAILED, WRONG, AWAY = 1, 2, 3


def service(retries: Retries = RETRIES) -> Callable[[Callable[P, None]], Callable[..., None]]:
    """Make a function a command that talks to the service: `--url`, `--token` and `--json`.

    The function takes the client first and `as_json` among its keyword arguments.

    Args:
        retries: how persistent to be. A command that is more so than others calls `knock` first.
    """
    return partial(_with_service, retries=retries)


def _with_service(command: Callable[P, None], retries: Retries) -> Callable[..., None]:
    @click.option("--url", envvar="IMPASTO_URL", help="The service's address.", show_default=DEFAULT_URL)
    @click.option("--token", envvar="IMPASTO_TOKEN", help="Bearer token. Better kept in IMPASTO_TOKEN.")
    @click.option("--json", "as_json", is_flag=True, help="Print the service's JSON, for programs.")
    @wraps(command)
    def with_client(*args: Any, url: str | None, token: str | None, **options: Any) -> None:  # noqa: ANN401
        try:
            client = Impasto(url, token, retries=retries)
        except UnsendableError as error:
            raise click.BadParameter(str(error), param_hint="--token or IMPASTO_TOKEN") from error
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--url") from error
        with client, reported():
            command(client, *args, **options)  # type: ignore[arg-type]

    return with_client


def knock() -> None:
    """Find out soon whether the service of the present command answers at all.

    Raises:
        ApiError, UnreachableError: it does not.
    """
    given = click.get_current_context().params
    with Impasto(given["url"], given["token"], retries=RETRIES) as hasty:
        hasty.presets()


@contextmanager
def reported() -> Iterator[None]:
    """Turn errors into a message on standard error and an exit code, without a traceback."""
    try:
        yield
    except ApiError as error:
        later = error.status >= HTTPStatus.INTERNAL_SERVER_ERROR or error.status in LATER
        leave(AWAY if later else WRONG, *_problem_lines(error))
    except JobFailed as error:
        leave(FAILED, *_failure_lines(error.job))
    except UnreachableError as error:
        hint = "Is it running? `make run` starts one on this machine; --url or IMPASTO_URL names another."
        leave(AWAY, str(error), hint)
    except FileNotFoundError as error:
        leave(WRONG, f"there is no file {error.filename}")
    except UnsendableError as error:
        leave(WRONG, str(error))
    except (ImpastoError, OSError) as error:
        leave(FAILED, str(error))


def leave(code: int, *lines: str) -> NoReturn:
    """End the command with a message."""
    print("impasto: " + "\n  ".join(lines), file=sys.stderr)
    sys.exit(code)


def say(what: str) -> None:
    """Tell a person something beside the result."""
    print(what, file=sys.stderr, flush=True)


def print_json(value: Mapping[str, Any]) -> None:
    """Print an answer as one line of JSON; in ASCII where it holds what cannot be written otherwise.

    Such are the lone surrogates that stand for bytes of a file's name that are no UTF-8.
    """
    text = json.dumps(value, ensure_ascii=False)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = json.dumps(value)
    print(text)


def job_lines(job: Job) -> list[str]:
    """A job for people, a fact a line."""
    facts = {
        "stage": job.stage,
        "queue": f"number {job.queue_position}" if job.queue_position else None,
        "step": f"{job.progress.step} of {job.progress.steps}" if job.progress else None,
        "created": job.created_at and f"{job.created_at:%Y-%m-%d %H:%M:%S %Z}",
        "picture": job.output and f"{job.output.width} x {job.output.height}, {job.output.bytes} bytes",
        "error": job.error and f"{job.error.title} ({job.error.code}): {job.error.detail}",
        "metadata": ", ".join(f"{name}={value}" for name, value in job.metadata.items()),
    }
    return [f"{job.id}  {job.status}"] + [f"  {name:<9}{fact}" for name, fact in facts.items() if fact]


def _problem_lines(error: ApiError) -> list[str]:
    lines = [f"{error.title} ({error.code})"]
    if error.errors:
        lines += [f"{fault.pointer or '/'}: {fault.detail}" for fault in error.errors]
    elif error.detail:
        lines.append(error.detail)
    return lines + ([f"request {error.request_id}"] if error.request_id else [])


def _failure_lines(job: Job) -> list[str]:
    lines = [f"job {job.id} {job.status}"]
    if job.error:
        where = f"{job.error.pointer}: " if job.error.pointer else ""
        lines.append(f"{where}{job.error.title} ({job.error.code})")
        lines += [job.error.detail] if job.error.detail else []
    return lines
