"""Child processes of the one-machine runner: started, logged with a prefix, restarted, ended together."""

import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

#: Seconds before a child that died is started again; doubled for each death in a row.
RESTART_SECONDS = 0.5
LONGEST_RESTART_SECONDS = 10.0
#: A child that lived this long starts its back-off anew.
STEADY_SECONDS = 10.0
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None
_print_lock = threading.Lock()


def _die_with_parent() -> None:
    """Have the kernel end this child when the runner dies, however it dies (Linux)."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


class Child:
    """One child process that is kept running.

    Args:
        name: prefix of its lines.
        command: what starts it.
        environ: its environment.
    """

    def __init__(self, name: str, command: Sequence[str], environ: Mapping[str, str]) -> None:
        self.name = name
        self.restarts = 0
        self._command = list(command)
        self._environ = dict(environ)
        self._delay = RESTART_SECONDS
        self._dead_since: float | None = None
        self._start()

    @property
    def pid(self) -> int:
        """Process ID of the running process, or of the last one."""
        return self._process.pid

    def look_after(self) -> None:
        """Start the process again when it has died and its back-off is over. Never blocks."""
        status = self._process.poll()
        if status is None:
            return
        now = time.monotonic()
        if self._dead_since is None:
            self._dead_since = now
            steady = now - self._started > STEADY_SECONDS
            self._delay = RESTART_SECONDS if steady else min(self._delay * 2, LONGEST_RESTART_SECONDS)
            say(self.name, f"ended with status {status}; starting it again in {self._delay:.1f} s")
        if now - self._dead_since >= self._delay:
            self.restarts += 1
            self._start()

    def terminate(self) -> None:
        """Ask the process to leave."""
        if self._process.poll() is None:
            self._process.terminate()

    def wait_or_kill(self, deadline: float) -> None:
        """Wait for the end until the deadline (monotonic seconds), then end it."""
        try:
            self._process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            say(self.name, "did not leave in time; killing it")
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _start(self) -> None:
        self._dead_since = None
        self._started = time.monotonic()
        self._process = subprocess.Popen(
            self._command,
            env=self._environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=_die_with_parent if _libc else None,  # noqa: PLW1509 - one prctl call, nothing else
        )
        assert self._process.stdout is not None  # noqa: S101 - PIPE was asked for
        self._reader = threading.Thread(
            target=_copy_lines, args=(self.name, self._process.stdout), name=f"log-{self.name}", daemon=True
        )
        self._reader.start()


def say(name: str, line: str) -> None:
    """Print one line with its source in front."""
    with _print_lock:
        print(f"{name:>7} | {line}", file=sys.stderr, flush=True)


def _copy_lines(name: str, stream: IO[bytes]) -> None:
    with stream:
        for line in stream:
            say(name, line.decode(errors="replace").rstrip())


def python_environ(**settings: str) -> dict[str, str]:
    """This process' environment with settings added, for a child that runs Python."""
    return {**os.environ, "PYTHONUNBUFFERED": "1", **{k: v for k, v in settings.items() if v}}
