"""Numbers and targets as people read and write them."""

from __future__ import annotations

import re


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


def human_count(count: int) -> str:
    """23508032 -> '23.51 M'; parameters and the like."""
    if count >= 1_000_000:
        return f"{count / 1e6:.2f} M"
    return f"{count / 1e3:.1f} k" if count >= 10_000 else str(count)


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
