"""A picture as block characters, two colours a cell: halves, quadrants, sextants or octants.

A half-cell, `▀` with its upper pixel in front and its lower pixel behind, shows two pixels as they are. Finer
blocks have more pixels than colours: a cell's pixels are parted in two along the axis on which they differ
most, and each part gets its mean. Works in every terminal of 256 colours and more.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cache, lru_cache
from typing import TYPE_CHECKING, assert_never

from rich.color import Color, ColorType
from rich.color_triplet import ColorTriplet
from rich.segment import Segment
from rich.style import Style

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from PIL.Image import Image

UPPER_HALF = "▀"
_KEPT_CELLS = 16_384  # a full screen of 160×48 twice: what is drawn again costs nothing
_POWER_STEPS = 4  # of the power iteration; which of 4 to 8 pixels lie on which side is settled by then
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

_QUADRANTS = " ▘▝▀▖▌▞▛▗▚▐▜▄▙▟█"
"""By pattern: bit 0 upper left, 1 upper right, 2 lower left, 3 lower right."""
_FIRST_SEXTANT = 0x1FB00
_FIRST_OCTANT = 0x1CD00
# The two blocks of code points are in the patterns' order and leave out what Unicode had before: of sextants
# the empty and the full cell and the two halves, of octants the quadrants and these.
_OTHER_SEXTANTS = {0b000000: " ", 0b010101: "▌", 0b101010: "▐", 0b111111: "█"}
_OTHER_OCTANTS = {
    0b00000001: "\U0001cea8",  # left half upper one quarter
    0b00000010: "\U0001ceab",  # right half upper one quarter
    0b00000011: "\U0001fb82",  # upper one quarter
    0b00010100: "\U0001fbe6",  # middle left one quarter
    0b00101000: "\U0001fbe7",  # middle right one quarter
    0b00111111: "\U0001fb85",  # upper three quarters
    0b01000000: "\U0001cea3",  # left half lower one quarter
    0b10000000: "\U0001cea0",  # right half lower one quarter
    0b11000000: "▂",  # lower one quarter
    0b11111100: "▆",  # lower three quarters
}
_OF_WORDS = frozenset(" ▌▂▆█")
"""Marks, bars and spark lines are made of these: a picture has the block that fills the rest of the cell."""


class Blocks(StrEnum):
    """How a cell is divided, the coarsest first."""

    HALF = "half"
    QUADRANT = "quadrant"
    SEXTANT = "sextant"
    OCTANT = "octant"

    @property
    def across(self) -> int:
        """Pixels of a cell side by side."""
        return 1 if self is Blocks.HALF else 2

    @property
    def down(self) -> int:
        """Pixels of a cell one below the other."""
        match self:
            case Blocks.HALF | Blocks.QUADRANT:
                return 2
            case Blocks.SEXTANT:
                return 3
            case Blocks.OCTANT:
                return 4
            case _:
                assert_never(self)


@cache
def glyphs(blocks: Blocks) -> str:
    """The characters by pattern: the bits of a pattern are a cell's pixels that are in front, row by row.

    The upper left pixel is bit 0. Of half-cells: upper and lower half.
    """
    match blocks:
        case Blocks.HALF:
            return " ▀▄█"
        case Blocks.QUADRANT:
            return _QUADRANTS
        case Blocks.SEXTANT:
            return _in_order(_FIRST_SEXTANT, 6, _OTHER_SEXTANTS)
        case Blocks.OCTANT:
            return _in_order(_FIRST_OCTANT, 8, _OTHER_OCTANTS | _quadrants_as_octants())
        case _:
            assert_never(blocks)


def _in_order(first: int, bits: int, others: dict[int, str]) -> str:
    named = iter(range(first, first + (1 << bits) - len(others)))
    return "".join(others.get(pattern) or chr(next(named)) for pattern in range(1 << bits))


def _quadrants_as_octants() -> dict[int, str]:
    """A quadrant is two octants, one above the other."""
    parts = (0b0000_0101, 0b0000_1010, 0b0101_0000, 0b1010_0000)
    return {
        sum(part for bit, part in enumerate(parts) if pattern >> bit & 1): character
        for pattern, character in enumerate(_QUADRANTS)
    }


def picture_characters() -> frozenset[str]:
    """Every character that a picture is drawn with, and no word."""
    return frozenset("".join(map(glyphs, Blocks))) - _OF_WORDS


@dataclass(frozen=True, slots=True)
class Pixels:
    """A small picture, ready to be drawn."""

    blocks: Blocks
    columns: int
    """In cells."""
    rows: int
    """In cells."""
    rgb: bytes
    """Row by row, three bytes a pixel: rows × down × columns × across × 3."""


def fit(size: tuple[int, int], columns: int, rows: int) -> tuple[int, int]:
    """The cells (columns, rows), at least one each, that a picture of `size` pixels fills in a box of cells.

    Proportions are kept as far as whole cells allow; a cell is about twice as high as wide.
    """
    width, height = max(1, size[0]), max(1, size[1])
    scale = min(columns / width, 2 * rows / height)
    return max(1, min(columns, round(width * scale))), max(1, min(rows, round(height * scale / 2)))


def shrink(image: Image, columns: int, rows: int, blocks: Blocks) -> Pixels:
    """The picture at exactly the pixels of columns × rows cells, filtered: fine fur does not flicker."""
    from PIL import Image as Pillow

    size = (blocks.across * columns, blocks.down * rows)
    small = image if image.size == size else image.resize(size, Pillow.Resampling.LANCZOS, reducing_gap=3.0)
    return Pixels(blocks, columns, rows, small.convert("RGB").tobytes())


def draw(pixels: Pixels) -> list[list[Segment]]:
    """The picture's lines, each of `pixels.columns` cells."""
    cells = _halves(pixels) if pixels.blocks is Blocks.HALF else _two_colours(pixels)
    return [cells[start : start + pixels.columns] for start in range(0, len(cells), pixels.columns)]


def _halves(pixels: Pixels) -> list[Segment]:
    rgb, stride, cells = pixels.rgb, 3 * pixels.columns, []
    for start in range(0, len(rgb), 2 * stride):
        for upper in range(start, start + stride, 3):
            lower = upper + stride
            front, behind = rgb[upper : upper + 3], rgb[lower : lower + 3]
            cells.append(_cell(UPPER_HALF, int.from_bytes(front), int.from_bytes(behind)))
    return cells


def _two_colours(pixels: Pixels) -> list[Segment]:
    import numpy as np

    across, down, rows = pixels.blocks.across, pixels.blocks.down, pixels.rows
    values = np.frombuffer(pixels.rgb, dtype=np.uint8).reshape(rows, down, pixels.columns, across, 3)
    values = values.transpose(0, 2, 1, 3, 4).reshape(-1, down * across, 3)  # (cells, pixels, 3) uint8
    lighter, light, dark = part(values.astype(np.float32))
    is_flat = ~lighter.any(1) | lighter.all(1)
    pattern = lighter @ (1 << np.arange(down * across))  # (cells,) int64
    table = np.array(list(glyphs(pixels.blocks)))
    is_of_words = np.isin(table, list(_OF_WORDS))[pattern]
    pattern = np.where(is_of_words, (1 << down * across) - 1 - pattern, pattern)
    characters = np.where(is_flat, UPPER_HALF, table[pattern])
    swapped = is_of_words[:, None]
    front, behind = np.where(swapped, dark, light), np.where(swapped, light, dark)
    return list(map(_cell, characters.tolist(), _packed(front), _packed(behind)))


def part(values: NDArray[np.float32]) -> tuple[NDArray[np.bool_], NDArray[np.float32], NDArray[np.float32]]:
    """Part the pixels of every cell in two, along the axis on which they differ most; each part has its mean.

    sRGB values as they are: their steps are about even to the eye, and of 60 pets at 18×9 cells this came
    nearer to the photograph than parts and means in linear light (0.2 dB for quadrants, 1 dB for octants).

    Args:
        values: (cells, pixels, 3) float32, 0 … 255.

    Returns:
        which pixels are of the lighter part (cells, pixels), its colour and that of the darker part
        (cells, 3). In a cell of one colour all pixels are of one part, and both have its colour.
    """
    import numpy as np

    count = values.shape[1]
    middle = values.mean(1)
    centred = values - middle[:, None]
    spread = np.einsum("cpi,cpj->cij", centred, centred)  # (cells, 3, 3)
    strongest = np.einsum("cii->ci", spread).argmax(1)
    axis = spread[np.arange(len(values)), strongest]  # (cells, 3): one step of power iteration
    for _ in range(_POWER_STEPS):
        axis = np.einsum("cij,cj->ci", spread, axis)
        axis /= np.maximum(np.abs(axis).max(1, keepdims=True), 1e-12)
    axis *= np.where(axis @ np.array(_LUMA, dtype=np.float32) < 0, -1, 1)[:, None]
    along = np.einsum("cpi,ci->cp", centred, axis)
    # The best two means on a line: every cut between neighbours is tried (Otsu 1979).
    ordered = np.sort(along, 1)
    sizes = np.arange(1, count)
    between = np.cumsum(ordered, 1)[:, :-1] ** 2 * (1 / sizes + 1 / (count - sizes))
    cut = between.argmax(1)[:, None]
    threshold = np.take_along_axis(ordered[:, :-1] + ordered[:, 1:], cut, 1) / 2
    lighter = along > threshold
    number = lighter.sum(1, keepdims=True)
    light_sum = np.einsum("cpi,cp->ci", values, lighter.astype(np.float32))
    light = np.where(number > 0, light_sum / np.maximum(number, 1), middle)
    dark = np.where(number < count, (values.sum(1) - light_sum) / np.maximum(count - number, 1), middle)
    return lighter, light.astype(np.float32), dark.astype(np.float32)


def _packed(colours: NDArray[np.float32]) -> list[int]:
    """Each colour (3,) as one number, red first."""
    import numpy as np

    whole = np.rint(colours).astype(np.int64)
    packed: list[int] = (whole @ np.array([1 << 16, 1 << 8, 1])).tolist()
    return packed


def forget_cells() -> None:
    """Forget which cells were drawn; benchmarks time drawing."""
    _cell.cache_clear()


@lru_cache(_KEPT_CELLS)
def _cell(character: str, front: int, behind: int) -> Segment:
    return Segment(character, Style.from_color(_colour(front), _colour(behind)))


def _colour(rgb: int) -> Color:
    # As Color.from_triplet, which takes twice as long to write the name.
    triplet = ColorTriplet(rgb >> 16, rgb >> 8 & 255, rgb & 255)
    return Color(f"#{rgb:06x}", ColorType.TRUECOLOR, None, triplet)
