"""`python -m tests.chaos`: run, write the report, and say whether every promise held."""

import argparse
import sys

from tests.chaos import report
from tests.chaos.run import Plan, run
from tests.support.s3 import start_s3


def main() -> int:
    """Exit status 0 when every promise held."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=Plan.seed, help="decides the faults and the jobs")
    parser.add_argument("--jobs", type=int, default=Plan.jobs)
    parser.add_argument("--seconds", type=float, default=Plan.seconds, help="in which faults happen")
    parser.add_argument("--every", type=float, default=Plan.every, help="seconds from fault to fault")
    options = parser.parse_args()
    s3 = start_s3()
    try:
        result = run(Plan(options.seed, options.jobs, options.seconds, options.every), s3)
    finally:
        s3.stop()
    path = report.write(result)
    print(path.read_text())
    print(f"wrote {path}")
    return 1 if result.verdict.findings else 0


if __name__ == "__main__":
    sys.exit(main())
