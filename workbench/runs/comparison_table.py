"""A comparison as one table, which the command line, the app, Markdown and CSV draw: its rows, their order,
how a cell reads; and as JSON with all of it.

The rules for outside text in files are those of `export.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, assert_never

from workbench.runs.comparison import (
    Comparison,
    GroupComparison,
    MetricRow,
    SeedTest,
    SpreadRow,
    goodness,
    p_of,
)
from workbench.runs.confusion import ConfusionChange
from workbench.runs.export import (
    ExportFormat,
    csv_text,
    finite_json,
    markdown_table,
    markdown_text,
    record_text,
)
from workbench.runs.intervals import SIGNIFICANT, Interval
from workbench.runs.paired import NotPaired, PairedTest
from workbench.runs.seed_groups import seed_of
from workbench.runs.values import (
    MARK,
    MARK_WORDS,
    delta_words,
    holm_words,
    marked_p,
    number_words,
    setting_words,
    spread_words,
    title_of,
)
from workbench.support.errors import UserError
from workbench.support.units import NOTHING, interval_fractions, interval_words, points_words, signed

Section = Literal["recipe", "group", "metric", "mcnemar", "paired", "recall"]
"""A table's rows in this order; what was tested stands below the test accuracy."""
Kind = Literal["setting", "count", "words", "number", "mean", "interval", "change", "p", "score", "part"]
"""What the cells of a row hold: a recipe's value; a whole number; text; a number; a mean over seeds; the
interval of the row above; that of a difference, in points; a p; images won and lost; so many of all."""
RESULT: tuple[Section, ...] = ("group", "metric", "mcnemar", "paired")
"""The sections of what came of the runs."""
_ACCURACY = "test.accuracy"
_TITLES = {
    "runs": "runs tested",
    "interval": "change 95 %, points",
    "p_holm": "McNemar p",
    "score": "won : lost images",
    "better": "seeds better",
    "p_images_holm": "p (images)",
    "p_seeds_holm": "p (seeds)",
}
_OF_THE_ROW_ABOVE = "  95 % interval"


@dataclass(frozen=True, slots=True)
class TableRow:
    """A line of the table: a cell a column, None where there is nothing."""

    section: Section
    key: str
    """A recipe's key, a number's, a class in `recall`, or what a test tells."""
    kind: Kind
    cells: tuple[Any, ...]
    deltas: tuple[float | None, ...] = ()
    """Each less the baseline's; empty where nothing is measured so."""
    baseline: int = 0
    marked: frozenset[int] = frozenset()
    """The places whose difference counts as significant."""
    is_told: bool = True
    """False for what people need not see: tables leave it out, CSV has it."""
    doubted: frozenset[int] = frozenset()
    """The places whose value says little, such as one seed's."""

    @property
    def measure(self) -> str:
        """The key by whose rule its numbers read."""
        return _ACCURACY if self.section == "recall" else self.key

    def title(self, *, percent: bool = True) -> str:
        """What the row is called."""
        if self.kind == "interval":
            return _OF_THE_ROW_ABOVE
        if self.section == "metric":
            return title_of(self.key, percent=percent)
        return self.key if self.section in ("recipe", "recall") else _TITLES.get(self.key, self.key)

    def words(self, place: int, *, percent: bool = True) -> str:
        """A cell; a dash where there is nothing."""
        cell = self.cells[place]
        if cell is None:
            return NOTHING
        match self.kind:
            case "setting":
                return setting_words(cell)
            case "count" | "words":
                return str(cell)
            case "number":
                return number_words(self.measure, cell, percent=percent)
            case "mean":
                return spread_words(self.measure, cell, percent=percent)
            case "interval":
                return interval_words(cell) if percent else interval_fractions(cell)
            case "change":
                return points_words(cell)
            case "p":
                return marked_p(cell)
            case "score":
                return "{}:{}".format(*cell)
            case "part":
                return "{} of {}".format(*cell)
            case _:
                assert_never(self.kind)

    def change(self, place: int, *, percent: bool = True) -> str:
        """What a cell is more than the baseline's, with its sign; empty where nothing is measured."""
        return delta_words(self.measure, self._delta(place), percent=percent)

    def goodness(self, place: int) -> int:
        """1 where that is for the better, -1 for the worse, 0 for neither."""
        return goodness(self.measure, self._delta(place))

    def _delta(self, place: int) -> float | None:
        return self.deltas[place] if self.deltas and place != self.baseline else None


@dataclass(frozen=True, slots=True)
class ComparisonTable:
    """Runs, or groups of runs that differ in seeds only, beside each other."""

    columns: tuple[str, ...]
    """What each is called."""
    baseline: int
    """The place that the others are measured against."""
    rows: tuple[TableRow, ...]
    confusion: tuple[ConfusionChange, ...]
    """The pairs whose test errors changed most, of runs."""
    notes: tuple[str, ...]
    """What the signs mean."""
    warnings: tuple[str, ...]
    """Why some of it may not be comparable, or is not tested."""

    def told(self, *sections: Section) -> tuple[TableRow, ...]:
        """The rows of these sections that people see."""
        return tuple(row for row in self.rows if row.is_told and row.section in sections)


def table_of_runs(comparison: Comparison, names: Sequence[str] = ()) -> ComparisonTable:
    """A column a run.

    Args:
        names: what the runs are called, in texts too; their ids unless given.
    """
    ids = [run.id for run in comparison.runs]
    names = names or ids
    rows = [TableRow("recipe", row.key, "setting", row.values) for row in comparison.recipe]
    marked = _marked(comparison.paired)
    for row in comparison.metrics:
        marks = marked if row.key == _ACCURACY else frozenset()
        rows.append(_measured(row, "metric", "number", row.values, marks))
        rows += _interval_rows(row.key, [run.interval(row.key) for run in comparison.runs])
        if row.key == _ACCURACY:
            rows += _mcnemar_rows(comparison.paired)
    rows += [_measured(row, "recall", "number", row.values) for row in comparison.recall]
    called = dict(zip(ids, names, strict=True))
    warnings = [*comparison.warnings, *_why_not_paired(comparison)]
    for name, test in zip(names, comparison.paired, strict=True):
        if isinstance(test, PairedTest) and test.left_out:
            warnings.append(f"{name}: {test.left_out} images left out, not tested by both alike")
    signs = f"{MARK_WORDS}, McNemar's exact test on the same test images" if marked else ""
    adjusted = holm_words(map(p_of, comparison.paired))
    return ComparisonTable(
        columns=tuple(names),
        baseline=comparison.baseline,
        rows=tuple(rows),
        confusion=comparison.confusion,
        notes=_in_one(signs, adjusted),
        warnings=tuple(with_names(warning, called) for warning in warnings),
    )


def table_of_groups(
    comparison: Comparison, groups: GroupComparison, names: Sequence[str] = ()
) -> ComparisonTable:
    """A column a group of seeds; `names` are the groups' own unless given."""
    names = names or [group.name for group in groups.groups]
    rows = [TableRow("recipe", row.key, "setting", row.values) for row in groups.recipe]
    rows += _group_rows(groups)
    marked = _marked(groups.tests)
    for row in groups.metrics:
        marks = marked if row.key == _ACCURACY else frozenset()
        rows.append(_measured(row, "metric", "mean", row.spreads, marks))
        if row.key.endswith(".accuracy"):
            rows += _interval_rows(row.key, [None if held is None else held.interval for held in row.spreads])
        if row.key == _ACCURACY:
            rows += _seed_rows(groups.tests)
    signs = "± sample standard deviation. p (images): these seeds, other images; p (seeds): other seeds"
    signs = f"{MARK_WORDS}  {signs}" if marked else signs
    adjusted = holm_words(map(p_of, groups.tests))
    return ComparisonTable(
        columns=tuple(names),
        baseline=groups.baseline,
        rows=tuple(rows),
        confusion=(),
        notes=_in_one(signs, adjusted),
        warnings=(*groups.left_out, *_why_no_spread(groups, names), *comparison.warnings),
    )


def _group_rows(groups: GroupComparison) -> Iterator[TableRow]:
    tested = tuple(len(group.counted) for group in groups.groups)
    of_all = tuple(zip(tested, (len(group.runs) for group in groups.groups), strict=True))
    alone = frozenset(place for place, done in enumerate(tested) if done == 1)
    is_whole = all(done == runs for done, runs in of_all)
    if is_whole:
        yield TableRow("group", "runs", "count", tested, doubted=alone)
    else:
        yield TableRow("group", "runs", "part", of_all, doubted=alone)
    seeds = tuple(" ".join(group.seeds) for group in groups.groups)
    yield TableRow("group", "seeds", "words", seeds, is_told=False)


def with_names(text: str, names: Mapping[str, str]) -> str:
    """Ids are long; other names stand for them, except within a path, which would lead nowhere."""
    for run_id, name in names.items():
        alone = rf"(?<![\w/\\.-]){re.escape(run_id)}(?![\w/\\-]|\.\w)"
        text = re.sub(alone, name.replace("\\", r"\\"), text)
    return text


def _measured(
    row: MetricRow | SpreadRow,
    section: Section,
    kind: Kind,
    cells: tuple[Any, ...],
    marked: frozenset[int] = frozenset(),
) -> TableRow:
    return TableRow(section, row.key, kind, cells, row.deltas, row.baseline, marked, row.is_told)


def _interval_rows(key: str, intervals: Sequence[Interval | None]) -> Iterator[TableRow]:
    if any(intervals):
        yield TableRow("metric", key, "interval", tuple(intervals))


def _mcnemar_rows(tests: Sequence[PairedTest | NotPaired | None]) -> Iterator[TableRow]:
    known = [test if isinstance(test, PairedTest) else None for test in tests]
    if not any(known):
        return
    cells: dict[str, tuple[Kind, list[Any]]] = {
        "interval": ("change", [test and test.interval for test in known]),
        "p_holm": ("p", [test and test.p_holm for test in known]),
        "score": ("score", [test and (test.only_run, test.only_baseline) for test in known]),
        "p": ("p", [test and test.p for test in known]),
        "images": ("count", [test and test.images for test in known]),
        "left_out": ("count", [test and test.left_out for test in known]),
    }
    told = ("interval", "p_holm", "score")
    for key, (kind, found) in cells.items():
        yield TableRow("mcnemar", key, kind, tuple(found), is_told=key in told)


def _seed_rows(tests: Sequence[SeedTest | NotPaired | None]) -> Iterator[TableRow]:
    known = [test if isinstance(test, SeedTest) else None for test in tests]
    if not any(known):
        return
    cells: dict[str, tuple[Kind, list[Any]]] = {
        "interval": ("change", [test and test.difference.interval for test in known]),
        "better": ("part", [test and (test.better, len(test.seeds)) for test in known]),
        "p_images_holm": ("p", [test and test.p_images_holm for test in known]),
        "p_seeds_holm": ("p", [test and test.p_seeds_holm for test in known]),
        "p_images": ("p", [test and test.p_images for test in known]),
        "p_seeds": ("p", [test and test.p_seeds for test in known]),
    }
    for key, (kind, found) in cells.items():
        yield TableRow("paired", key, kind, tuple(found), is_told=key not in ("p_images", "p_seeds"))


def _marked(tests: Sequence[PairedTest | SeedTest | NotPaired | None]) -> frozenset[int]:
    chances = [p_of(test) for test in tests]
    return frozenset(place for place, p in enumerate(chances) if p is not None and p < SIGNIFICANT)


def _why_not_paired(comparison: Comparison) -> list[str]:
    """Of runs that could be: they and the baseline were tested."""
    runs = comparison.runs
    if runs[comparison.baseline].test_accuracy is None:
        return []
    reasons = {
        test.reason
        for run, test in zip(runs, comparison.paired, strict=True)
        if isinstance(test, NotPaired) and run.test_accuracy is not None
    }
    return [f"not paired: {reason}" for reason in sorted(reasons)]


def _why_no_spread(groups: GroupComparison, names: Sequence[str]) -> Iterator[str]:
    accuracy = next((row for row in groups.metrics if row.key == _ACCURACY), None)
    for place, (name, test) in enumerate(zip(names, groups.tests, strict=True)):
        held = accuracy.spreads[place] if accuracy is not None else None
        if held is not None and held.deviation is None:
            yield f"{name}: one seed, so no spread"
        if isinstance(test, NotPaired):
            yield f"{name}: {test.reason}"


def _in_one(*texts: str) -> tuple[str, ...]:
    told = "; ".join(filter(None, texts))
    return (told,) if told else ()


# Files


def form_of(path: Path) -> ExportFormat:
    """What a file of this name holds.

    Raises:
        UserError: the name ends in none of the formats.
    """
    suffix = path.suffix.lower().removeprefix(".").replace("markdown", "md")
    if suffix not in list(ExportFormat):
        raise UserError(
            "a name that tells no format",
            where=str(path),
            allowed=[f".{form}" for form in ExportFormat],
            hint="end the name with one of these",
        )
    return ExportFormat(suffix)


def export_comparison(
    comparison: Comparison, form: ExportFormat, groups: GroupComparison | None = None
) -> str:
    """The comparison as text: JSON has all of it; CSV has a row a key, its section first, and a column a run.

    With `groups`, CSV and Markdown have a group of seeds where they have a run otherwise.
    """
    if form is ExportFormat.JSON:
        return record_text("runs-compare", comparison_record(comparison, groups))
    table = table_of_runs(comparison) if groups is None else table_of_groups(comparison, groups)
    return _csv(table) if form is ExportFormat.CSV else _markdown(table)


def _csv(table: ComparisonTable) -> str:
    """Numbers as they are, every one alone in its cell."""
    rows: list[list[Any]] = []
    for row in table.rows:
        rows += _csv_lines(row)
    for change in table.confusion:
        counts: list[Any] = [None] * len(table.columns)
        counts[table.baseline], counts[change.run] = change.baseline, change.count
        rows.append(["confusion", f"{change.true} taken for {change.predicted}", *counts])
    return csv_text(["section", "key", *table.columns], rows)


def _csv_lines(row: TableRow) -> Iterator[list[Any]]:
    match row.kind:
        case "setting" | "count" | "words" | "number" | "p":
            yield [row.section, row.key, *row.cells]
        case "mean":
            for part in ("mean", "deviation", "count"):
                yield [part, row.key, *(cell and getattr(cell, part) for cell in row.cells)]
        case "interval":
            for place, end in enumerate(("low", "high")):
                yield [end, row.key, *(cell and cell[place] for cell in row.cells)]
        case "change":
            for place, end in enumerate(("low", "high")):
                yield [row.section, f"change_{end}", *(cell and cell[place] for cell in row.cells)]
        case "score":
            for place, part in enumerate(("only_run", "only_baseline")):
                yield [row.section, part, *(cell and cell[place] for cell in row.cells)]
        case "part":
            for place, part in enumerate((row.key, "of")):
                yield [row.section, part, *(cell and cell[place] for cell in row.cells)]
        case _:
            assert_never(row.kind)
    if row.deltas and row.section == "metric":
        yield ["delta", row.key, *row.deltas]


def _markdown(table: ComparisonTable) -> str:
    names = list(table.columns)
    names[table.baseline] = f"★ {names[table.baseline]}"
    parts = [f"- {markdown_text(warning)}\n" for warning in table.warnings]
    titles: dict[str, tuple[Section, ...]] = {
        "recipe": ("recipe",),
        "result": RESULT,
        "test recall %": ("recall",),
    }
    for title, sections in titles.items():
        rows = [[row.title().strip(), *_markdown_cells(row)] for row in table.told(*sections)]
        if rows:
            parts.append(markdown_table([title, *names], rows))
    if table.confusion:
        columns = ("run", "true class", "taken for", "before", "now", "change")
        changes = [
            [names[c.run], c.true, c.predicted, c.baseline, c.count, signed(c.delta, "d")]
            for c in table.confusion
        ]
        parts.append(markdown_table(columns, changes))
    parts += [f"{markdown_text(note)}.\n" for note in table.notes]
    if any(row.section == "metric" and not row.is_told for row in table.rows):
        parts.append("top5 is always 1: there are five classes or fewer.\n")
    return "\n".join(parts)


def _markdown_cells(row: TableRow) -> Iterator[str]:
    for place in range(len(row.cells)):
        change, mark = row.change(place), MARK if place in row.marked else ""
        yield row.words(place) + (f" ({change}){mark}" if change else "")


# JSON


def comparison_record(comparison: Comparison, groups: GroupComparison | None = None) -> dict[str, Any]:
    """The comparison as a JSON object; lists follow the order of `runs`."""
    record: dict[str, Any] = {
        "runs": [
            {"id": run.id, "name": run.name, "status": run.status.value, "seed": seed_of(run.recipe)}
            for run in comparison.runs
        ],
        "baseline": comparison.runs[comparison.baseline].id,
        "warnings": list(comparison.warnings),
        "recipe": {row.key: finite_json(row.values) for row in comparison.recipe},
        "metrics": {row.key: _row_record(row) for row in comparison.metrics},
        "intervals": {
            row.key: [run.interval(row.key) for run in comparison.runs]
            for row in comparison.metrics
            if row.key.endswith(".accuracy")
        },
        "paired": [_test_record(test) for test in comparison.paired],
        "recall": {row.key: _row_record(row) for row in comparison.recall},
        "confusion": [
            {
                "run": comparison.runs[change.run].id,
                "true": change.true,
                "predicted": change.predicted,
                "baseline": change.baseline,
                "count": change.count,
                "delta": change.delta,
            }
            for change in comparison.confusion
        ],
    }
    if groups is not None:
        record["groups"] = _groups_record(comparison, groups)
    return record


def _row_record(row: MetricRow) -> dict[str, Any]:
    return {"values": finite_json(row.values), "deltas": finite_json(row.deltas)}


def _test_record(test: PairedTest | SeedTest | NotPaired | None) -> dict[str, Any] | None:
    return None if test is None else finite_json(asdict(test))


def _groups_record(comparison: Comparison, groups: GroupComparison) -> dict[str, Any]:
    return {
        "groups": [
            {
                "name": group.name,
                "runs": [comparison.runs[place].id for place in group.runs],
                "seeds": list(group.seeds),
                "counted": [comparison.runs[place].id for place in group.counted],
            }
            for group in groups.groups
        ],
        "baseline": groups.baseline,
        "recipe": {row.key: finite_json(row.values) for row in groups.recipe},
        "metrics": {
            row.key: {
                "spreads": [None if s is None else finite_json(asdict(s)) for s in row.spreads],
                "deltas": finite_json(row.deltas),
            }
            for row in groups.metrics
        },
        "tests": [_test_record(test) for test in groups.tests],
        "left_out": list(groups.left_out),
    }
