"""All benchmarks in turn, each in a process of its own, and the page that tells them.

What each printed is kept under var/bench/, so that one can be run again alone; the page is written from
all that is kept there. A section that was taken on another machine or day says so.
"""

import argparse
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import machine
from bench.section import Section, line, parse

ROOT = Path(__file__).parents[1]
KEPT = ROOT / "var" / "bench"
PAGE = ROOT / "docs" / "benchmarks.md"
CURVES = "images/curves.svg"
"""Where the curves' picture lies, from the page's folder."""


@dataclass(frozen=True)
class Bench:
    """One benchmark.

    Attributes:
        name: what it is asked for and kept under; its module's, unless that is another.
        quick: the options that make it quick, when it need only be seen to run.
        options: those without which it would be another benchmark.
        module: where it lies.
    """

    name: str
    quick: Sequence[str]
    options: Sequence[str] = ()
    module: str = ""

    def command(self, options: argparse.Namespace) -> list[str]:
        """What to run."""
        module = f"bench.{self.module or self.name}"
        command = [sys.executable, "-m", module, "--json", "--threads", str(options.threads), *self.options]
        if self.name == "peers":
            command += ["--peers", str(options.peers)]
        if self.name == "quality" and options.teacher:
            command += ["--painters", "compact", "plain", "teacher", "--teacher", str(options.teacher)]
        if self.name == "curves":
            command += ["--plot", str(options.output.parent / CURVES)]
        return [*command, *(self.quick if options.quick else ())]


_TINY = ("--sizes", "64", "--side", "128")
_ONE_PAIR = ("--content", "samples/content/coast.jpg", "--style", "samples/style/pointillism.jpg")
BENCHES = (
    Bench("floor", _TINY),
    Bench("evaluations", (*_TINY, "--networks", "compact", "--evaluations", "2", "--rounds", "1")),
    Bench("peers", ("--size", "64", "--rounds", "1", "--iterations", "3", "--steps", "2")),
    Bench("curves", ("--size", "64", "--steps", "4", "--evaluations", "4")),
    Bench(
        "quality",
        ("--spec", '{"size": 32, "steps": 2, "pyramid": 1}', *_ONE_PAIR),
        options=("--spec", '{"size": 512}'),
    ),
    Bench("lbfgs", ("--sizes", "64", "--evaluations", "4")),
    Bench("batches", ("--size", "64", "--steps", "2", "--batches", "1", "2", "--rounds", "1")),
    Bench("large", ("--cases", "compact:64", "vgg19:64:0.1")),
    Bench("durability", ("--rounds", "1", "--seconds", "0.2", "--submitters", "1")),
    Bench("eta", ("--jobs", "3")),
    Bench("waiting", ("--clients", "20", "--seconds", "0.3")),
    Bench("api", ("--rounds", "1", "--seconds", "0.2", "--connections", "2", "--jobs", "3")),
    Bench("throughput", ("--rounds", "1", "--jobs", "20")),
    Bench("bulk", ("--rounds", "1", "--items", "50")),
    Bench("million", ("--lines", "200", "--quiet", "0.2"), options=("--lines", "1000000"), module="bulk"),
)

OPENING = """
Written by `make bench` (`make bench PEERS=DIR` with checkouts of the peers in DIR), wholly from what it
measured:

{machine}

Each section is one process with as many threads as there are cores, and says what was run. Such machines
are noisy: read the ratios, which compare with something in the same run, before the seconds.
"""

CLOSING = """
## On a GPU

`make bench-gpu` (`PEERS=DIR` likewise) writes docs/benchmarks-gpu.md where there is a CUDA device: seconds
of one 512 x 512 picture with `vgg19` and 500 evaluations, a batch of 16 as a share of the matrix rate in
bfloat16 measured in the same run, pictures a minute by batch, and the throughput of neural-style-pt on the
same device. Where that page is not there, no figure was taken on a GPU and the CUDA paths are unmeasured.

## Other figures

Taken by hand, not by `make bench`.

| what | figure | how |
| --- | --- | --- |
| Redis memory a job | 2.1 kB waiting, 3.0 ended | `pytest -s tests/integration/jobs/test_memory.py` |
| `make run` until ready | 5 s | log of a fresh clone, torch installed |
| cleaning a 12 Mpx JPEG | 2.6 s of processor time | `shared.pictures.clean` |
| images | light 324 MB, paint 6.05 GB | [operations](operations.md) |

Seconds by picture, with the pictures: [gallery](gallery.md).
"""


def page(sections: Sequence[Section]) -> str:
    """The page: fixed words around the sections, the machine once, and again where a section's differs."""
    first = sections[0].machine
    parts = ["# Benchmarks", OPENING.strip().format(machine=line(first))]
    for section in sections:
        if section.machine != first:
            parts.append(section.markdown().replace("\n\n", f"\n\nTaken on: {line(section.machine)}\n\n", 1))
        else:
            parts.append(section.markdown())
    return "\n\n".join([*parts, CLOSING.strip()]) + "\n"


def run(bench: Bench, options: argparse.Namespace) -> Section:
    """Run one in a process of its own. Raises CalledProcessError when it fails."""
    command = bench.command(options)
    done = subprocess.run(command, cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE)
    return parse(done.stdout)


def _asked(options: argparse.Namespace) -> list[Bench]:
    """Those to run now: without the peers' checkouts, not the peers."""
    asked = [bench for bench in BENCHES if not options.only or bench.name in options.only]
    if options.peers is None and any(bench.name == "peers" for bench in asked):
        print("peers: not run, since no folder with their checkouts was given\n", flush=True)
        asked = [bench for bench in asked if bench.name != "peers"]
    return asked


def main() -> int:
    """Run, print, keep, and write the page."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__.splitlines()[0])
    parser.add_argument("--peers", type=Path, help="folder with the peers' checkouts")
    parser.add_argument("--teacher", type=Path, help="weights of the distillation's teacher: it paints too")
    parser.add_argument("--threads", type=int, default=machine.cores(), help="all cores by default")
    parser.add_argument("--only", nargs="+", choices=[bench.name for bench in BENCHES], help="run these")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: that it runs, not how fast")
    parser.add_argument("--output", type=Path, default=PAGE, help="the page to write")
    parser.add_argument("--kept", type=Path, default=KEPT, help="where results are kept")
    options = parser.parse_args()
    if options.quick and options.output == PAGE:
        parser.error("--quick needs an --output of its own: its figures mean nothing")
    options.output = options.output.resolve()
    options.peers = options.peers and options.peers.resolve()
    options.kept.mkdir(parents=True, exist_ok=True)
    (options.output.parent / CURVES).parent.mkdir(parents=True, exist_ok=True)
    for bench in _asked(options):
        begun = time.monotonic()
        section = run(bench, options)
        print(f"{section.text()}\n\n({bench.name}: {time.monotonic() - begun:.0f} s)\n", flush=True)
        (options.kept / f"{bench.name}.json").write_text(section.json())
    files = [options.kept / f"{bench.name}.json" for bench in BENCHES]
    options.output.write_text(page([parse(file.read_text()) for file in files if file.is_file()]))
    print(f"wrote {options.output}")
    return 0
