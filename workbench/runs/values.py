"""What the numbers of a run are called, and how they read by their keys, on the command line and in the app.

`percent` tells shares as the command line and files do (`88.42`), else as the cells of the app (`.884`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import assert_never

from workbench.runs.intervals import SIGNIFICANT
from workbench.runs.keys import Value
from workbench.runs.seed_groups import Spread
from workbench.runs.summary import BOUNDS
from workbench.support.units import (
    NOTHING,
    fraction,
    human_bytes,
    human_seconds,
    human_speed,
    p_words,
    with_sign,
)
from workbench.support.units import percent as percent_words

_SHARES = ("accuracy", "macro_f1", "top5", "coverage")
_MEANS = ("best.round", "best.epoch")
_TITLES = {
    "round.pseudo_label_accuracy": "pseudo-labels right",
    "round.coverage": "pool labelled",
    "training_seconds": "training",
    "images_per_second": "images/s",
    "peak_memory_bytes": "peak memory",
}
MARK = "✱"
"""Of a difference that counts as significant."""
MARK_WORDS = f"{MARK} p < {SIGNIFICANT}"


def is_share(key: str) -> bool:
    """Whether the number `key` is a share, which is told in percent."""
    last = key.rpartition(".")[2]
    return last in _SHARES or last.endswith(("_accuracy", *BOUNDS))


def title_of(key: str, *, percent: bool = True) -> str:
    """`test.macro_f1` -> `test macro F1 %`."""
    words = _TITLES.get(key) or key.replace(".", " ").replace("calibration_error", "ECE").replace(
        "_f1", " F1"
    )
    return f"{words} %" if percent and is_share(key) else words


def number_words(key: str, value: float | None, *, percent: bool = True) -> str:
    """`88.02`, `0.528`, `25s`, `963.2 MiB`; a dash where there is none; without `percent` `.880`."""
    if value is None:
        return NOTHING
    if not math.isfinite(value):
        return str(value)
    last = key.rpartition(".")[2]
    if is_share(key):
        return percent_words(value) if percent else fraction(value)
    if last == "calibration_error":
        return f"{value:.3f}" if percent else fraction(value)
    if last == "loss":
        return f"{value:.3f}"
    if last == "images_per_second":
        return human_speed(value)
    if last.endswith("_seconds"):
        return human_seconds(value)
    if last.endswith("_bytes"):
        return human_bytes(value)
    return f"{value:.3g}" if key in _MEANS else f"{value:.6g}" if abs(value) < 1e6 else str(value)


def value_words(key: str, value: Value | None, *, percent: bool = True) -> str:
    """A value of a run or of its recipe: a number by its key, a date to the minute; a dash for none."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case int() | float():
            return number_words(key, value, percent=percent)
        case datetime():
            this_year = value.year == datetime.now().year
            return f"{value:%m-%d %H:%M}" if this_year else f"{value:%Y-%m-%d}"
        case list():
            return ", ".join(map(str, value))
        case str():
            return value
        case _:
            assert_never(value)


def setting_words(value: object) -> str:
    """A value of a recipe in a cell: lists without brackets, `true` and `false`; a dash for none."""
    match value:
        case None:
            return NOTHING
        case bool():
            return "true" if value else "false"
        case list() | tuple():
            return " ".join(map(setting_words, value))
        case _:
            return str(value) or '""'


def trained_words(seconds: float, images_per_second: float, devices: int | None) -> str:
    """`trained 4m10s at 412 images/s on 2 devices`."""
    on = "" if devices is None else f" on {devices} devices"
    return f"trained {human_seconds(seconds)} at {human_speed(images_per_second)} images/s{on}"


def delta_words(key: str, delta: float | None, *, percent: bool = True) -> str:
    """`+1.52`, `−0.011`, with a true minus; empty where there is none."""
    if delta is None:
        return ""
    return with_sign(delta, number_words(key, abs(delta), percent=percent))


def spread_words(key: str, spread: Spread | None, *, percent: bool = True) -> str:
    """`88.21 ± 0.62`; for one seed the number alone."""
    if spread is None:
        return NOTHING
    mean = number_words(key, spread.mean, percent=percent)
    if spread.deviation is None or key.endswith("_bytes"):
        return mean
    return f"{mean} ± {number_words(key, spread.deviation, percent=percent)}"


def holm_words(chances: Iterable[float | None]) -> str:
    """That these p are adjusted, and for how many; empty where there is but one test."""
    count = sum(p is not None for p in chances)
    return f"p adjusted for {count} comparisons (Holm)" if count > 1 else ""


def marked_p(p: float | None) -> str:
    """`.034`, and `<.001✱` for one that counts as significant; empty for none."""
    if p is None:
        return ""
    return p_words(p) + (MARK if p < SIGNIFICANT else "")
