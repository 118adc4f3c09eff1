"""Worker processes that start at once: forked from one that has imported everything, torch included.

For tests that kill dozens of them. From the fork on, such a process runs what `python -m worker` runs.

    with Nursery(rig, Queue.PAINT) as nursery:
        pid = nursery.start()
        os.kill(pid, signal.SIGKILL)
"""

import importlib
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Self

if TYPE_CHECKING:
    from shared.jobs.record import Queue
    from tests.support.rig import Rig

#: What a stage's process imports; nothing of it starts threads or connects.
IMPORTS = {
    "paint": ("worker.__main__", "worker.engine", "worker.paint", "worker.statistics"),
    "intake": ("worker.__main__", "worker.intake.task"),
    "chores": ("worker.__main__", "worker.chores.tidy"),
}


class Nursery:
    """Starts workers of one queue with the rig's settings. Use it as a context manager.

    Attributes:
        log: what they say, all of them.
    """

    def __init__(self, rig: "Rig", queue: "Queue") -> None:
        self.log = rig.folder / f"{queue}-nursery.log"
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.support.nursery", str(queue)],
                cwd=Path(__file__).parents[2],
                env=rig.environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._pids: list[int] = []

    def __enter__(self) -> Self:
        assert self._answer() == "ready", self.log.read_text()
        return self

    def __exit__(self, *_: object) -> None:
        for pid in self._pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()
        self._process.wait(20)

    def start(self) -> int:
        """Start one more; returns its ID at once."""
        assert self._process.stdin is not None
        print("fork", file=self._process.stdin, flush=True)
        pid = int(self._answer())
        self._pids.append(pid)
        return pid

    def kill(self, pid: int) -> None:
        """SIGKILL; returns when it is gone."""
        self._pids.remove(pid)
        os.kill(pid, signal.SIGKILL)
        assert self._process.stdin is not None
        print(pid, file=self._process.stdin, flush=True)
        assert self._answer() == "gone"

    def _answer(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline().strip()


def _serve(queue: str, orders: IO[str], answers: IO[str]) -> None:
    for name in IMPORTS[queue]:
        importlib.import_module(name)
    print("ready", file=answers, flush=True)
    while order := orders.readline().strip():
        if order == "fork":
            pid = os.fork()
            if not pid:
                _work(queue)
            print(pid, file=answers, flush=True)
        else:
            with suppress(ChildProcessError):
                os.waitpid(int(order), 0)
            print("gone", file=answers, flush=True)


def _work(queue: str) -> None:
    """Be a worker, and leave as one."""
    import worker.__main__

    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)
    sys.argv = ["worker", queue]
    status = 1
    try:
        status = worker.__main__.main()
    finally:
        os._exit(status)


if __name__ == "__main__":
    _serve(sys.argv[1], sys.stdin, sys.stdout)
