"""What it costs to have Redis sync its append-only file before it answers: submits a second.

Run as `python -m bench.durability [--json]`. Servers without a file, synced each second and synced before
each answer run side by side, on the same disk; they take turns in rounds, so that what else the machine does
meets all of them. The figures are medians over the rounds.
"""

import argparse
import os
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from bench import machine
from bench.load import LEAST
from bench.section import Section, Table, ratio
from shared.jobs.store import JobStore
from shared.redis import connect
from shared.settings import Settings
from tests.support.jobs import new_job
from tests.support.valkey import start_valkey

NONE, EVERYSEC, ALWAYS = "no file", "everysec", "always"
MODES = (NONE, EVERYSEC, ALWAYS)
#: A record that is appended for one submit is about this large.
BLOCK = 4096
SYNCS = 100

PROSE = """
Each thread submits one job after the other to the job store, past the API: the worst case, since nothing but
Redis is waited for. `always` syncs once for all commands that arrived together, so threads share the cost of
a sync. A plain write and sync of {block} bytes to the same disk took {p50:.2f} ms in the median, {p99:.2f} ms
at the 99th percentile: on another disk the figures of `always` are others.
"""


@dataclass(frozen=True)
class Figure:
    """What one mode came to; `ratio` is its share of the submits a second of `everysec` in the same run."""

    mode: str
    threads: int
    per_second: float
    p50_ms: float
    p99_ms: float
    ratio: float


def section(options: argparse.Namespace) -> Section:
    """Measure every mode with each number of threads, on one disk."""
    with tempfile.TemporaryDirectory(dir=options.folder) as own, ExitStack() as exits:
        p50, p99 = syncs(Path(own))
        stores = {mode: exits.enter_context(store_on(Path(own), mode)) for mode in MODES}
        figures = [figure for count in options.submitters for figure in measure(stores, options, count)]
    rows = [
        [
            one.mode,
            str(one.threads),
            f"{one.per_second:.0f}",
            f"{one.p50_ms:.2f}",
            f"{one.p99_ms:.2f}",
            ratio(one.ratio),
        ]
        for one in figures
    ]
    columns = ("appendfsync", "threads", "submits a second", "p50 ms", "p99 ms", "of everysec")
    return Section(
        "Durability",
        machine.command("bench.durability"),
        PROSE.format(block=BLOCK, p50=p50, p99=p99),
        machine.describe(options.threads),
        [Table(columns, rows)],
        {"sync_ms": {"p50": p50, "p99": p99}, "submits": [asdict(one) for one in figures]},
    )


@contextmanager
def store_on(folder: Path, mode: str) -> Iterator[JobStore]:
    """A job store on a server of its own."""
    options = () if mode == NONE else ("--appendfsync", mode)
    server = start_valkey(folder / mode.replace(" ", "-"), aof=mode != NONE, options=options)
    try:
        config = Settings(redis_url=server.url, redis_timeout=20)
        with connect(config) as client:
            yield JobStore(client, config)
    finally:
        server.kill()


def measure(stores: Mapping[str, JobStore], options: argparse.Namespace, threads: int) -> list[Figure]:
    """What each mode comes to when so many threads submit."""
    rates: dict[str, list[float]] = {mode: [] for mode in stores}
    latencies: dict[str, list[float]] = {mode: [] for mode in stores}
    for _ in range(options.rounds):
        for mode, store in stores.items():
            found, took = load(store, options.seconds, threads)
            rates[mode].append(len(found) / took)
            latencies[mode] += found
    figures = []
    for mode in stores:
        p50, p99 = percentiles(latencies[mode])
        share = statistics.median(a / b for a, b in zip(rates[mode], rates[EVERYSEC], strict=True))
        figures.append(Figure(mode, threads, statistics.median(rates[mode]), p50, p99, share))
    return figures


def load(store: JobStore, seconds: float, threads: int) -> tuple[list[float], float]:
    """Latencies in seconds of all submits, and the seconds in which they were answered.

    Each thread submits for so long, and until it has `LEAST` answers.
    """
    start = threading.Barrier(threads)

    def submits(_: int) -> tuple[list[float], float]:
        store.submit(new_job())  # connects
        start.wait()
        found: list[float] = []
        first = now = time.perf_counter()
        while now < first + seconds or len(found) < LEAST:
            job = new_job()
            began = time.perf_counter()
            store.submit(job)
            now = time.perf_counter()
            found.append(now - began)
        return found, now - first

    with ThreadPoolExecutor(threads) as pool:
        found, took = zip(*pool.map(submits, range(threads)), strict=True)
    return [latency for one in found for latency in one], max(took)


def syncs(folder: Path) -> tuple[float, float]:
    """Milliseconds that appending and syncing one block takes, median and 99th percentile."""
    found = []
    with (folder / "block").open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            file.write(bytes(BLOCK))
            os.fdatasync(file.fileno())
            found.append(time.perf_counter() - began)
    return percentiles(found)


def percentiles(seconds: Sequence[float]) -> tuple[float, float]:
    """Median and 99th percentile, in milliseconds."""
    cuts = statistics.quantiles(seconds, n=100)
    return cuts[49] * 1e3, cuts[98] * 1e3


def main() -> None:
    """Measure and print."""
    parser = machine.options(__doc__)
    parser.add_argument("--folder", type=Path, default=Path("var"), help="on the disk to measure")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of one mode in one round")
    parser.add_argument("--submitters", type=int, nargs="+", default=[1, 8], help="threads that submit")
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    section(options).publish(as_json=options.json)


if __name__ == "__main__":
    main()
