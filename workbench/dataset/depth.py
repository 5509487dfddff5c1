"""Pictures of more than 8 bits a pixel: one scale a data set, so that equal light stays equally bright."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

DEPTHS = (8, 10, 12, 14, 16, 24, 32)
"""Bits that cameras and scanners give; the least that holds a data set's highest value is its depth."""


@dataclass(frozen=True, slots=True)
class Deep:
    """The values in one deep picture."""

    kind: Literal["whole", "real"]
    """Integers, or floating-point numbers."""
    low: float
    high: float

    @property
    def values(self) -> list[str | float]:
        """To be kept as JSON."""
        return [self.kind, self.low, self.high]


@dataclass(frozen=True, slots=True)
class Scale:
    """How the values of deep pictures become 0 to 255."""

    bits: int = 8
    """Of integers, one of `DEPTHS`: the upper eight of them are kept."""
    white: float = 1.0
    """Of floating-point numbers, the value that becomes 255; 0 and what is below becomes 0."""

    def bytes_of(self, values: NDArray[np.number]) -> NDArray[np.uint8]:
        """Values (H, W) of either kind as (H, W) uint8."""
        reduced: NDArray[np.uint8]
        if np.issubdtype(values.dtype, np.floating):
            shares = np.nan_to_num(values / self.white, nan=0.0, posinf=1.0, neginf=0.0)
            reduced = np.rint(np.clip(shares, 0.0, 1.0) * 255).astype(np.uint8)
        else:
            reduced = np.clip(values.astype(np.int64) >> (self.bits - 8), 0, 255).astype(np.uint8)
        return reduced


def scale_of(pictures: Iterable[Deep | None]) -> Scale | None:
    """The one scale of a data set's pictures; None where none is deep.

    Integers: the least depth that holds the highest of all values. Floating-point numbers: 1 is white where
    none is higher, else the largest integer of that depth.
    """
    deep = [picture for picture in pictures if picture is not None]
    whole = max((picture.high for picture in deep if picture.kind == "whole"), default=0.0)
    real = max((picture.high for picture in deep if picture.kind == "real"), default=0.0)
    if not deep:
        return None
    return Scale(_depth(whole), 1.0 if real <= 1 else float(2 ** _depth(real) - 1))


def scale_words(pictures: Iterable[Deep | None]) -> list[str]:
    """How a data set's deep pictures are read, a sentence a kind; none where none is deep."""
    deep = [picture for picture in pictures if picture is not None]
    scale, words = scale_of(deep), []
    whole = [picture for picture in deep if picture.kind == "whole"]
    real = [picture for picture in deep if picture.kind == "real"]
    if scale is not None and whole:
        high = max(picture.high for picture in whole)
        words.append(
            f"{len(whole)} images of more than 8 bits a pixel, values up to {high:,.0f}: "
            f"read as {scale.bits} bits, 0 to {2**scale.bits - 1:,} becomes black to white in every image"
        )
    if scale is not None and real:
        low, high = min(picture.low for picture in real), max(picture.high for picture in real)
        words.append(
            f"{len(real)} images of floating-point numbers from {low:g} to {high:g}: "
            f"0 to {scale.white:g} becomes black to white in every image"
            + (", what is below 0 becomes black" if low < 0 else "")
        )
    return words


def is_deep(mode: str) -> bool:
    """Whether Pillow's mode is one of integers beyond 8 bits, or of floating-point numbers."""
    return mode.startswith("I") or mode == "F"


def deep_of(values: NDArray[np.number]) -> Deep:
    """The range of (H, W) values; what is not finite does not count."""
    if np.issubdtype(values.dtype, np.floating):
        finite = values[np.isfinite(values)]
        return Deep("real", *((float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)))
    return Deep("whole", float(values.min()), float(values.max()))


def _depth(high: float) -> int:
    return next((bits for bits in DEPTHS if high <= 2**bits - 1), DEPTHS[-1])
