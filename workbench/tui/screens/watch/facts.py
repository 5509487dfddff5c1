"""The lines beneath the curves: the latest numbers, the machine, the pseudo-labels, what is confused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.text import Text

from workbench.runs.best_epoch import epoch_words
from workbench.runs.events import RoundLabelled
from workbench.runs.following import Following
from workbench.runs.results import most_confused
from workbench.support.clean import clean
from workbench.support.units import human_bytes
from workbench.tui.draw.sparkline import sparkline
from workbench.tui.draw.ticks import value_label
from workbench.tui.screens.watch.news import News
from workbench.tui.screens.watch.process_use import ProcessUse
from workbench.tui.themes import Palette

if TYPE_CHECKING:
    from workbench.jobs import GpuUse

_SPARK = 8
_SPARKED = 200  # latest values that a spark shows
_PAIRS = 4
_NAME = 18


def fact_lines(news: News, gpus: Sequence[GpuUse], palette: Palette) -> list[Text]:
    """One line a subject, most asked for first; subjects without values are left out."""
    following = news.following
    lines = [_numbers(following, palette), _machine(news.use, gpus, following, palette)]
    if following.rounds:
        lines.append(round_line(following.rounds[-1], news.classes, palette))
    lines.append(_confused(news, palette))
    return [line for line in lines if line.plain]


def round_line(labelled: RoundLabelled, classes: Sequence[str], palette: Palette) -> Text:
    """What the teacher labelled in a round."""
    line = Text(end="")
    _add(line, f"pseudo-labels r{labelled.round}", palette.muted)
    _add(line, f"{labelled.selected:,}/{labelled.pool:,}")
    line.append(f" ({labelled.selected / max(1, labelled.pool):.0%})")
    if labelled.accuracy is not None:
        _add(line, "right", palette.muted)
        line.append(f" {value_label(labelled.accuracy, 'share')}")
    _add(line, "flipped", palette.muted)
    line.append(f" {labelled.flipped:,}")
    if labelled.per_class:
        least = int(np.argmin(labelled.per_class))
        _add(line, "fewest", palette.muted)
        line.append(f" {class_name(classes, least)} {labelled.per_class[least]}")
    return line


def class_name(classes: Sequence[str], index: int, limit: int = _NAME) -> str:
    """A class's name, harmless; its number while the names are not known."""
    return clean(classes[index].replace("_", " "), limit) if index < len(classes) else f"class {index}"


def _numbers(following: Following, palette: Palette) -> Text:
    line = Text(end="")
    if len(following.val.accuracy):
        _add(line, "val", palette.muted)
        line.append(f" {value_label(float(following.val.accuracy[-1]), 'share')}", style="bold")
        best = following.best
        if best is not None:
            line.append(
                f" (best {value_label(best.accuracy, 'share')} @{epoch_words(best)})", style=palette.muted
            )
    if following.steps.loss.size or following.train.loss.size:
        source = following.steps if following.steps.loss.size else following.train
        _add(line, "lr", palette.muted)
        line.append(f" {value_label(float(source.learning_rate[-1]), 'number')} ")
        line.append(sparkline(source.learning_rate[-_SPARKED:], _SPARK), style=palette.muted)
        line.append(f"  {float(source.images_per_second[-1]):,.0f} img/s ")
        line.append(sparkline(source.images_per_second[-_SPARKED:], _SPARK), style=palette.muted)
    return line


def _machine(use: ProcessUse | None, gpus: Sequence[GpuUse], following: Following, palette: Palette) -> Text:
    line = Text(end="")
    if use is not None:
        _add(line, "processor", palette.muted)
        line.append(f" {use.cpu:.1f} cores {human_bytes(use.memory_bytes)}")
    if following.status.is_running:
        for gpu in gpus:
            _add(line, f"GPU{gpu.index}", palette.muted)
            if gpu.utilisation is not None:
                line.append(f" {gpu.utilisation:.0%}")
            line.append(f" {human_bytes(gpu.used_bytes)} of {human_bytes(gpu.total_bytes)}")
            line.append(
                f" (own {human_bytes(gpu.own_bytes)}, others {human_bytes(gpu.other_bytes)})", palette.muted
            )
    return line


def _confused(news: News, palette: Palette) -> Text:
    line = Text(end="")
    confusions = news.following.confusions
    if not confusions:
        return line
    matrix = confusions[-1].matrix
    names = [class_name(news.classes, i) for i in range(len(matrix))]
    pairs = most_confused(matrix.tolist(), names, _PAIRS)
    if pairs:
        _add(line, "confused", palette.muted)
        line.append(" " + "  ".join(f"{pair.true}→{pair.predicted} {pair.count}" for pair in pairs))
    return line


def _add(line: Text, words: str, style: str = "") -> None:
    if line.plain:
        line.append("  ")
    line.append(words, style=style)
