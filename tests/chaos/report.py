"""The report of a chaos run: what was promised and whether it held, what crashes cost, and the timeline."""

import json
import os
import platform
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.section import Table
from shared.jobs.record import Status
from tests.chaos.run import Result, kinds
from tests.chaos.schedule import Kind
from tests.chaos.timeline import svg
from tests.chaos.watch import Interruption

PAGE, PICTURE, FIGURES = "report.md", "timeline.svg", "result.json"


def write(result: Result) -> Path:
    """Write report, picture and figures into the run's folder; returns the report's path."""
    folder = result.plan.kept_in
    plan = result.plan
    title = f"Chaos run {plan.seed}: {plan.jobs} jobs, {len(result.faults)} faults"
    (folder / PICTURE).write_text(svg(result.samples, result.faults, title))
    (folder / FIGURES).write_text(json.dumps(_plain(result), indent=2, default=str))
    (folder / PAGE).write_text(page(result, title))
    return folder / PAGE


def page(result: Result, title: str) -> str:
    """The report."""
    plan, verdict = result.plan, result.verdict
    command = f"make chaos SEED={plan.seed} JOBS={plan.jobs} SECONDS={plan.seconds:g}"
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}"
    held = "Every promise held." if not verdict.findings else "**Promises were broken:**"
    deaths = Counter(death.name for death in result.deaths)
    alone = [f"{death.name} (status {death.status})" for death in result.deaths if not death.meant]
    parts = [
        f"# {title}",
        f"`{command}`, on {machine}. Drained {result.drained_at - plan.seconds:.0f} s after the last fault.",
        held,
        *(f"- {finding}" for finding in verdict.findings),
        f"![Jobs by status over time, and every fault]({PICTURE})",
        "## How the jobs ended",
        _outcomes(result).markdown(),
        *_exhausted(result),
        "## What a fault cost",
        COST.strip(),
        cost(result.interruptions).markdown(),
        "## Duplicates refused",
        _refused(result).markdown(),
        "## Faults",
        _kinds(result).markdown(),
        f"Processes started again: {_counts(deaths)}."
        + (f" Ended by themselves: {', '.join(alone)}." if alone else ""),
        "## Every fault in order",
        "\n".join(f"- {fault}" for fault in result.faults),
    ]
    return "\n\n".join(parts) + "\n"


COST = """
*Held again*: from the fault until another attempt held the job. *Moved again*: until that attempt told its
first step. *Lost*: seconds of work since the last checkpoint, or since the attempt began where it had none.
"""


def cost(interruptions: Sequence[Interruption]) -> Table:
    """Seconds by what took the job away, median and worst."""
    columns = ("fault", "jobs", "held again s", "worst", "moved again s", "worst", "lost s", "worst")
    groups: dict[str, list[Interruption]] = {}
    for one in interruptions:
        stage = "painting" if one.painting else "fetching"
        name = "frozen beyond the lease" if one.fault.kind is Kind.FREEZE else str(one.fault.kind)
        groups.setdefault(f"{stage}: {name}", []).append(one)
    rows = []
    for name, found in sorted(groups.items()):
        held = [one.held_again - one.at for one in found if one.held_again is not None]
        moved = [one.moved_again - one.at for one in found if one.moved_again is not None]
        lost = [one.lost_seconds for one in found]
        rows.append([name, str(len(found)), *_spread(held), *_spread(moved), *_spread(lost)])
    return Table(columns, rows)


def _spread(values: Sequence[float]) -> tuple[str, str]:
    return (f"{statistics.median(values):.2f}", f"{max(values):.2f}") if values else ("-", "-")


def _outcomes(result: Result) -> Table:
    columns = ("asked for", *Status, "lost")
    rows = [
        [name, *(str(counts.get(status, 0)) for status in columns[1:])]
        for name, counts in sorted(result.verdict.outcomes.items())
    ]
    return Table(columns, rows)


def _refused(result: Result) -> Table:
    tally = result.verdict.tally
    counts = {
        "submits repeated, since their 202 was cut off, and given the same job": result.verdict.cut_off,
        "writes refused, since the claim was another's by then": tally.stale,
        "publishes": tally.finished,
        "publishes that came again and changed nothing": tally.repeated,
        "results of attempts that were overtaken or cut short, swept by a chore": result.verdict.leftovers,
        "leases that ran out": tally.lost,
        "jobs put back by workers that left": tally.released,
    }
    return Table(("what", "times"), [[what, str(count)] for what, count in counts.items()])


def _exhausted(result: Result) -> list[str]:
    found = result.verdict.exhausted
    if not found:
        return ["No job used up its attempts."]
    return [
        "Jobs that used up their attempts, and the injected faults that did it:",
        "\n".join(f"- {one.key}\n" + "\n".join(f"  - {words}" for words in one.attempts) for one in found),
    ]


def _kinds(result: Result) -> Table:
    rows = [[target, kind, str(count)] for (target, kind), count in sorted(kinds(result.faults).items())]
    return Table(("target", "fault", "times"), rows)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items())) or "none"


def _plain(result: Result) -> dict[str, Any]:
    return {
        "seed": result.plan.seed,
        "jobs": result.plan.jobs,
        "seconds": result.plan.seconds,
        "findings": result.verdict.findings,
        "outcomes": result.verdict.outcomes,
        "tally": asdict(result.verdict.tally),
        "leftovers": result.verdict.leftovers,
        "cut_off": result.verdict.cut_off,
        "faults": [asdict(fault) for fault in result.faults],
        "interruptions": [asdict(one) for one in result.interruptions],
        "deaths": [asdict(one) for one in result.deaths],
    }
