"""On what and with what a figure was taken, and the options that all benchmarks share."""

import argparse
import datetime as dt
import os
import platform
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

ISA = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "amx_bf16", "asimd", "bf16", "sve")
"""Processor flags that decide how fast a matrix product is, by their names in /proc/cpuinfo."""


def options(doc: str | None) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark has; `doc` is the benchmark's docstring."""
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="print JSON instead of tables")
    parser.add_argument("--threads", type=int, default=cores(), help="torch's CPU threads; all cores")
    return parser


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def command(module: str) -> str:
    """What to type for the run under way, without this machine's paths and what is told elsewhere."""
    given, kept = iter(sys.argv[1:]), ["python", "-m", module]
    for word in given:
        if word in ("--threads", "--plot", "--pictures", "--output"):
            next(given)
        elif word in ("--peers", "--teacher"):
            next(given)
            kept += [word, "DIR" if word == "--peers" else "FILE"]
        elif word != "--json":
            kept.append(":".join(Path(part).name for part in word.split(":")))
    return " ".join(kept)


def describe(threads: int, device: str = "cpu") -> dict[str, Any]:
    """The machine: processor, memory, versions, date; the environment where it bears on speed."""
    about = {
        "processor": _processor(),
        "flags": " ".join(flag for flag in ISA if flag in _flags()),
        "cores": cores(),
        "threads": threads,
        "memory": _memory(),
        "GPU": torch.cuda.get_device_name(device) if device.startswith("cuda") else "none used",
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "date": dt.datetime.now(dt.UTC).date().isoformat(),
    }
    policy = os.environ.get("OMP_WAIT_POLICY")
    return about | ({"OMP_WAIT_POLICY": policy} if policy else {})


def synchronize(device: str) -> None:
    """Wait for what a GPU was given to do; on the CPU nothing is pending."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many CPU threads, and as many as before afterwards."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _cpuinfo(name: str) -> str:
    path = Path("/proc/cpuinfo")
    found = re.search(rf"^{name}\s*:\s*(.*)$", path.read_text(), re.MULTILINE) if path.is_file() else None
    return found[1] if found else ""


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _flags() -> set[str]:
    return set((_cpuinfo("flags") or _cpuinfo("Features")).split())


def _memory() -> str:
    if not hasattr(os, "sysconf") or "SC_PHYS_PAGES" not in os.sysconf_names:
        return ""
    return f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GiB"
