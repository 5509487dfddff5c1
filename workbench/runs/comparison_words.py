"""How the numbers of a comparison read, in tables of the command line and of the screen."""

from __future__ import annotations

import math

from workbench.runs.mcnemar import SIGNIFICANT, p_words
from workbench.runs.seeds import Spread
from workbench.support.units import human_bytes, human_seconds

_SHARES = ("accuracy", "macro_f1", "top5", "coverage")
_TITLES = {
    "round.pseudo_label_accuracy": "pseudo-labels right",
    "round.coverage": "pool labelled",
    "training_seconds": "training",
    "images_per_second": "images/s",
    "peak_memory_bytes": "peak memory",
}
MARK_WORDS = f"✱ p < {SIGNIFICANT}"


def is_share(key: str) -> bool:
    """Whether the number `key` is a share, which is told in percent."""
    last = key.rpartition(".")[2]
    return last in _SHARES or last.endswith("_accuracy")


def title_of(key: str, *, percent: bool = True) -> str:
    """`test.macro_f1` -> `test macro F1 %`."""
    words = _TITLES.get(key) or key.replace(".", " ").replace("calibration_error", "ECE").replace(
        "_f1", " F1"
    )
    return f"{words} %" if percent and is_share(key) else words


def number_words(key: str, value: float | None, *, percent: bool = True) -> str:
    """`88.02`, `0.528`, `25s`, `963.2 MiB`; a dash where there is none; without `percent` `.880`."""
    if value is None:
        return "–"
    if not math.isfinite(value):
        return str(value)
    if is_share(key):
        return f"{100 * value:.2f}" if percent else f"{value:.3f}".removeprefix("0")
    if key.endswith("_seconds"):
        return human_seconds(value)
    if key.endswith("_bytes"):
        return human_bytes(value)
    if key in ("best.round", "best.epoch"):
        return f"{value:.3g}"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}"


def delta_words(key: str, delta: float | None, *, percent: bool = True) -> str:
    """`+1.52`, `−0.011`, with a true minus; empty where there is none."""
    if delta is None:
        return ""
    words = number_words(key, abs(delta), percent=percent)
    if not delta or not words.strip("0.,"):
        return f"±{words}"
    return f"{'+' if delta > 0 else '−'}{words}"


def spread_words(key: str, spread: Spread | None, *, percent: bool = True) -> str:
    """`88.21 ±0.62`; for one seed the number alone."""
    if spread is None:
        return "–"
    mean = number_words(key, spread.mean, percent=percent)
    if spread.deviation is None or key.endswith("_bytes"):
        return mean
    return f"{mean} ±{number_words(key, spread.deviation, percent=percent)}"


def marked_p(p: float | None) -> str:
    """`.034`, and `<.001✱` for one that counts as significant; empty for none."""
    if p is None:
        return ""
    return p_words(p) + ("✱" if p < SIGNIFICANT else "")
