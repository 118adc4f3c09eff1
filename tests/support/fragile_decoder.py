"""The decoder, except that a picture with a mark behind it is its end.

It runs in the decoder's place (`tests.support.altered`) and as that does: on its own, without site packages.
"""

import io
import os
import runpy
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

#: What a picture ends with that no decoder survives.
MARKS = {name: b"\n" + name.encode() for name in ("SIGSEGV", "SIGABRT", "SIGKILL", "ENDLESS")}
CHILD = Path(__file__).parents[2] / "shared" / "pictures" / "child.py"


def main() -> None:
    """Arguments as the decoder's."""
    data = sys.stdin.buffer.read()
    for name, mark in MARKS.items():
        if data.endswith(mark):
            die(name)
    sys.stdin = SimpleNamespace(buffer=io.BytesIO(data))  # type: ignore[assignment]
    runpy.run_path(str(CHILD), run_name="__main__")


def die(name: str) -> None:
    """As the mark says: of a signal, or never, under the decoder's own limits."""
    if name != "ENDLESS":
        os.kill(os.getpid(), signal.Signals[name])
    sys.path.append(sys.argv[1])
    seconds, memory = map(int, sys.argv[3:])
    runpy.run_path(str(CHILD), run_name="decoder")["_limit"](seconds, memory)
    while True:
        pass


if __name__ == "__main__":
    main()
