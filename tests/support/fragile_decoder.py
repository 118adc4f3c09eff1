"""The decoder, except that a picture with a mark behind it is its end.

It runs in the decoder's place (`tests.support.altered`) and as that does: on its own, without site packages.
"""

import io
import os
import signal
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType, SimpleNamespace

#: What a picture ends with that no decoder survives.
MARKS = {name: b"\n" + name.encode() for name in ("SIGSEGV", "SIGABRT", "SIGKILL", "ENDLESS")}
CHILD = Path(__file__).parents[2] / "shared" / "pictures" / "child.py"


def main(max_pixels: int, seconds: int, memory: int) -> int:
    """What the decoder's `main` takes and returns."""
    data = sys.stdin.buffer.read()
    for name, mark in MARKS.items():
        if data.endswith(mark):
            die(name, seconds, memory)
    sys.stdin = SimpleNamespace(buffer=io.BytesIO(data))  # type: ignore[assignment]
    return int(decoder().main(max_pixels, seconds, memory))


def die(name: str, seconds: int, memory: int) -> None:
    """As the mark says: of a signal, or never, under the decoder's own limits."""
    if name != "ENDLESS":
        os.kill(os.getpid(), signal.Signals[name])
    decoder()._limit(seconds, memory)
    while True:
        pass


def decoder() -> ModuleType:
    """The real one; not before it is needed, since tests import this module for its marks alone."""
    module = ModuleType("decoder")
    SourceFileLoader(module.__name__, str(CHILD)).exec_module(module)
    return module
