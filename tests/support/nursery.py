"""Worker processes that start at once: forked from one that has imported what they are made of, torch too.

Importing takes seconds of a processor, and the suite starts hundreds of workers. From the fork on such a
process is what `python -m worker` is, with an environment and a log of its own: what reads settings is
imported after it.

    born = of("paint").start(["worker", "paint"], environ, log)
    born.kill()
    assert born.wait(20) == -signal.SIGKILL
"""

import importlib
import io
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
#: Linux alone can wait for the child of another process.
WORKS = sys.platform == "linux"
_SERVICE = (
    "celery.apps.worker",
    "celery.concurrency.thread",
    "celery.worker.consumer",
    "kombu.transport.redis",
    "shared.objects.s3",
)
#: What a stage's process imports: nothing of it reads settings, starts threads or connects.
IMPORTS = {
    "paint": (*_SERVICE, "worker.engine", "worker.statistics"),
    "intake": (*_SERVICE, "worker.intake.prepare"),
    "chores": (*_SERVICE, "worker.chores.tidy", "worker.chores.archives"),
}
#: Reads settings while it is imported, so that a process must do that itself.
TOO_EARLY = "shared.celery_app"


class Born:
    """One process; what `subprocess.Popen` has of the same name does the same here."""

    def __init__(self, nursery: "Nursery", pid: int) -> None:
        self.pid = pid
        self._nursery = nursery
        self._status: int | None = None
        self._handle: int | None = os.pidfd_open(pid)
        #: Who asks for the status has it for all: the nursery can tell it once.
        self._one_asks = threading.Lock()

    def poll(self) -> int | None:
        with self._one_asks:
            if self._handle is not None:
                self._status = self._nursery.ask(status=self.pid)
                if self._status is not None:
                    os.close(self._handle)
                    self._handle = None
            return self._status

    def wait(self, timeout: float | None = None) -> int:
        if self.poll() is None:
            # Another thread may ask, and close the handle, while this one waits: so this one has its own.
            with suppress(ProcessLookupError):
                handle = os.pidfd_open(self.pid)
                try:
                    ended = select.poll()
                    ended.register(handle, select.POLLIN)
                    if not ended.poll(None if timeout is None else timeout * 1000):
                        raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0)
                finally:
                    os.close(handle)
        status = self.poll()
        assert status is not None
        return status

    def send_signal(self, number: int) -> None:
        # Until it was asked for, its status keeps the number from being given to another.
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class Nursery:
    """The process that others are forked from. `close` ends it, and them with it."""

    def __init__(self, queue: str) -> None:
        self._one_at_a_time = threading.Lock()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.nursery", queue],
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},  # read once, when torch is loaded
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for pytest, which then ends everything in order
        )

    def start(self, command: Sequence[str], environ: Mapping[str, str], log: Path) -> Born:
        """Start `python -m` with this command; what it says goes to `log`."""
        return Born(self, self.ask(command=list(command), environ=dict(environ), log=str(log)))

    def ask(self, **order: Any) -> Any:
        """Send an order; returns its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._one_at_a_time:
            print(json.dumps(order), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        assert answer, f"the nursery ended with {self._process.wait(10)}"
        return json.loads(answer)

    def close(self) -> None:
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()
        self._process.wait(60)


_nurseries: dict[str, Nursery] = {}


def of(queue: str) -> Nursery:
    """The session's nursery of a stage, started when it is first asked for."""
    if queue not in _nurseries:
        _nurseries[queue] = Nursery(queue)
    return _nurseries[queue]


def close_all() -> None:
    """End what `of` has started."""
    while _nurseries:
        _nurseries.popitem()[1].close()


def _serve(orders: Iterable[str]) -> dict[str, Any] | None:
    """Do as ordered until no more orders come. Returns an order in the process that is to carry it out."""
    born: set[int] = set()
    for line in orders:
        order = json.loads(line)
        if (pid := order.get("status")) is not None:
            found, status = os.waitpid(pid, os.WNOHANG)
            born -= {found}
            answer = os.waitstatus_to_exitcode(status) if found else None
        elif answer := os.fork():
            born.add(answer)
        else:
            return order
        print(json.dumps(answer), flush=True)
    for pid in born:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    return None


def _become(order: dict[str, Any]) -> None:
    """Be a process of one's own, and end as one."""
    os.environ.clear()
    os.environ.update(order["environ"])
    log = os.open(order["log"], os.O_WRONLY | os.O_APPEND)
    for source, number in ((os.open(os.devnull, os.O_RDONLY), 0), (log, 1), (log, 2)):
        os.dup2(source, number)
        if number != 1:
            os.close(source)
    assert isinstance(sys.stdout, io.TextIOWrapper)
    sys.stdout.reconfigure(write_through=True)
    sys.argv = order["command"]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Arguments: a stage."""
    for name in IMPORTS[sys.argv[1]]:
        importlib.import_module(name)
    assert TOO_EARLY not in sys.modules
    order = _serve(sys.stdin)
    if order is not None:
        _become(order)


if __name__ == "__main__":
    main()
