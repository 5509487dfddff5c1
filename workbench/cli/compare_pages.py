"""A comparison as tables that fit the terminal: too many runs for one table make several of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from workbench.cli.console import cell, make_table
from workbench.cli.runs_pages import recipe_value
from workbench.cli.runs_values import STATUS_STYLES
from workbench.runs.compare import Comparison, MetricRow, goodness
from workbench.runs.compare_seeds import GroupComparison, SeedTest
from workbench.runs.comparison_words import (
    MARK_WORDS,
    delta_words,
    marked_p,
    number_words,
    spread_words,
    title_of,
)
from workbench.runs.paired import NotPaired, PairedTest
from workbench.runs.seeds import seed_of
from workbench.support.clean import clean

_SHOWN_CLASSES = 10
_PADDING = 3  # a column's, and the margin of the table
_GOODNESS_STYLES = {1: "green", -1: "red", 0: "dim"}
_ACCURACY = "test.accuracy"


def comparison_tables(
    comparison: Comparison, groups: GroupComparison | None, width: int
) -> Iterator[RenderableType]:
    """The runs by letter, the baseline with a star; then, without groups, differences, numbers and tests."""
    letters = letters_of(len(comparison.runs), comparison.baseline)
    runs = make_table(("", "run", "name", "seed", "status"), whole=("", "run", "seed", "status"))
    for letter, run in zip(letters, comparison.runs, strict=True):
        status = Text(run.status.value, style=STATUS_STYLES[run.status])
        runs.add_row(letter, cell(run.handle), cell(run.name), cell(seed_of(run.recipe)), status)
    yield runs
    for warning in comparison.warnings:
        yield Text(f"warning: {clean(warning)}", style="yellow")
    if groups is not None:
        return
    if comparison.recipe:
        yield from _blocks(
            "recipe",
            letters,
            [_Row(row.key, [cell(recipe_value(value)) for value in row.values]) for row in comparison.recipe],
            width,
        )
    else:
        yield Text("the recipes are the same")
    if comparison.metrics:
        rows = [_metric_row(row) for row in comparison.metrics if row.is_told]
        yield from _blocks("result", letters, rows, width, numbers=True)
    yield from _paired_table(comparison, letters)


def group_tables(groups: GroupComparison, width: int) -> Iterator[RenderableType]:
    """The groups by letter with test accuracy and tests, then recipes and every number with its spread."""
    letters = letters_of(len(groups.groups), groups.baseline)
    columns = ("", "recipe", "seeds", "test %", "change", "better", "p", "p seeds")
    table = make_table(columns, title="Over seeds", right=columns[2:])
    accuracy = next((row for row in groups.metrics if row.key == _ACCURACY), None)
    notes: list[str] = list(groups.left_out)
    for place, (letter, group, test) in enumerate(zip(letters, groups.groups, groups.tests, strict=True)):
        held = accuracy.spreads[place] if accuracy else None
        delta = accuracy.deltas[place] if accuracy and place != groups.baseline else None
        table.add_row(
            letter,
            cell(group.name),
            str(held.count) if held else "–",
            spread_words(_ACCURACY, held),
            _delta(_ACCURACY, delta),
            f"{test.better}/{len(test.seeds)}" if isinstance(test, SeedTest) else "",
            _padded(marked_p(test.p_images)) if isinstance(test, SeedTest) else "",
            _padded(marked_p(test.p_seeds)) if isinstance(test, SeedTest) else "",
        )
        if isinstance(test, NotPaired):
            notes.append(f"{letter.strip()}: {test.reason}")
        if held is not None and held.deviation is None:
            notes.append(f"{letter.strip()}: one seed, so no spread")
    yield table
    yield Text(
        "± is the sample standard deviation. p: same images, same seeds, exact sign-flip test (one seed: "
        "McNemar). p seeds: paired t over seeds. " + MARK_WORDS,
        style="dim",
    )
    for note in notes:
        yield Text(clean(note), style="yellow")
    if groups.recipe:
        rows = [_Row(row.key, [cell(recipe_value(value)) for value in row.values]) for row in groups.recipe]
        yield from _blocks("recipe", letters, rows, width)
    numbers = [
        _Row(title_of(row.key), [Text(spread_words(row.key, held)) for held in row.spreads])
        for row in groups.metrics
        if row.is_told
    ]
    yield from _blocks("result", letters, numbers, width, numbers=True)


def recall_table(comparison: Comparison, width: int) -> Iterator[RenderableType]:
    """The classes whose test recall changed most."""
    changed = [row for row in comparison.recall if any(row.deltas)][:_SHOWN_CLASSES]
    if changed:
        letters = letters_of(len(comparison.runs), comparison.baseline)
        rows = [_metric_row(row, share=True) for row in changed]
        yield from _blocks("test recall %", letters, rows, width, numbers=True)


def confusion_table(comparison: Comparison) -> Iterator[RenderableType]:
    """The confusions that changed most, run by run."""
    if not comparison.confusion:
        yield Text("no test confusion differs from the baseline's")
        return
    letters = letters_of(len(comparison.runs), comparison.baseline)
    columns = ("run", "true class", "taken for", "before", "now", "change")
    table = make_table(columns, title="Test confusions that changed most", right=columns[3:])
    for change in comparison.confusion:
        table.add_row(
            letters[change.run],
            cell(change.true),
            cell(change.predicted),
            str(change.baseline),
            str(change.count),
            Text(f"{change.delta:+d}", style="red" if change.delta > 0 else "green"),
        )
    yield table


def _paired_table(comparison: Comparison, letters: Sequence[str]) -> Iterator[RenderableType]:
    """McNemar's test of each run that has one; why not of the finished others."""
    columns = ("run", "images", "change", "only baseline right", "only run right", "p")
    table = make_table(columns, title="Paired on the test images", right=columns[1:])
    notes = []
    for letter, run, test in zip(letters, comparison.runs, comparison.paired, strict=True):
        if isinstance(test, PairedTest):
            table.add_row(
                letter,
                str(test.images),
                _delta(_ACCURACY, test.difference),
                str(test.only_baseline),
                str(test.only_run),
                _padded(marked_p(test.p)),
            )
            if test.left_out:
                notes.append(f"{letter.strip()}: {test.left_out} images left out, not tested by both alike")
        elif isinstance(test, NotPaired) and run.test_accuracy is not None:
            notes.append(f"{letter.strip()}: not paired: {test.reason}")
    if table.row_count:
        yield table
        yield Text(f"p: McNemar's exact test. {MARK_WORDS}", style="dim")
    for note in notes:
        yield Text(clean(note), style="yellow")


@dataclass(frozen=True, slots=True)
class _Row:
    key: str
    cells: Sequence[Text]


def _blocks(
    title: str, columns: Sequence[str], rows: Sequence[_Row], width: int, *, numbers: bool = False
) -> Iterator[Table]:
    """Tables of as many columns each as fit beside the keys, at least one."""
    most = max(width // 2, 16)
    keys = [clean(row.key) for row in rows]
    key_width = min(max(len(key) for key in (title, *keys)), 34)
    widths = [
        min(max(len(column), *(row.cells[place].cell_len for row in rows)), most)
        for place, column in enumerate(columns)
    ]
    start = 0
    while start < len(columns):
        end, left = start + 1, width - key_width - _PADDING - widths[start] - _PADDING
        while end < len(columns) and widths[end] + _PADDING <= left:
            left -= widths[end] + _PADDING
            end += 1
        table = make_table(
            (title, *columns[start:end]),
            right=columns[start:end] if numbers else (),
            prose=() if numbers else columns[start:end],
        )
        for key, row in zip(keys, rows, strict=True):
            table.add_row(Text(key), *row.cells[start:end])
        yield table
        start = end


def _metric_row(row: MetricRow, *, share: bool = False) -> _Row:
    """`share` says that it is a share whatever its key, which is then outside text."""
    key = _ACCURACY if share else row.key
    cells = []
    for place, (value, delta) in enumerate(zip(row.values, row.deltas, strict=True)):
        text = cell(number_words(key, value))
        if delta is not None and place != row.baseline:
            text.append(" ").append(_delta(key, delta))
        cells.append(text)
    return _Row(row.key if share else title_of(row.key), cells)


def _delta(key: str, delta: float | None) -> Text:
    """The change in colour for better or worse."""
    return Text(delta_words(key, delta), style=_GOODNESS_STYLES[goodness(key, delta)])


def _padded(p: str) -> str:
    """With room for the mark, so that the numbers stand below each other."""
    return p if p.endswith("✱") else f"{p} "


def letters_of(count: int, baseline: int) -> list[str]:
    """A … Z, the baseline's with a star: how the runs are called in the tables."""
    return [chr(ord("A") + place) + (" ★" if place == baseline else "") for place in range(count)]
