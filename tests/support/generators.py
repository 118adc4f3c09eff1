"""Programs that make clients of the OpenAPI document, each in a folder of its own below `var/`.

They are installed from the registry by its own client, at these versions, the first time that a test wants
them; where that cannot be done, the test is skipped and says why.
"""

import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

KEPT = Path(__file__).parents[2] / "var" / "test-tools"
SECONDS = 240
PYTHON_CLIENT = "openapi-python-client==0.29.1"
TYPESCRIPT = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@types/node@20.19.0")


def python_generator() -> Path:
    """A virtual environment with openapi-python-client, and all that what it makes needs."""

    def make(folder: Path) -> None:
        _run(sys.executable, "-m", "venv", folder)
        pip = (folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check", "--retries", "1")
        _run(*pip, "install", "--quiet", PYTHON_CLIENT)

    return _kept("openapi-python-client-0.29.1", make)


def typescript_generator() -> Path:
    """A folder whose `node_modules` has openapi-typescript, openapi-fetch and the compiler."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no node or no npm on this machine")

    def make(folder: Path) -> None:
        folder.mkdir()
        (folder / "package.json").write_text('{"private": true, "type": "module"}')
        quiet = ("--no-fund", "--no-audit", "--silent", "--fetch-retries=1")
        _run("npm", "install", *quiet, *TYPESCRIPT, cwd=folder)

    return _kept("openapi-typescript-7.13.0", make)


def _kept(name: str, make: Callable[[Path], None]) -> Path:
    target = KEPT / name
    if (target / "complete").exists():
        return target
    KEPT.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    try:
        # A virtual environment cannot be moved, so a mark says that all is there.
        make(target)
    except (OSError, subprocess.SubprocessError) as error:
        shutil.rmtree(target, ignore_errors=True)
        said = getattr(error, "stderr", "") or str(error)
        pytest.skip(f"{name} cannot be installed here: {said.strip()[-300:]}")
    (target / "complete").write_text(uuid.uuid4().hex)
    return target


def _run(*command: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True, timeout=SECONDS)
