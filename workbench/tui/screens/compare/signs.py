"""How a run stands in a heading: its curve's marker in its curve's colour, a star for the baseline."""

from __future__ import annotations

from rich.style import Style
from rich.text import Text

from workbench.runs.compare import goodness
from workbench.runs.comparison_words import delta_words
from workbench.runs.summary import RunSummary
from workbench.tui.draw.chart import MARKERS
from workbench.tui.marks import STATUS_MARKS
from workbench.tui.text import plain
from workbench.tui.themes import Palette

STAR = "★"
GROUP = "━"


def marker(place: int) -> str:
    """The sign that the chart draws on the curve of the run at `place`."""
    return MARKERS[place % len(MARKERS)]


def heading(
    name: str, sign: str, colour: int, *, is_baseline: bool, colours: Palette, limit: int = 0
) -> Text:
    """`▲ ★ name`, the sign in the series colour number `colour`."""
    text = Text(end="", no_wrap=True)
    text.append(f"{sign} ", colours.series_colour(colour))
    if is_baseline:
        text.append(f"{STAR} ", style=colours.accent)
    return text.append_text(plain(name, limit=limit))


def status_text(summary: RunSummary, colours: Palette, *, short: bool = False) -> Text:
    """`✓ done`, `● live student 2/5 · 3/5`, `✗ failed`; short: without what it is at."""
    mark = STATUS_MARKS[summary.status]
    text = Text(f"{mark.sign} {mark.word}", style=getattr(colours, mark.colour), end="")
    progress = summary.progress
    if progress is not None and not short:
        round_words = f" {progress.round}/{progress.rounds}" if progress.round else ""
        text.append(f" {progress.stage}{round_words} · {progress.epoch}/{progress.epochs}", colours.muted)
    return text


def delta_text(key: str, delta: float | None, colours: Palette) -> Text:
    """The change with its sign, in colour for better or worse."""
    style = {1: colours.good, -1: colours.bad, 0: colours.muted}[goodness(key, delta)]
    return Text(delta_words(key, delta, percent=False), style=Style(color=style), end="")
