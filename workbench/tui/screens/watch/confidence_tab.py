"""The confidence panel: the reliability diagram of a finished run, and what its validation images promise."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from workbench.runs.abstaining import Promise, percent_words
from workbench.runs.calibration import Bin, Reliability
from workbench.support.units import fraction, given_percent, percent
from workbench.tui.screens.watch.news import Confidence, News
from workbench.tui.themes import Palette, palette_of

_WIDEST_BAR = 80
_BESIDE_BAR = 36
"""Cells of a row before its bar."""
_FAR = 0.05
"""A gap that is told by its colour, too."""


class ConfidencePanel(VerticalScroll):
    """Bins of validation images by confidence, least sure first."""

    def __init__(self) -> None:
        super().__init__(id="confidence")
        self._news: News | None = None

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(id="confidence-text", markup=False)

    def show(self, news: News) -> None:
        """Draw the run as it is now."""
        old, self._news = self._news, news
        if old is None or old.confidence is not news.confidence or not news.confidence:
            self._draw()

    def on_resize(self) -> None:
        """Bars go by the width."""
        self._draw()

    def _draw(self) -> None:
        if self._news is None:
            return
        palette = palette_of(self.app.theme)
        text = self.query_one("#confidence-text", Static)
        told = self._news.confidence
        if told is None:
            words = "how far its confidence can be believed is told of a finished run, by its predictions"
            text.update(Text(words, palette.muted))
            return
        width = max(20, self.scrollable_content_region.width)
        parts = [*summary_lines(told, palette), diagram(told.reliability, palette, width)]
        text.update(Text("\n", no_wrap=True, overflow="ellipsis").join(parts))


def summary_lines(told: Confidence, palette: Palette) -> list[Text]:
    """Temperature and error, then what is promised above which threshold."""
    calibration = told.reliability.calibration
    error = Text(no_wrap=True, overflow="ellipsis")
    error.append(f"temperature {calibration.temperature:.3f}", "bold")
    error.append("  ECE val ", palette.muted)
    error.append(f"{calibration.val_error_before:.3f} → {calibration.val_error:.3f}")
    if calibration.test_error is not None and calibration.test_error_before is not None:
        error.append("  test ", palette.muted)
        error.append(f"{calibration.test_error_before:.3f} → {calibration.test_error:.3f}")
    error.append(f"  {calibration.images:,} images", palette.muted)
    promised = Text("promised  ", palette.muted, no_wrap=True, overflow="ellipsis")
    for place, one in enumerate(told.promises):
        promised.append(" · " if place else "", palette.muted)
        promised.append_text(_promise(one, palette))
    return [error, promised]


def _promise(promise: Promise, palette: Palette) -> Text:
    found = promise.threshold
    if found is None:
        return Text(f"{percent_words(promise.sure)} nowhere", palette.muted)
    text = Text(f"{percent_words(promise.sure)} ", "bold")
    if not found.confidence:
        return text.append("of all", "not bold")
    return text.append(
        f"from {fraction(found.confidence)} ({given_percent(round(found.images / found.of, 2))} %)",
        "not bold",
    )


def diagram(reliability: Reliability, palette: Palette, width: int) -> Text:
    """A line a bin: the confidences in it, its images, how many are right, and a bar with a stroke at its
    confidence."""
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("   sure %        images   right %  bar: right, stroke: sure", palette.muted)
    room = max(8, min(_WIDEST_BAR, width - _BESIDE_BAR))
    for one in reliability.bins:
        text.append("\n")
        text.append_text(_line(one, palette, room))
    return text


def _line(one: Bin, palette: Palette, room: int) -> Text:
    span = f"{percent(one.low, 1)}–{percent(one.high, 1)}"
    line = Text(f"{span:>13}{one.images:>10,}{percent(one.accuracy):>10}  ")
    gap = one.confidence - one.accuracy
    line.append(one.bar(room), palette.warning if gap > _FAR else palette.accent)
    return line
