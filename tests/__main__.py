"""`python -m tests`, which is `make test`: the whole suite, the unit tests beside everything else.

The unit tests compute, the others mostly wait for processes of the service. So the unit tests run at the same
time and give way; what they said is shown when all is over. With arguments it is `pytest` with these.
"""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

PYTEST = (sys.executable, "-m", "pytest")
#: Kept from the cache of failures, which has room for one run.
UNIT = (*PYTEST, "tests/unit", "-p", "no:cacheprovider")
REST = (*PYTEST, "--ignore=tests/unit")
#: Weighs a tenth of what others weigh, so that leases and deadlines of theirs hold.
NICENESS = 10


def side_by_side(aside: Sequence[str], ahead: Sequence[str]) -> tuple[int, int]:
    """Run two commands at once; what `aside` says is kept back until both have ended.

    Returns:
        Their exit statuses.
    """
    with tempfile.TemporaryFile() as said:
        quiet = subprocess.Popen(
            aside,
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=said,
            preexec_fn=lambda: os.nice(NICENESS),  # noqa: PLW1509 - there are no threads here
        )
        loud = subprocess.run(ahead, check=False).returncode
        status = quiet.wait()
        said.seek(0)
        sys.stdout.buffer.write(said.read())
        sys.stdout.flush()
    return status, loud


def main() -> int:
    """Exit status 0 when all tests passed."""
    if sys.argv[1:]:
        return subprocess.run([*PYTEST, *sys.argv[1:]], check=False).returncode
    unit, rest = side_by_side(UNIT, REST)
    for name, status in (("tests/unit", unit), ("all the other tests", rest)):
        print(f"{name}: {'passed' if not status else f'FAILED (status {status}), see above'}")
    return unit or rest


if __name__ == "__main__":
    # Ctrl-C is told to both halves by the terminal. They clean up and end, and so does this.
    signal.signal(signal.SIGINT, lambda *_: None)
    sys.exit(main())
