"""The benchmarks of crashes run, at a size at which their figures mean little but their tables are whole."""

import subprocess
import sys
from pathlib import Path

import pytest

from bench.section import Section, parse

ROOT = Path(__file__).parents[3]


def measured(*words: str) -> Section:
    done = subprocess.run(
        [sys.executable, "-m", *words, "--json"], cwd=ROOT, check=True, text=True, stdout=subprocess.PIPE
    )
    return parse(done.stdout)


def test_a_crash_is_measured() -> None:
    section = measured("bench.crashes", "--leases", "2", "--kills", "1", "--painted", "1.5")
    (figure,) = section.figures
    assert 0 < figure["held"] <= figure["moved"]
    assert figure["lost"] <= figure["painted"]
    assert len(section.tables[0].rows) == 1


@pytest.mark.timeout(400)
def test_a_lost_message_costs_plain_celery_a_job_and_impasto_none() -> None:
    section = measured("bench.plain_celery", "--faults", "lost_message", "--timeout", "2", "--job", "0.5")
    plain, ours = section.figures
    assert (plain["accepted"], plain["ended"]) == (3, 2)
    assert (ours["accepted"], ours["ended"]) == (3, 3)
