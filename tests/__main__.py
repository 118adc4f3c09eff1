"""`python -m tests`, which is `make test`: the whole suite, its parts side by side.

The unit tests compute, the others mostly wait, for processes of the service and for leases to run out, and
have deadlines: the unit tests give way. With arguments it is `pytest` with these.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO

PYTEST = (sys.executable, "-m", "pytest")
#: Weighs a tenth of what others weigh, so that leases and deadlines of theirs hold.
NICENESS = 10


@dataclass(frozen=True)
class Part:
    """Tests that run in a process of their own.

    Attributes:
        name: what they are called in what is said at the end.
        command: runs them.
        gives_way: to the other parts, because they compute and the others have deadlines.
    """

    name: str
    command: Sequence[str]
    gives_way: bool = False


# The cache of failures has room for one run.
_APART = ("-p", "no:cacheprovider")
#: The longest first: it is shown as it goes.
PARTS = (
    Part("tests/faults", (*PYTEST, "tests/faults", *_APART)),
    Part("all the other tests", (*PYTEST, "--ignore=tests/unit", "--ignore=tests/faults")),
    Part("tests/unit", (*PYTEST, "tests/unit", *_APART), gives_way=True),
)


def side_by_side(parts: Sequence[Part]) -> list[int]:
    """Run all at once; what the first says is shown as it comes, what the others say when all have ended.

    Returns:
        Their exit statuses.
    """
    with ExitStack() as stack:
        said: list[IO[bytes]] = [stack.enter_context(tempfile.TemporaryFile()) for _ in parts[1:]]
        shown = _start(parts[0], None)
        kept_back = [_start(part, file) for part, file in zip(parts[1:], said, strict=True)]
        statuses = [process.wait() for process in (shown, *kept_back)]
        for file in said:
            file.seek(0)
            sys.stdout.buffer.write(file.read())
        sys.stdout.flush()
    return statuses


def _start(part: Part, said: IO[bytes] | None) -> "subprocess.Popen[bytes]":
    niceness = NICENESS if part.gives_way else 0
    return subprocess.Popen(
        part.command,
        stdin=None if said is None else subprocess.DEVNULL,
        stdout=said,
        stderr=said,
        preexec_fn=lambda: os.nice(niceness),  # noqa: PLW1509 - there are no threads here
    )


def main() -> int:
    """Exit status 0 when all tests passed."""
    if sys.argv[1:]:
        return subprocess.run([*PYTEST, *sys.argv[1:]], check=False).returncode
    statuses = side_by_side(PARTS)
    for part, status in zip(PARTS, statuses, strict=True):
        print(f"{part.name}: {'passed' if not status else f'FAILED (status {status}), see above'}")
    return next(filter(None, statuses), 0)


if __name__ == "__main__":
    # Ctrl-C is told to every part by the terminal. They clean up and end, and so does this.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(main())
