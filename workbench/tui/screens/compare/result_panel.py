"""The numbers of the runs as a table: a line a number, a column a run or a group of seeds."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from workbench.runs.compare import MetricRow
from workbench.runs.compare_seeds import SeedTest, SpreadRow
from workbench.runs.comparison_words import MARK_WORDS, marked_p, number_words, spread_words, title_of
from workbench.runs.mcnemar import SIGNIFICANT
from workbench.runs.paired import NotPaired, PairedTest
from workbench.tui.screens.compare.board import Board
from workbench.tui.screens.compare.headings import column_of, headings
from workbench.tui.screens.compare.look import Look
from workbench.tui.screens.compare.sheet import Column, Row, Sheet
from workbench.tui.screens.compare.signs import delta_text, status_text
from workbench.tui.text import plain
from workbench.tui.themes import Palette, palette_of

_ACCURACY = "test.accuracy"


class ResultPanel(Vertical):
    """Draws results with their changes from the baseline, and below what the signs mean."""

    DEFAULT_CSS = """
    ResultPanel { height: 1fr; width: 1fr; }
    ResultPanel > .notes { height: auto; max-height: 5; padding: 0 1; color: $text-muted; }
    """

    def __init__(self) -> None:
        super().__init__(id="results")
        self._sheet = Sheet(cursor="cell", id="result-sheet")
        self._sheet.tooltip = "Left and right choose a run; changes are from the baseline ★."

    def compose(self) -> ComposeResult:
        """The table, then what the signs mean."""
        yield self._sheet
        yield Static(classes="notes", markup=False)

    def show(self, board: Board, look: Look) -> None:
        """Draw this in place of what is there."""
        colours = palette_of(self.app.theme)
        rows = group_lines(board, colours) if look.seeds else run_lines(board, colours)
        self._sheet.fill(_columns(board, look, colours), rows)
        self._sheet.point(column=column_of(board, look))
        notes = group_notes(board) if look.seeds else run_notes(board)
        lines = [plain(note, colours.warning if note.startswith("⚠") else "") for note in notes]
        self.query_one(".notes", Static).update(Text("\n").join(lines))


def _columns(board: Board, look: Look, colours: Palette) -> list[Column]:
    return headings(board, look, colours, first="result", right=True)


def run_lines(board: Board, colours: Palette) -> list[Row]:
    """Status, the numbers of each run with their changes, McNemar's p below the test accuracy."""
    comparison = board.comparison
    muted = colours.muted
    rows = [_row("status", "status", [status_text(run, colours, short=True) for run in board.runs])]
    for row in comparison.metrics:
        if not row.is_told:
            continue
        cells = [
            Text(number_words(row.key, value, percent=False), muted if value is None else "", end="")
            for value in row.values
        ]
        _add_changes(cells, row, comparison.paired, colours)
        rows.append(_row(row.key, title_of(row.key, percent=False), cells))
        if row.key == _ACCURACY:
            rows += _paired_lines(board, colours)
    rows.append(_row("seed", "seed", [plain(run.recipe.get("seed", "–"), muted) for run in board.runs]))
    return rows


def _paired_lines(board: Board, colours: Palette) -> list[Row]:
    tests = board.comparison.paired
    if not any(isinstance(test, PairedTest) for test in tests):
        return []
    p = [
        Text(marked_p(test.p)) if isinstance(test, PairedTest) else Text("–", colours.muted) for test in tests
    ]
    won = [
        Text(f"{test.only_run}:{test.only_baseline}")
        if isinstance(test, PairedTest)
        else Text("–", colours.muted)
        for test in tests
    ]
    return [_row("p", "McNemar p", p), _row("won", "won : lost images", won)]


def group_lines(board: Board, colours: Palette) -> list[Row]:
    """How many seeds, the numbers with their spreads and changes, the paired tests."""
    groups = board.groups
    muted = colours.muted
    counts = []
    for group in groups.groups:
        done = len(group.counted)
        text = Text(str(len(group.runs)) if done == len(group.runs) else f"{done} of {len(group.runs)}")
        counts.append(text.append(" ⚠", colours.warning) if done == 1 else text)
    rows = [_row("seeds", "runs tested", counts)]
    for row in groups.metrics:
        if not row.is_told:
            continue
        cells = [
            Text(spread_words(row.key, held, percent=False), muted if held is None else "", end="")
            for held in row.spreads
        ]
        _add_changes(cells, row, groups.tests, colours)
        rows.append(_row(row.key, title_of(row.key, percent=False), cells))
        if row.key == _ACCURACY:
            rows += _seed_test_lines(board, colours)
    return rows


def _add_changes(
    cells: list[Text],
    row: MetricRow | SpreadRow,
    tests: Sequence[PairedTest | SeedTest | NotPaired | None],
    colours: Palette,
) -> None:
    """Behind each number its change from the baseline, and behind an accuracy the mark of its test."""
    for place, (text, delta) in enumerate(zip(cells, row.deltas, strict=True)):
        if delta is not None and place != row.baseline:
            text.append(" ").append_text(delta_text(row.key, delta, colours))
        if row.key == _ACCURACY and any(map(_is_marked, tests)):
            text.append("✱" if _is_marked(tests[place]) else " ", colours.accent)


def _seed_test_lines(board: Board, colours: Palette) -> list[Row]:
    tests = [test if isinstance(test, SeedTest) else None for test in board.groups.tests]
    if not any(tests):
        return []
    none = Text("–", colours.muted)
    better = [none if test is None else Text(f"{test.better} of {len(test.seeds)}") for test in tests]
    images = [none if test is None else Text(marked_p(test.p_images) or "–") for test in tests]
    seeds = [none if test is None else Text(marked_p(test.p_seeds) or "–") for test in tests]
    return [
        _row("better", "seeds better", better),
        _row("p images", "p (images)", images),
        _row("p seeds", "p (seeds)", seeds),
    ]


def run_notes(board: Board) -> list[str]:
    """What the signs mean, why some runs are not tested, why numbers may not be comparable."""
    names = dict(zip((run.id for run in board.runs), board.names, strict=True))
    notes = []
    if any(map(_is_marked, board.comparison.paired)):
        notes.append(f"{MARK_WORDS}, McNemar's exact test on the same test images")
    baseline_done = board.read[board.baseline].results is not None
    reasons = {
        test.reason
        for one, test in zip(board.read, board.comparison.paired, strict=True)
        if isinstance(test, NotPaired) and one.results is not None and baseline_done
    }
    notes += [f"⚠ not paired: {reason}" for reason in sorted(reasons)]
    notes += [f"⚠ {warning}" for warning in board.comparison.warnings]
    return [_with_names(note, names) for note in notes]


def group_notes(board: Board) -> list[str]:
    """What the signs mean, and which groups have no spread or no test."""
    notes = ["± sample standard deviation. p (images): these seeds, other images; p (seeds): other seeds"]
    notes += [f"⚠ {left_out}" for left_out in board.groups.left_out]
    if any(map(_is_marked, board.groups.tests)):
        notes[0] = f"{MARK_WORDS}  {notes[0]}"
    accuracy = next((row for row in board.groups.metrics if row.key == _ACCURACY), None)
    for place, (name, test) in enumerate(zip(board.group_names, board.groups.tests, strict=True)):
        held = accuracy.spreads[place] if accuracy is not None else None
        if held is not None and held.deviation is None:
            notes.append(f"⚠ {name}: one seed, so no spread")
        if isinstance(test, NotPaired):
            notes.append(f"⚠ {name}: {test.reason}")
    return notes


def _is_marked(test: PairedTest | SeedTest | NotPaired | None) -> bool:
    p = test.p if isinstance(test, PairedTest) else test.p_images if isinstance(test, SeedTest) else None
    return p is not None and p < SIGNIFICANT


def _with_names(note: str, names: dict[str, str]) -> str:
    """Ids are long; the screen's own names stand for them, except within a path, which would lead nowhere."""
    for run_id, name in names.items():
        alone = rf"(?<![\w/\\.-]){re.escape(run_id)}(?![\w/\\-]|\.\w)"
        note = re.sub(alone, name.replace("\\", r"\\"), note)
    return note


def _row(key: str, title: str, cells: Sequence[Text]) -> Row:
    return Row(key, (Text(title), *cells))
