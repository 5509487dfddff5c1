"""The pseudo-labels of a run as text: its rounds, one round's confidences, its images a class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from rich.cells import cell_len
from rich.text import Text

from workbench.runs.events import RoundLabelled
from workbench.tui.draw.bars import bar, histogram
from workbench.tui.draw.ticks import value_label
from workbench.tui.screens.watch.facts import class_name
from workbench.tui.themes import Palette

_NARROW = 56
_HISTOGRAM_LINES = 4
_CLASS_NAME = 20
_CLASS_BAR = 8


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


def _known(share: float | None) -> str:
    return "–" if share is None else value_label(share, "share")
