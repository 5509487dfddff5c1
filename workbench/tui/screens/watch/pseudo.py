"""The pseudo-label panel: follows the latest round until an earlier one is asked for."""

from __future__ import annotations

from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from workbench.tui.screens.watch.news import News
from workbench.tui.screens.watch.pseudo_text import class_counts, confidence_histogram, rounds_table
from workbench.tui.themes import palette_of

_ROUNDS = 6


class PseudoPanel(VerticalScroll):
    """Rounds, the chosen round's confidences and its images a class."""

    def __init__(self) -> None:
        super().__init__(id="pseudo")
        self._news: News | None = None
        self._back = 0

    def compose(self) -> ComposeResult:
        """One text."""
        yield Static(id="pseudo-text", markup=False)

    def show(self, news: News) -> None:
        """Draw the run as it is now."""
        if self._news is not None and self._back:
            self._back += len(news.following.rounds) - len(self._news.following.rounds)
        old, self._news = self._news, news
        if old is None or old.classes is not news.classes or old.following.rounds != news.following.rounds:
            self._draw()

    def step(self, rounds: int) -> None:
        """Go to an earlier (-1) or later (1) round."""
        if self._news is not None:
            self._back = max(0, min(self._back - rounds, len(self._news.following.rounds) - 1))
            self._draw()

    def on_resize(self) -> None:
        """Columns go by the width."""
        self._draw()

    def _draw(self) -> None:
        if self._news is None:
            return
        text = self.query_one("#pseudo-text", Static)
        palette = palette_of(self.app.theme)
        rounds, classes = self._news.following.rounds, self._news.classes
        if not rounds:
            text.update(Text(self._absence(self._news), palette.muted))
            return
        self._back = max(0, min(self._back, len(rounds) - 1))
        chosen = len(rounds) - 1 - self._back
        width = max(20, self.scrollable_content_region.width)
        parts = [
            rounds_table(rounds, chosen, classes, palette, _ROUNDS),
            confidence_histogram(rounds[chosen], palette, width),
            class_counts(rounds[chosen], classes, palette, width),
        ]
        text.update(Text("\n", no_wrap=True, overflow="ellipsis").join(part for part in parts if part.plain))

    def _absence(self, news: News) -> str:
        if not news.following.recipe:
            return "the recipe cannot be read, so whether it has a teacher is not known"
        if "pseudo_label.strategy" not in news.following.recipe:
            return "a supervised run: it has no teacher and no pseudo-labels"
        return "the teacher has not labelled anything yet; its round comes after its own training"
