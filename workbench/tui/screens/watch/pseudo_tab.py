"""The pseudo-label panel: follows the latest round, or online epoch, until an earlier one is asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from workbench.recipe.online import Online
from workbench.recipe.pseudo_label import strategies_of
from workbench.runs.ensemble import members_words
from workbench.runs.events import PoolTaught, RoundLabelled
from workbench.tui.draw.bars import bar, histogram
from workbench.tui.draw.ticks import value_label
from workbench.tui.screens.watch.news import News, class_name
from workbench.tui.themes import Palette, palette_of

_ROUNDS = 6
_EPOCHS = 12
_NARROW = 56
_HISTOGRAM_LINES = 4
_CLASS_NAME = 20
_CLASS_BAR = 8


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
            self._back += len(_told(news)) - len(_told(self._news))
        old, self._news = self._news, news
        if old is None or old.classes is not news.classes or _told(old) != _told(news):
            self._draw()

    def step(self, rounds: int) -> None:
        """Go to an earlier (-1) or later (1) round or epoch."""
        if self._news is not None:
            self._back = max(0, min(self._back - rounds, len(_told(self._news)) - 1))
            self._draw()

    def on_resize(self) -> None:
        """Columns go by the width."""
        self._draw()

    def _draw(self) -> None:
        if self._news is None:
            return
        text = self.query_one("#pseudo-text", Static)
        palette = palette_of(self.app.theme)
        following, classes = self._news.following, self._news.classes
        rounds, pools, told = following.rounds, following.pools, _told(self._news)
        if not told:
            text.update(Text(self._absence(self._news), palette.muted))
            return
        self._back = max(0, min(self._back, len(told) - 1))
        chosen = len(told) - 1 - self._back
        width = max(20, self.scrollable_content_region.width)
        if rounds:
            parts = [
                rounds_table(rounds, chosen, classes, palette, _ROUNDS),
                confidence_histogram(rounds[chosen], palette, width),
                class_counts(rounds[chosen], classes, palette, width),
            ]
        else:
            parts = [
                pools_table(pools, chosen, palette, _EPOCHS),
                class_thresholds(pools[chosen], classes, palette, width),
            ]
        text.update(Text("\n", no_wrap=True, overflow="ellipsis").join(part for part in parts if part.plain))

    def _absence(self, news: News) -> str:
        if not news.following.recipe:
            return "the recipe cannot be read, so whether it has a teacher is not known"
        if mean := members_words(news.following.recipe):
            return f"{mean}: it trained nothing, and labelled no pool of its own"
        if "pseudo_label.strategy" not in news.following.recipe:
            return "a supervised run: it has no teacher and no pseudo-labels"
        if news.following.recipe["pseudo_label.strategy"] in strategies_of(Online):
            return "the student labels as it trains, after its teacher; no epoch of it is over yet"
        return "the teacher has not labelled anything yet; its round comes after its own training"


def _told(news: News) -> Sequence[RoundLabelled | PoolTaught]:
    """What there is to choose from: rounds, or an online strategy's epochs."""
    return news.following.rounds or news.following.pools


def rounds_table(
    rounds: Sequence[RoundLabelled], chosen: int, classes: Sequence[str], palette: Palette, most: int
) -> Text:
    """A line a round, the chosen one marked; the last `most` that hold the chosen one.

    Args:
        chosen: index into `rounds`.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append("  round  selected      share   right  pool   flipped  least    fewest", palette.muted)
    first = max(0, min(chosen, len(rounds) - most)) if len(rounds) > most else 0
    first = max(first, chosen - most + 1)
    for place, labelled in enumerate(rounds[first : first + most], start=first):
        here = place == chosen
        text.append("\n▸ " if here else "\n  ", palette.accent)
        least = int(np.argmin(labelled.per_class)) if labelled.per_class else -1
        fewest = f"{class_name(classes, least)} {labelled.per_class[least]}" if least >= 0 else "–"
        text.append(
            f"{labelled.round:>5}  {labelled.selected:>6,}/{labelled.pool:<6,}"
            f"{labelled.selected / max(1, labelled.pool):>6.0%}   {_known(labelled.accuracy):>5}"
            f"  {_known(labelled.pool_accuracy):>5}  {labelled.flipped:>6,}"
            f"  {labelled.threshold:>6.3f}   {fewest}",
            "bold" if here else "",
        )
    return text


def confidence_histogram(labelled: RoundLabelled, palette: Palette, width: int) -> Text:
    """The pool's confidences in twentieths, those that were selected in the accent; the threshold marked.

    The bin that holds the threshold is selected in part; it has the accent too.
    """
    counts = labelled.confidence_histogram
    text = Text(no_wrap=True)
    if not counts:
        return text
    column = max(1, min(3, (width - 2) // len(counts)))
    threshold = min(len(counts) - 1, max(0, int(labelled.threshold * len(counts) + 1e-9)))
    text.append("confidence of the pool", palette.muted)
    text.append(f", selected from {labelled.threshold:.3f} up", palette.accent)
    for line in histogram(counts, _HISTOGRAM_LINES, column_width=column):
        text.append("\n")
        text.append(line[: threshold * column], palette.muted)
        text.append(line[threshold * column :], palette.accent)
    # Under the bars: where the threshold is, between 0 and 1.
    axis = list("0" + "─" * (column * len(counts) - 2) + "1")
    place = min(len(axis) - 2, max(1, round(labelled.threshold * column * len(counts))))
    axis[place] = "▲"
    text.append("\n")
    text.append("".join(axis), palette.muted)
    return text


def class_counts(labelled: RoundLabelled, classes: Sequence[str], palette: Palette, width: int) -> Text:
    """Selected images a class, fewest first, in as many columns as fit; the bars compare with the most."""
    text = Text(no_wrap=True, overflow="ellipsis")
    counts = labelled.per_class
    if not counts:
        return text
    most = max(max(counts), 1)
    cell = _CLASS_NAME + _CLASS_BAR + 8
    across = max(1, width // cell)
    order = sorted(range(len(counts)), key=lambda i: counts[i])
    lines = -(-len(order) // across)
    text.append("selected a class, fewest first", palette.muted)
    for line in range(lines):
        text.append("\n")
        for i in order[line::lines]:
            name = class_name(classes, i, _CLASS_NAME)
            text.append(name + " " * (_CLASS_NAME - cell_len(name) + 1))
            few = counts[i] * 4 < most
            text.append(bar(counts[i] / most, _CLASS_BAR), palette.warning if few else palette.accent)
            text.append(f"{counts[i]:>5,}  ")
    return text


def pools_table(pools: Sequence[PoolTaught], chosen: int, palette: Palette, most: int) -> Text:
    """A line an epoch of an online strategy, the chosen one marked; the last `most` that hold the chosen one.

    Args:
        chosen: index into `pools`.
    """
    text = Text(no_wrap=True, overflow="ellipsis")
    text.append(
        "  epoch  images   used    right  all right   thresholds: least  median   most", palette.muted
    )
    first = max(0, min(chosen, len(pools) - most)) if len(pools) > most else 0
    first = max(first, chosen - most + 1)
    for place, taught in enumerate(pools[first : first + most], start=first):
        here = place == chosen
        text.append("\n▸ " if here else "\n  ", palette.accent)
        least, median, highest = (
            (f"{value:.3f}" for value in np.quantile(taught.thresholds, [0, 0.5, 1]))
            if taught.thresholds
            else ("–", "–", "–")
        )
        text.append(
            f"{taught.epoch:>5}  {taught.images:>6,}  {value_label(taught.used, 'share'):>6}"
            f"  {_known(taught.accuracy):>6}  {_known(taught.pool_accuracy):>9}"
            f"  {least:>17}  {median:>6}  {highest:>6}",
            "bold" if here else "",
        )
    return text


def class_thresholds(taught: PoolTaught, classes: Sequence[str], palette: Palette, width: int) -> Text:
    """The confidence that each class's pseudo-labels need, lowest first, in as many columns as fit."""
    text = Text(no_wrap=True, overflow="ellipsis")
    thresholds = taught.thresholds
    if not thresholds or min(thresholds) == max(thresholds):
        return text
    cell = _CLASS_NAME + _CLASS_BAR + 9
    across = max(1, width // cell)
    order = sorted(range(len(thresholds)), key=lambda i: thresholds[i])
    lines = -(-len(order) // across)
    text.append("threshold a class, lowest first", palette.muted)
    for line in range(lines):
        text.append("\n")
        for i in order[line::lines]:
            name = class_name(classes, i, _CLASS_NAME)
            text.append(name + " " * (_CLASS_NAME - cell_len(name) + 1))
            text.append(bar(min(1.0, thresholds[i]), _CLASS_BAR), palette.accent)
            text.append(f" {thresholds[i]:>5.3f}  ")
    return text


def _known(share: float | None) -> str:
    return "–" if share is None else value_label(share, "share")
