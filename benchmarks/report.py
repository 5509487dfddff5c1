"""What a benchmark says: rows with what was wanted of them, tables, notes; as Markdown and as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from benchmarks.machine import Machine
from benchmarks.turns import Spread

Better = Literal["higher", "lower"]


@dataclass(frozen=True, slots=True)
class Row:
    """A measure that has a goal."""

    measure: str
    value: Spread
    must: float
    aim: float
    better: Better
    detail: str
    """What was divided by what."""

    @property
    def verdict(self) -> str:
        """Which goal the median reaches: a report, not a test."""
        sign = 1 if self.better == "higher" else -1
        if sign * self.value.median >= sign * self.aim:
            return "aim"
        return "must" if sign * self.value.median >= sign * self.must else "BELOW"

    def cells(self) -> list[str]:
        """For the table of rows."""
        sign = "≥" if self.better == "higher" else "≤"
        return [
            self.measure,
            self.value.text(_digits(self.value.median)),
            f"{sign} {self.must:g}",
            f"{sign} {self.aim:g}",
            self.verdict,
            self.detail,
        ]


@dataclass(slots=True)
class Table:
    """Measurements without a goal of their own."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """One benchmark's findings, filled as it goes."""

    name: str
    machine: Machine
    command: str
    rows: list[Row] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    not_measured: list[str] = field(default_factory=list)

    def markdown(self) -> str:
        """The whole, to be read."""
        parts = [f"## {self.name}", f"`{self.command}`"]
        if self.rows:
            parts.append(table_of(ROW_HEADER, (row.cells() for row in self.rows)))
        for table in self.tables:
            parts += [f"### {table.title}", table_of(table.header, table.rows)]
        parts += [*self.notes, *(f"Not measured: {text}" for text in self.not_measured)]
        return "\n\n".join(parts) + "\n"

    def finish(self, folder: Path | None) -> None:
        """Print, and keep NAME.md and NAME.json in `folder`."""
        text = self.markdown()
        print("\n".join(self.machine.lines()), text, sep="\n\n", flush=True)
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{self.name}.md").write_text(text, encoding="utf-8")
            content = json.dumps(_plain(asdict(self)), indent=1, allow_nan=False, ensure_ascii=False)
            (folder / f"{self.name}.json").write_text(content, encoding="utf-8")


ROW_HEADER = ("measure", "measured: median (spread)", "must", "aim", "reaches", "how")


def table_of(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def rows_of(folder: Path, names: Iterable[str]) -> list[Row]:
    """The rows that benchmarks of these names left in `folder`; those that left none are passed over."""
    rows = []
    for name in names:
        path = folder / f"{name}.json"
        if path.exists():
            for values in json.loads(path.read_text(encoding="utf-8"))["rows"]:
                rows.append(Row(**values | {"value": Spread(**values["value"])}))
    return rows


def _digits(value: float) -> int:
    """Three significant digits, more or less."""
    return 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1.5 else 3


def _plain(value: Any) -> Any:
    """JSON has no NaN; an accuracy that does not exist is null."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
