"""Files that are either whole or not there, and known by their SHA-256."""

import hashlib
import os
import secrets
from collections.abc import Iterable
from pathlib import Path

from client.errors import DamagedError


def write_checked(path: Path, chunks: Iterable[bytes], sha256: str) -> None:
    """Write what arrives to `path` in one step, once its SHA-256 is known to begin as it should.

    The bytes go to a hidden file beside the target, which takes the target's name at the end, so that a
    reader never meets half a file and an error leaves what was there before.

    Raises:
        DamagedError: the bytes have another SHA-256.
        OSError: the folder cannot be written to.
    """
    digest = hashlib.sha256()
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            for chunk in chunks:
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if not digest.hexdigest().startswith(sha256):
            found = digest.hexdigest()
            raise DamagedError(f"{path.name} is damaged or another file: SHA-256 {found}, expected {sha256}")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
