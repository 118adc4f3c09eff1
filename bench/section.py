"""What a benchmark hands on: tables with the words around them, as text, as JSON and as Markdown."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows of cells under column names; every row has as many cells as there are columns."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """For a terminal: columns padded to their widest cell."""
        lines = [self.columns, *self.rows]
        widths = [max(len(line[place]) for line in lines) for place in range(len(self.columns))]
        padded = (
            "  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in lines
        )
        return "\n".join(line.rstrip() for line in padded)

    def markdown(self) -> str:
        """For a page."""
        lines = [self.columns, ["---"] * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


@dataclass(frozen=True)
class Section:
    """One benchmark's part of the report.

    Attributes:
        title: heading. command: what was run, without the paths of this machine.
        prose: Markdown: what was measured, with what, and how to read it.
        machine: see `bench.machine.describe`.
        tables: the results for people. figures: the same for programs.
    """

    title: str
    command: str
    prose: str
    machine: Mapping[str, Any]
    tables: Sequence[Table]
    figures: Any = field(default_factory=list)

    def publish(self, *, as_json: bool) -> None:
        """Print it."""
        print(self.json() if as_json else self.text())

    def json(self) -> str:
        """For programs; `parse` reads it."""
        return json.dumps(asdict(self), indent=2)

    def text(self) -> str:
        """For a terminal."""
        return "\n\n".join((f"{self.title}\n{line(self.machine)}", *(table.text() for table in self.tables)))

    def markdown(self) -> str:
        """For a page."""
        parts = (f"## {self.title}", f"`{self.command}`", self.prose.strip())
        return "\n\n".join((*parts, *(table.markdown() for table in self.tables)))


def parse(text: str) -> Section:
    """The section that `publish` printed as JSON."""
    data = json.loads(text)
    return Section(**data | {"tables": [Table(**table) for table in data["tables"]]})


def line(machine: Mapping[str, Any]) -> str:
    """The machine in one line."""
    return "; ".join(f"{name} {value}" for name, value in machine.items() if value not in ("", None))


def seconds(value: float) -> str:
    """Three digits or a thousandth of a second, whichever is coarser."""
    return f"{value:.3f}" if value < 10 else f"{value:.1f}"


def ratio(value: float | None) -> str:
    """A ratio, or a dash where there is nothing to compare with."""
    if value is None:
        return "-"
    return f"{value:.3f}" if value < 0.2 else f"{value:.2f}"
