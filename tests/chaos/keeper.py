"""Keeps the service's processes running as a supervisor does: what dies is started again after a moment."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import httpx

from deploy.ports import free_port
from shared.jobs.record import Queue
from shared.jobs.workers import Workers
from tests.chaos.schedule import WORKERS
from tests.support.api import gunicorn
from tests.support.rig import Process, Rig
from tests.support.waiting import wait_for

RESTART_SECONDS = 0.5
LOOK_SECONDS = 0.05
READY_SECONDS = 120.0
LEAVE_SECONDS = 30.0


@dataclass(frozen=True)
class Death:
    """A process ended.

    Attributes:
        name: which. status: its exit status. meant: whether the run ended it.
    """

    name: str
    status: int
    meant: bool


class Keeper:
    """The API, the workers, and what befell them. Use it as a context manager, inside the rig's.

    Args:
        rig: what they run in.
        forked: whether workers start at once, from the tests' nursery, instead of importing torch each time.

    Attributes:
        url: the API's address, the same for every API process.
        names: of every process so far, by its ID.
        deaths: in order.
    """

    def __init__(self, rig: Rig, *, forked: bool = False) -> None:
        self._rig, self._forked = rig, forked
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.names: dict[int, str] = {}
        self.deaths: list[Death] = []
        self._running: dict[str, Process] = {}
        self._ended_at: dict[str, float] = {}
        self._meant: set[int] = set()
        self._stopped: set[int] = set()
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="keeper", daemon=True)

    def __enter__(self) -> Self:
        for name in WORKERS:
            self._start(name)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._unattended()

    def leave(self) -> list[str]:
        """Have every process leave in order; names those that did not in time."""
        self._unattended()
        for process in self._running.values():
            process.terminate()
        late = []
        for name, process in self._running.items():
            try:
                process.wait(LEAVE_SECONDS)
            except subprocess.TimeoutExpired:
                late.append(name)
        return late

    def wait_until_ready(self) -> None:
        """Wait until the API answers and every worker advertises itself."""
        wait_for(self._ready, "the service", READY_SECONDS)

    def kill(self, name: str) -> None:
        """SIGKILL. Of the API, the server and the process that serves: they are one container's."""
        process = self._running[name]
        self._meant.add(process.pid)
        children = _children(process.pid) if name == "api" else []
        process.kill()
        _signal(children, signal.SIGKILL)

    def terminate(self, name: str) -> None:
        """SIGTERM."""
        process = self._running[name]
        self._meant.add(process.pid)
        process.terminate()

    def freeze(self, name: str) -> Sequence[int]:
        """SIGSTOP, its children included; returns what `thaw` needs."""
        pid = self._running[name].pid
        pids = [pid, *_children(pid)]
        self._stopped.update(pids)
        _signal(pids, signal.SIGSTOP)
        return pids

    def thaw(self, pids: Sequence[int]) -> None:
        """SIGCONT to those of them that live."""
        _signal(pids, signal.SIGCONT)
        self._stopped.difference_update(pids)

    def _ready(self) -> bool:
        try:
            httpx.get(f"{self.url}/healthz", timeout=5).raise_for_status()
        except httpx.HTTPError:
            return False
        live = {worker.name.rpartition(":")[2] for worker in Workers(self._rig.client).live()}
        return all(str(self._running[name].pid) in live for name in WORKERS if name != "api")

    def _unattended(self) -> None:
        self._leaving.set()
        self._thread.join()
        self.thaw(list(self._stopped))

    def _start(self, name: str) -> None:
        if name == "api":
            process = self._rig.start(name, gunicorn(), api_port=self._port)
        elif self._forked:
            queue = Queue(name.partition("-")[0])
            process = self._rig.bear(name, queue, "worker", str(queue))
        else:
            process = self._rig.start(name, [sys.executable, "-m", "worker", name.partition("-")[0]])
        self.names[process.pid] = name
        self._running[name] = process

    def _keep(self) -> None:
        while not self._leaving.wait(LOOK_SECONDS):
            for name, process in list(self._running.items()):
                status = process.status
                if status is None:
                    continue
                now = time.monotonic()
                if name not in self._ended_at:
                    self._ended_at[name] = now
                    self.deaths.append(Death(name, status, process.pid in self._meant))
                elif now - self._ended_at[name] >= RESTART_SECONDS:
                    del self._ended_at[name]
                    self._start(name)


def _children(pid: int) -> list[int]:
    """IDs of the processes that this one has started."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with suppress(OSError):
                # The parent's ID is the second field after the name, which stands in brackets.
                if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == pid:
                    found.append(int(folder.name))
    return found


def _signal(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)
