"""A comparison for other programs and for papers: JSON with all of it, CSV, Markdown.

The rules for outside text are those of `export.py`.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from workbench.runs.compare import Comparison, MetricRow
from workbench.runs.compare_seeds import GroupComparison, SeedTest
from workbench.runs.export import (
    ExportFormat,
    csv_text,
    finite_json,
    markdown_table,
    markdown_text,
    record_text,
)
from workbench.runs.mcnemar import p_words
from workbench.runs.paired import NotPaired, PairedTest
from workbench.runs.seeds import Spread, seed_of
from workbench.support.errors import UserError

_TESTED = ("images", "left_out", "only_baseline", "only_run", "p")


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
    if form is ExportFormat.CSV:
        return _runs_csv(comparison) if groups is None else _groups_csv(groups)
    parts = [f"- {markdown_text(warning)}\n" for warning in comparison.warnings]
    parts += _runs_markdown(comparison) if groups is None else _groups_markdown(groups)
    if not all(row.is_told for row in comparison.metrics):
        parts.append("top5 is always 1: there are five classes or fewer.\n")
    return "\n".join(parts)


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


def _runs_csv(comparison: Comparison) -> str:
    rows: list[list[Any]] = [["recipe", row.key, *row.values] for row in comparison.recipe]
    rows += [["metric", row.key, *row.values] for row in comparison.metrics]
    rows += [["delta", row.key, *row.deltas] for row in comparison.metrics]
    tests = [asdict(test) if isinstance(test, PairedTest) else {} for test in comparison.paired]
    if any(tests):
        rows += [["mcnemar", key, *(test.get(key) for test in tests)] for key in _TESTED]
    rows += [["recall", row.key, *row.values] for row in comparison.recall]
    for change in comparison.confusion:
        counts: list[Any] = [None] * len(comparison.runs)
        counts[comparison.baseline], counts[change.run] = change.baseline, change.count
        rows.append(["confusion", f"{change.true} taken for {change.predicted}", *counts])
    return csv_text(["section", "key", *(run.id for run in comparison.runs)], rows)


def _groups_csv(groups: GroupComparison) -> str:
    columns = ["section", "key", *(group.name for group in groups.groups)]
    rows: list[list[Any]] = [["group", "runs", *(len(group.counted) for group in groups.groups)]]
    rows.append(["group", "seeds", *(" ".join(group.seeds) for group in groups.groups)])
    rows += [["recipe", row.key, *row.values] for row in groups.recipe]
    for row in groups.metrics:
        for part in ("mean", "deviation", "count"):
            rows.append([part, row.key, *(s and getattr(s, part) for s in row.spreads)])
        rows.append(["delta", row.key, *row.deltas])
    tests = [test if isinstance(test, SeedTest) else None for test in groups.tests]
    for key in ("p_images", "p_seeds", "better"):
        rows.append(["paired", key, *(test and getattr(test, key) for test in tests)])
    return csv_text(columns, rows)


def _runs_markdown(comparison: Comparison) -> list[str]:
    ids = [run.id for run in comparison.runs]
    ids[comparison.baseline] = f"★ {ids[comparison.baseline]}"
    result = [_with_deltas(row) for row in comparison.metrics]
    if any(isinstance(test, PairedTest) for test in comparison.paired):
        result.append(["McNemar p", *map(_p_of, comparison.paired)])
    sections: list[tuple[str, list[list[Any]]]] = [
        ("recipe", [[row.key, *row.values] for row in comparison.recipe]),
        ("result", result),
        ("test recall", [_with_deltas(row) for row in comparison.recall]),
    ]
    parts = [markdown_table([title, *ids], rows) for title, rows in sections if rows]
    if comparison.confusion:
        columns = ("run", "true class", "taken for", "before", "now", "change")
        changes = [
            [ids[c.run], c.true, c.predicted, c.baseline, c.count, f"{c.delta:+d}"]
            for c in comparison.confusion
        ]
        parts.append(markdown_table(columns, changes))
    return parts


def _groups_markdown(groups: GroupComparison) -> list[str]:
    names = [group.name for group in groups.groups]
    names[groups.baseline] = f"★ {names[groups.baseline]}"
    rows: list[list[Any]] = [["seeds", *(" ".join(group.seeds) for group in groups.groups)]]
    for row in groups.metrics:
        cells = zip(row.spreads, row.deltas, strict=True)
        rows.append(
            [
                row.key,
                *(
                    _spread_words(spread, None if place == groups.baseline else delta)
                    for place, (spread, delta) in enumerate(cells)
                ),
            ]
        )
    rows.append(["p over images", *(_p_of(test) for test in groups.tests)])
    seeds = [test.p_seeds if isinstance(test, SeedTest) else None for test in groups.tests]
    rows.append(["p over seeds", *(None if p is None else p_words(p) for p in seeds)])
    parts = []
    if groups.recipe:
        parts.append(markdown_table(["recipe", *names], [[row.key, *row.values] for row in groups.recipe]))
    return [*parts, markdown_table(["result", *names], rows)]


def _p_of(test: PairedTest | SeedTest | NotPaired | None) -> str | None:
    p = test.p if isinstance(test, PairedTest) else test.p_images if isinstance(test, SeedTest) else None
    return None if p is None else p_words(p)


def _spread_words(spread: Spread | None, delta: float | None) -> str | None:
    if spread is None:
        return None
    around = f"{spread.mean:.6g}" + ("" if spread.deviation is None else f" ± {spread.deviation:.2g}")
    return around if delta is None else f"{around} ({delta:+.4g})"


def _with_deltas(row: MetricRow) -> list[Any]:
    cells: list[Any] = [row.key]
    for place, (value, delta) in enumerate(zip(row.values, row.deltas, strict=True)):
        plain = value is None or delta is None or place == row.baseline
        cells.append(value if plain else f"{value:.6g} ({delta:+.4g})")
    return cells
