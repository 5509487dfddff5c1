"""A picture as coloured half-cells: `▀` with its upper pixel in front and its lower pixel behind.

Works in every terminal of 256 colours and more; a cell is about twice as high as wide, so pixels are square.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from rich.color import Color
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    from PIL.Image import Image

UPPER_HALF = "▀"
_KEPT_CELLS = 16_384  # a full screen of 160×48 twice: what is drawn again costs nothing


@dataclass(frozen=True, slots=True)
class Pixels:
    """A small picture, ready to be drawn."""

    width: int
    """In pixels, which is in cells."""
    height: int
    """In pixels: an even number, two for each row of cells."""
    rgb: bytes
    """Row by row, three bytes a pixel: width × height × 3."""

    @property
    def rows(self) -> int:
        """Height in cells."""
        return self.height // 2


def fit(size: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """The cells (columns, rows), at least one each, that a picture of `size` pixels fills in a box of cells.

    Proportions are kept as far as whole cells allow.
    """
    width, height = max(1, size[0]), max(1, size[1])
    scale = min(columns / width, 2 * rows / height)
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / 2)))


def shrink(image: Image, columns: int, rows: int) -> Pixels:
    """The picture at exactly columns × 2 rows pixels, filtered so that fine fur does not flicker."""
    from PIL import Image as Pillow

    size = (columns, 2 * rows)
    small = image if image.size == size else image.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=3.0)
    return Pixels(columns, 2 * rows, small.convert("RGB").tobytes())


def half_cells(pixels: Pixels) -> list[list[Segment]]:
    """The picture's lines, each of `pixels.width` cells."""
    stride = 3 * pixels.width
    lines = []
    for start in range(0, pixels.rows * 2 * stride, 2 * stride):
        upper, lower = pixels.rgb[start : start + stride], pixels.rgb[start + stride : start + 2 * stride]
        lines.append([_cell(upper[x : x + 3], lower[x : x + 3]) for x in range(0, stride, 3)])
    return lines


@lru_cache(_KEPT_CELLS)
def _cell(upper: bytes, lower: bytes) -> Segment:
    return Segment(UPPER_HALF, Style.from_color(_colour(upper), _colour(lower)))


def _colour(rgb: bytes) -> Color:
    return Color.from_triplet(ColorTriplet(*rgb))
