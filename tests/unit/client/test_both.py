"""The two clients are one: the same calls with the same parameters."""

import asyncio
import inspect
import threading
from pathlib import Path

import pytest

import client
from client import AsyncImpasto, Impasto, Job
from client.aio import AsyncBatches
from client.api import Batches
from tests.support.web import Web, hang
from tests.unit.client.conftest import QUICK, answer_json, job

PAIRS = [(Impasto, AsyncImpasto), (Batches, AsyncBatches)]


def calls(kind: type) -> dict[str, inspect.Signature]:
    return {
        name: inspect.signature(value)
        for name, value in vars(kind).items()
        if inspect.isfunction(value) and not name.startswith("_")
    }


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS, ids=["jobs", "batches"])
def test_both_have_the_same_calls_with_the_same_parameters(blocking: type, awaiting: type) -> None:
    ours, theirs = calls(blocking), calls(awaiting)
    assert list(ours) == list(theirs)
    for name, signature in ours.items():
        plain = [(one.name, one.kind, one.default) for one in signature.parameters.values()]
        other = [(one.name, one.kind, one.default) for one in theirs[name].parameters.values()]
        assert plain == other, name


@pytest.mark.parametrize(("blocking", "awaiting"), PAIRS, ids=["jobs", "batches"])
def test_what_the_one_returns_the_other_does(blocking: type, awaiting: type) -> None:
    for name, signature in calls(blocking).items():
        returned = str(signature.return_annotation)
        expected = returned.replace("collections.abc.Iterator", "collections.abc.AsyncIterator")
        assert str(calls(awaiting)[name].return_annotation) == expected, name
        assert inspect.iscoroutinefunction(vars(awaiting)[name]) == ("Iterator" not in returned), name


def test_waiting_for_many_things_at_once_takes_no_thread_each(web: Web) -> None:
    web.otherwise(answer_json(job(id="x", status="succeeded")))

    async def main() -> list[Job]:
        async with AsyncImpasto(web.url, retries=QUICK) as impasto:
            before = threading.active_count()
            jobs = await asyncio.gather(*(impasto.wait(str(number)) for number in range(30)))
            ours = {thread.name for thread in threading.enumerate() if thread.name == "impasto"}
            assert (before > 0, ours) == (True, set())
            return jobs

    assert len(asyncio.run(main())) == 30


def test_a_canceled_wait_ends_at_once_and_gives_its_connection_back(web: Web) -> None:
    web.route("/v1/jobs/x", hang)
    web.route("/v1/jobs/y", answer_json(job(id="y")))

    async def main() -> str:
        async with AsyncImpasto(web.url, retries=QUICK) as impasto:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.3):
                    await impasto.wait("x")
            return (await impasto.get("y")).id

    assert asyncio.run(main()) == "y"


@pytest.mark.parametrize("kind", [Impasto, Batches], ids=["jobs", "batches"])
def test_every_call_is_documented(kind: type) -> None:
    page = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
    for name in calls(kind):
        assert name == "close" or f"`{name}(" in page, name


@pytest.mark.parametrize("error", [one for one in client.__all__ if one.endswith(("Error", "Failed"))])
def test_every_error_is_documented(error: str) -> None:
    page = (Path(__file__).parents[3] / "docs" / "client.md").read_text(encoding="utf-8")
    assert error == "ImpastoError" or f"| `{error}` |" in page
