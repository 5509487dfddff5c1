"""Spans drawn into braille characters: two dots across and four down in every cell."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.tui.draw.decimate import Spans

ACROSS, DOWN = 2, 4
"""Dots in a cell."""

_BLANK = 0x2800
# Bit of each dot, rows top to bottom, columns left to right (Unicode 15, section 21.1).
_BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]], dtype=np.uint16)


def dots_of(spans: Spans, low: float, high: float, rows: int) -> NDArray[np.bool_]:
    """The dots that `spans` cover on an axis from `low` (bottom) to `high`.

    Args:
        rows: dot rows.

    Returns:
        (rows, columns) bool; what lies outside the axis is cut off.
    """
    scale = (rows - 1) / (high - low)
    with np.errstate(invalid="ignore"):
        bottom = np.rint((spans.low - low) * scale)
        top = np.rint((spans.high - low) * scale)
        level = np.arange(rows - 1, -1, -1, dtype=np.float64)[:, None]
        return np.asarray((level >= bottom) & (level <= top))


def dotted(dots: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Every second pair of dot columns left out, so that a line without colour is told from a solid one."""
    keep = (np.arange(dots.shape[1]) // 2) % 2 == 0
    return np.asarray(dots & keep)


def cells_of(dots: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """The braille pattern of each cell, 0 where it has no dot.

    Args:
        dots: (4·H, 2·W) bool.

    Returns:
        (H, W) uint16.
    """
    rows, columns = dots.shape[0] // DOWN, dots.shape[1] // ACROSS
    blocks = dots.reshape(rows, DOWN, columns, ACROSS)
    cells: NDArray[np.uint16] = np.einsum("rdca,da->rc", blocks.astype(np.uint16), _BITS)
    return cells


def characters_of(cells: NDArray[np.uint16]) -> NDArray[np.str_]:
    """(H, W) patterns as characters; blank cells are spaces."""
    codes = np.where(cells == 0, ord(" "), cells.astype(np.uint32) + _BLANK).astype(np.uint32)
    return np.ascontiguousarray(codes).view("<U1")
