"""The nursery: what is forked there is as good as started."""

import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import nursery
from tests.support.nursery import Born, Nursery
from tests.support.waiting import wait_for

pytestmark = pytest.mark.skipif(not nursery.WORKS, reason="only Linux has a nursery")
SERVER = ("http.server", "--bind", "127.0.0.1", "0")


@pytest.fixture
def log(tmp_path: Path) -> Path:
    log = tmp_path / "log"
    log.touch()
    return log


def born(log: Path, *command: str, **environ: str) -> Born:
    return nursery.of("chores").start(command, {**environ, "PATH": os.environ["PATH"]}, log)


def test_it_runs_a_module_with_arguments_and_environment_of_its_own(log: Path) -> None:
    process = born(log, "timeit", "-n1", "-r1", "import os; print(os.environ['GIVEN'])", GIVEN="to it")
    assert process.wait(60) == 0
    assert log.read_text().startswith("to it\n1 loop")
    assert "GIVEN" not in os.environ


def test_an_error_ends_it_with_a_traceback_and_a_status(log: Path) -> None:
    process = born(log, "json", "/nowhere")
    assert process.wait(60) != 0
    assert "No module named json.__main__" in log.read_text()


def test_it_is_waited_for_frozen_and_killed_as_any_process(log: Path) -> None:
    process = born(log, *SERVER)
    wait_for(lambda: "Serving" in log.read_text(), "the server")
    assert process.poll() is None
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.05)
    os.kill(process.pid, signal.SIGSTOP)
    process.kill()
    assert process.wait(60) == process.poll() == -signal.SIGKILL
    process.terminate()  # too late to do anything


def test_many_may_ask_at_once_how_it_ended(log: Path) -> None:
    for _ in range(20):
        process = born(log, "timeit", "-n1", "-r1", "pass")
        with ThreadPoolExecutor(8) as threads:
            waiting = [threads.submit(process.wait, 60) for _ in range(4)]
            polling = [threads.submit(wait_for, lambda: process.poll() == 0, "its end") for _ in range(4)]  # noqa: B023
        assert [one.result() for one in waiting] == [0] * 4
        for one in polling:
            one.result()


def test_what_was_born_goes_with_its_nursery(log: Path) -> None:
    nursery = Nursery("chores")
    process = nursery.start(SERVER, os.environ, log)
    wait_for(lambda: "Serving" in log.read_text(), "the server")
    nursery.close()
    with pytest.raises(ProcessLookupError):
        os.kill(process.pid, 0)
