"""Impasto on one machine: `make run`, or `python -m deploy.local`.

Starts an embedded Valkey (unless `IMPASTO_REDIS_URL` names another), the API and one worker a stage, keeps
them running, and ends them as one. What it keeps lies in `IMPASTO_DATA_DIR`, so that a second run finds the
first one's jobs and pictures.
"""

import fcntl
import ipaddress
import os
import signal
import socket
import sys
import threading
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import IO, Self
from urllib.error import URLError

from deploy.children import Child, python_environ, say
from deploy.ports import free_port
from deploy.valkey import NoValkeyError, embedded_valkey
from shared.errors import StoreUnavailable
from shared.jobs.record import Queue
from shared.jobs.workers import Workers
from shared.redis import connect
from shared.settings import Settings, settings

READY_SECONDS = 180.0
LEAVE_SECONDS = 30.0
LOOK_SECONDS = 0.2


class RunnerError(RuntimeError):
    """The house cannot be started; the message says what to do."""


class House:
    """Every process of the service on this machine.

    Args:
        config: the settings.
        embed: start a Valkey of our own instead of using `redis_url`.

    Attributes:
        url: where the API listens.
        data_dir: where everything is kept.
        redis_url: where the job store answers.
    """

    def __init__(self, config: Settings, *, embed: bool) -> None:
        self.data_dir = config.data_dir
        # Imported here, since it reads the settings: a wrong one is to be told, not to stop an import.
        from api.auth import OpenToAllError, check_binding  # noqa: PLC0415

        try:
            check_binding(config)
        except OpenToAllError as error:
            raise RunnerError(str(error)) from error
        self._lock = _lock(config.data_dir)
        port = config.api_port or free_port()
        _check_free(config.api_host, port)
        self.url = f"http://{_for_url(config.api_host)}:{port}"
        environ = {
            "IMPASTO_DATA_DIR": str(config.data_dir.resolve()),
            "IMPASTO_API_HOST": config.api_host,
            "IMPASTO_API_PORT": str(port),
            "IMPASTO_STORAGE": config.storage,
        }
        self._store: Child | None = None
        self.redis_url = config.redis_url
        if embed:
            try:
                valkey = embedded_valkey(config.data_dir / "valkey")
            except NoValkeyError as error:
                raise RunnerError(str(error)) from error
            self.redis_url = valkey.url
            self._store = Child("valkey", valkey.command, python_environ())
        environ["IMPASTO_REDIS_URL"] = self.redis_url
        self._config = config.model_copy(update={"redis_url": self.redis_url})
        python = [sys.executable, "-m"]
        api = [*python, "gunicorn", "-c", "python:api.gunicorn", "api.app:from_environment()"]
        commands = {"api": api} | {str(queue): [*python, "worker", str(queue)] for queue in Queue}
        self._children = [
            Child(name, command, python_environ(**environ)) for name, command in commands.items()
        ]
        self._leaving, self._unattended, self._left = threading.Event(), threading.Event(), threading.Event()
        self._keeper = threading.Thread(target=self._look_after, name="keeper", daemon=True)
        self._keeper.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pids(self) -> dict[str, int]:
        """Process IDs by name."""
        children = [*self._children, *([self._store] if self._store else [])]
        return {child.name: child.pid for child in children}

    def wait_until_ready(self, stopped: threading.Event) -> bool:
        """Wait until the API answers and every stage has a worker; False when stopped meanwhile.

        Raises:
            RunnerError: that did not happen in time.
        """
        deadline = time.monotonic() + READY_SECONDS
        while not stopped.wait(LOOK_SECONDS):
            if self._ready():
                return True
            if time.monotonic() > deadline:
                raise RunnerError(
                    f"the service was not ready after {READY_SECONDS:.0f} s; see the lines above"
                )
        return False

    def stop(self) -> None:
        """End everything: the API and the workers first, then the store that they use."""
        self._leaving.set()
        self._unattended.wait()
        for child in self._children:
            child.terminate()
        deadline = time.monotonic() + LEAVE_SECONDS
        for child in self._children:
            child.wait_or_kill(deadline)
        if self._store is not None:
            self._store.terminate()
            self._store.wait_or_kill(time.monotonic() + LEAVE_SECONDS)
        self._left.set()
        self._keeper.join()
        self._lock.close()

    def _look_after(self) -> None:
        """Start again what has died, until the house is left.

        The thread lives until everything has ended: to the kernel it is the parent of what it started, and
        its end would end the store before the workers.
        """
        while not self._leaving.wait(LOOK_SECONDS):
            for child in (self._store, *self._children):
                if child is not None:
                    child.look_after()
        self._unattended.set()
        self._left.wait()

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/readyz", timeout=2):
                pass
            with connect(self._config) as redis:
                return {worker.queue for worker in Workers(redis).live()} >= set(Queue)
        except (URLError, OSError, StoreUnavailable):
            return False


def _lock(data_dir: Path) -> IO[str]:
    """Hold the data directory: two runners in one would fight over its files."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        lock = (data_dir / "lock").open("w")
    except OSError as error:
        raise RunnerError(
            f"{data_dir} cannot be used: {error}; set IMPASTO_DATA_DIR to another folder"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        raise RunnerError(
            f"another runner uses {data_dir}; stop it, or set IMPASTO_DATA_DIR to another folder"
        ) from None
    return lock


def _check_free(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise RunnerError(f"port {port} on {host} is taken; set IMPASTO_API_PORT to another") from error


def _for_url(host: str) -> str:
    """How this machine reaches the address that the API listens on."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.is_unspecified:
        return "127.0.0.1"
    return f"[{host}]" if address.version == 6 else host


def stop_on_signals() -> threading.Event:
    """An event that SIGINT and SIGTERM set."""
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    return stopped


def main() -> int:
    """Run until told to stop."""
    stopped = stop_on_signals()
    try:
        with House(settings(), embed="IMPASTO_REDIS_URL" not in os.environ) as house:
            say("run", "starting; the paint worker takes some seconds to load torch")
            if house.wait_until_ready(stopped):
                say("run", f"Impasto is ready: {house.url} (Ctrl-C stops it)")
            stopped.wait()
            say("run", "stopping")
    except (RunnerError, ValueError) as error:  # a setting that is unknown or out of bounds is a ValueError
        say("run", str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
