"""Numbers and targets as people read and write them: all rules of rounding but those by key in `runs.values`.

A share is told in percent, an accuracy and what is measured like it with two digits (`88.42`), the ends of an
interval and what is no result with one; or in the cells of the app as a fraction (`.884`).
"""

from __future__ import annotations

import math
import re

NOTHING = "–"
"""Where there is no number."""


def percent(share: float | None, digits: int = 2) -> str:
    """0.8842 -> '88.42'; a dash where there is none."""
    return NOTHING if share is None or math.isnan(share) else f"{100 * share:.{digits}f}"


def in_percent(share: float | None, digits: int = 2) -> str:
    """0.8842 -> '88.42 %'; `0 %` and `100 %` for nothing and all."""
    if share is None or math.isnan(share):
        return NOTHING
    return f"{percent(share, digits if 0 < share < 1 else 0)} %"


def fraction(share: float | None, digits: int = 3) -> str:
    """0.8842 -> '.884', as wide as `1.00` for all; a dash where there is none."""
    if share is None or math.isnan(share):
        return NOTHING
    text = f"{share:.{digits}f}"
    return text.removeprefix("0") if text.startswith("0.") else f"{share:.{digits - 1}f}"


def given_percent(share: float) -> str:
    """0.1 -> '10', 0.005 -> '0.5': a share that somebody gave, as in a recipe, with the digits it has."""
    return f"{100 * share:.6g}"


def progress_percent(share: float) -> str:
    """0.619 -> '61'; never 100 of what is not over."""
    return str(min(99, int(100 * share)))


def points(difference: float) -> str:
    """0.0152 -> '+1.52': a difference of two shares, in points."""
    return signed(100 * difference)


def human_speed(images_per_second: float) -> str:
    """412.3 -> '412', 14.82 -> '14.8': images a second."""
    return f"{images_per_second:.1f}" if images_per_second < 100 else f"{images_per_second:,.0f}"


def interval_words(interval: tuple[float, float] | None) -> str:
    """`89.8–92.4`, of shares in percent; a dash for none."""
    if interval is None:
        return NOTHING
    return "–".join(percent(end, 1 if 0 < end < 1 else 0) for end in _possible(interval))


def interval_fractions(interval: tuple[float, float] | None) -> str:
    """`.898–.924`; a dash for none."""
    return NOTHING if interval is None else "–".join(map(fraction, _possible(interval)))


def _possible(interval: tuple[float, float]) -> tuple[float, float]:
    """That of a mean may go beyond nothing and all."""
    low, high = (min(1.0, max(0.0, end)) for end in interval)
    return low, high


def points_words(interval: tuple[float, float]) -> str:
    """`+1.2 to +5.4`: an interval of a difference, in points, with a true minus."""
    return " to ".join(signed(100 * end, ".1f") for end in interval)


def p_words(p: float | None) -> str:
    """A p as people read it: `.034`, `<.001`, a dash for none."""
    if p is None:
        return NOTHING
    return "<.001" if p < 0.001 else fraction(p)


def human_bytes(count: float) -> str:
    """1536 -> '1.5 KiB'."""
    size = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if abs(size) < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def human_seconds(seconds: float) -> str:
    """250 -> '4m10s'; under ten seconds one decimal is kept."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h{minutes:02d}m"
    return f"{minutes}m{rest:02d}s" if minutes else f"{rest}s"


def human_eta(seconds: float) -> str:
    """`8s`, `4m10s`: whole seconds, at least one, as nobody knows better."""
    whole = max(1, round(seconds))
    return f"{whole}s" if whole < 60 else human_seconds(whole)


def human_count(count: int) -> str:
    """23508032 -> '23.51 M'; parameters and the like."""
    if count >= 1_000_000:
        return f"{count / 1e6:.2f} M"
    return f"{count / 1e3:.1f} k" if count >= 10_000 else str(count)


def signed(value: float, form: str = ".2f") -> str:
    """A difference as people read it: `+1.52`, `−0.40` with a true minus, `±0.00` where nothing is left."""
    return with_sign(value, format(abs(value), form))


def with_sign(value: float, words: str) -> str:
    """The sign of a difference before what its size is called: `+1m02s`, `−3.1 MiB`, `±0.00`."""
    if math.isnan(value):
        return "nan"
    if math.isfinite(value) and not re.search("[1-9]", words):
        return f"±{words}"
    return f"{'+' if value > 0 else '−'}{words}"


def target_word(dataset: object, target: object) -> str:
    """What `data.target` is called before people: only the Oxford set's classes are breeds."""
    return "classes" if target == "breed" and dataset != "oxford-iiit-pet" else str(target)


_BYTES = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12} | {
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}


def bytes_of(text: str) -> int:
    """'20GB' -> 20000000000, '1.5 GiB' -> 1610612736. Raises: ValueError."""
    number, unit = _parted(text.strip().lower().removesuffix("b"))
    if unit not in _BYTES:
        raise ValueError(f"no size: {text}")
    return int(number * _BYTES[unit])


def seconds_of(text: str) -> float:
    """'30d' -> 2592000.0. Raises: ValueError."""
    number, unit = _parted(text.strip().lower())
    if unit not in _SECONDS:
        raise ValueError(f"no time: {text}")
    return number * _SECONDS[unit]


def _parted(text: str) -> tuple[float, str]:
    match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?) ?([a-z]{0,2})", text, re.ASCII)
    if match is None:
        raise ValueError(f"no number and unit: {text}")
    return float(match[1]), match[2]
