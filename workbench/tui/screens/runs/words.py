"""How a run's values read in the narrow cells of a table."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from workbench.runs.keys import Value, values_of
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary
from workbench.support.units import human_bytes, human_seconds
from workbench.tui.marks import STATUS_MARKS

_SHARES = ("accuracy", "macro_f1", "top5", "coverage")
_RECENT_DAYS = 14


def share(value: float | None) -> str:
    """`.874`; `1.00` for all; `–` for what there is not."""
    if value is None or value != value:
        return "–"
    text = f"{value:.3f}"
    return text.removeprefix("0") if text.startswith("0.") else f"{value:.2f}"


def eta_words(seconds: float) -> str:
    """`8s`, `4m10s`: whole seconds, at least one."""
    whole = max(1, round(seconds))
    return f"{whole}s" if whole < 60 else human_seconds(whole)


def age(then: datetime, now: datetime) -> str:
    """`now`, `5m`, `3h`, `2d`, then the date."""
    passed = now - then
    minutes = int(passed.total_seconds() // 60)
    if minutes < 1:
        return "now"
    if minutes < 60:
        return f"{minutes}m"
    if minutes < 24 * 60:
        return f"{minutes // 60}h"
    if passed < timedelta(days=_RECENT_DAYS):
        return f"{passed.days}d"
    return f"{then:%b %d}" if then.year == now.year else f"{then:%Y-%m}"


def labels(recipe: Mapping[str, Any]) -> str:
    """How much of the training data kept its labels: `10%`, `4/class`, `100%`; `–` where nothing tells."""
    if not is_told(recipe):
        return "–"
    per_class = recipe.get("pseudo_label.labels_per_class")
    if isinstance(per_class, int):
        return f"{per_class}/class"
    fraction = recipe.get("pseudo_label.labelled_fraction")
    if isinstance(fraction, int | float):
        return f"{100 * fraction:.3g}%"
    return "100%"


def is_told(recipe: Mapping[str, Any]) -> bool:
    """Whether the recipe could be read, and has pseudo-labels either as a table or not at all."""
    return bool(recipe) and "pseudo_label" not in recipe


def state(summary: RunSummary) -> str:
    """The state's word with what matters most in it: the round, the place in the queue, the reason."""
    status, progress = summary.status, summary.progress
    word = STATUS_MARKS[status].word
    match status:
        case RunStatus.QUEUED if summary.queue_position is not None:
            return f"{word} #{summary.queue_position}"
        case RunStatus.FAILED:
            return summary.reason or word
        case RunStatus.STOPPED if summary.reason == "paused":
            return f"paused{_reached(summary)}"
        case RunStatus.STOPPED | RunStatus.SILENT | RunStatus.LOST:
            return f"{word}{_reached(summary)}"
        case RunStatus.LIVE | RunStatus.STALLED | RunStatus.STOPPING if progress is not None:
            where = f"r{progress.round}/{progress.rounds}" if progress.round else progress.stage
            return f"{word} {where}"
    return word


def _reached(summary: RunSummary) -> str:
    progress = summary.progress
    if progress is None:
        return ""
    return f" r{progress.round} ep {progress.epoch}" if progress.round else f" ep {progress.epoch}"


def value_of(summary: RunSummary, key: str) -> Value | None:
    """The run's value under a key; None where it has none."""
    found: Value | None = summary.metrics.get(key)
    if found is None:
        found = summary.recipe.get(key)
    return values_of(summary).get(key) if found is None else found


def value_words(key: str, value: Value | None) -> str:
    """Any key's value: shares as the other columns show them, times and sizes with units."""
    last = key.rpartition(".")[2]
    if value is None:
        return "–"
    if isinstance(value, datetime):
        return f"{value:%m-%d %H:%M}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, int | float):
        if last in _SHARES or last.endswith("_accuracy"):
            return share(float(value))
        if last.endswith("_seconds"):
            return human_seconds(value)
        if last.endswith("_bytes"):
            return human_bytes(value)
        return f"{value:.6g}"
    return str(value)


def is_number(value: Value | None) -> bool:
    """Whether the value is one that a column lines up at the right."""
    return isinstance(value, int | float) and not isinstance(value, bool)
