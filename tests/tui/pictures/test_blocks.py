"""Pictures as block characters: every pattern has its character, every pixel its place and its colour."""

from __future__ import annotations

import unicodedata
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from PIL import Image
from rich.cells import cell_len
from rich.segment import Segment

from workbench.tui.pictures import Blocks, Pixels, draw, fit
from workbench.tui.pictures.blocks import glyphs, part, picture_characters, shrink

Colour = tuple[int, int, int]
LIGHT, DARK = (250, 240, 200), (40, 20, 10)
NAMES = Path(__file__).with_name("unicode16.txt")
QUADRANTS = ("UPPER LEFT", "UPPER RIGHT", "LOWER LEFT", "LOWER RIGHT")
SHAPES = {
    "SPACE": ".. .. .. ..",
    "FULL BLOCK": "## ## ## ##",
    "UPPER HALF BLOCK": "## ## .. ..",
    "LOWER HALF BLOCK": ".. .. ## ##",
    "LEFT HALF BLOCK": "#. #. #. #.",
    "RIGHT HALF BLOCK": ".# .# .# .#",
    "UPPER ONE QUARTER BLOCK": "## .. .. ..",
    "LOWER ONE QUARTER BLOCK": ".. .. .. ##",
    "UPPER THREE QUARTERS BLOCK": "## ## ## ..",
    "LOWER THREE QUARTERS BLOCK": ".. ## ## ##",
    "LEFT HALF UPPER ONE QUARTER BLOCK": "#. .. .. ..",
    "RIGHT HALF UPPER ONE QUARTER BLOCK": ".# .. .. ..",
    "MIDDLE LEFT ONE QUARTER BLOCK": ".. #. #. ..",
    "MIDDLE RIGHT ONE QUARTER BLOCK": ".. .# .# ..",
    "LEFT HALF LOWER ONE QUARTER BLOCK": ".. .. .. #.",
    "RIGHT HALF LOWER ONE QUARTER BLOCK": ".. .. .. .#",
}
"""What these names say, in octants."""


@cache
def names() -> dict[str, str]:
    """Character -> name, of those that this Python does not know."""
    lines = [line for line in NAMES.read_text("ascii").splitlines() if not line.startswith("#")]
    return {chr(int(code, 16)): name for code, name in (line.split(";") for line in lines)}


@cache
def shape(character: str, blocks: Blocks) -> NDArray[np.bool_]:
    """Which pixels of a cell a character fills, row by row, by its name in Unicode."""
    name = names().get(character) or unicodedata.name(character)
    kind, _, digits = name.partition("-")
    if kind in ("BLOCK SEXTANT", "BLOCK OCTANT"):
        assert kind == f"BLOCK {blocks.name}"
        return np.array([str(1 + pixel) in digits for pixel in range(2 * blocks.down)])
    if name.startswith("QUADRANT "):
        filled = np.array([part in name for part in QUADRANTS]).reshape(2, 2)
        octants = filled.repeat(2, axis=0)
    else:
        octants = np.array([[pixel == "#" for pixel in row] for row in SHAPES[name].split()])
    if blocks is Blocks.OCTANT:
        return octants.ravel()
    if blocks is Blocks.SEXTANT:  # only halves left and right, the full cell and the empty one
        assert (octants == octants[0]).all()
        return octants[:3].ravel()
    assert (octants[0::2] == octants[1::2]).all()
    quadrants = octants[0::2]
    if blocks is Blocks.HALF:
        assert (quadrants[:, 0] == quadrants[:, 1]).all()
        return quadrants[:, 0]
    return quadrants.ravel()


def colours(cell: Segment) -> tuple[Colour, Colour]:
    """The colour in front and the one behind."""
    assert cell.style is not None
    assert cell.style.color is not None
    assert cell.style.bgcolor is not None
    front, behind = cell.style.color.get_truecolor(), cell.style.bgcolor.get_truecolor()
    return tuple(front), tuple(behind)  # type: ignore[return-value]


def seen(lines: list[list[Segment]], blocks: Blocks) -> NDArray[np.uint8]:
    """The pixels (height, width, 3) that a terminal shows."""
    rows = []
    for line in lines:
        cells = []
        for cell in line:
            front, behind = colours(cell)
            filled = shape(cell.text, blocks) if front != behind else [True] * (blocks.across * blocks.down)
            pixels = np.array([front if pixel else behind for pixel in filled], dtype=np.uint8)
            cells.append(pixels.reshape(blocks.down, blocks.across, 3))
        rows.append(np.concatenate(cells, axis=1))
    return np.concatenate(rows, axis=0)


@pytest.mark.parametrize("blocks", list(Blocks))
def test_every_pattern_has_the_character_that_unicode_names_so(blocks: Blocks) -> None:
    characters = glyphs(blocks)
    bits = blocks.across * blocks.down
    assert len(characters) == len(set(characters)) == 2**bits
    for pattern, character in enumerate(characters):
        assert shape(character, blocks).tolist() == [bool(pattern >> bit & 1) for bit in range(bits)], hex(
            ord(character)
        )
        assert cell_len(character) == 1


@pytest.mark.parametrize("blocks", list(Blocks))
def test_every_pattern_of_two_colours_is_drawn_as_it_is(blocks: Blocks) -> None:
    bits = blocks.across * blocks.down
    cells = [[LIGHT if pattern >> bit & 1 else DARK for bit in range(bits)] for pattern in range(2**bits)]
    values = np.array(cells, dtype=np.uint8).reshape(-1, blocks.down, blocks.across, 3)
    picture = values.transpose(1, 0, 2, 3).reshape(blocks.down, -1, 3)  # side by side
    lines = draw(Pixels(blocks, 2**bits, 1, picture.tobytes()))
    assert len(lines[0]) == 2**bits
    assert (seen(lines, blocks) == picture).all()
    assert {cell.text for cell in lines[0]} <= picture_characters()


@given(st.sampled_from(list(Blocks)), st.integers(1, 6), st.integers(1, 4), st.randoms(use_true_random=False))
def test_a_cell_shows_two_means_and_none_brighter_or_darker(
    blocks: Blocks, columns: int, rows: int, random: object
) -> None:
    rng = np.random.default_rng(random.getrandbits(32))  # type: ignore[attr-defined]
    height, width = blocks.down * rows, blocks.across * columns
    picture = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    lines = draw(Pixels(blocks, columns, rows, picture.tobytes()))
    assert [len(line) for line in lines] == [columns] * rows
    shown = seen(lines, blocks)
    if blocks is Blocks.HALF:
        assert (shown == picture).all()
    cut = (rows, blocks.down, columns, blocks.across, 3)
    means = picture.reshape(cut).mean((1, 3)), shown.reshape(cut).mean((1, 3))
    assert np.abs(means[0] - means[1]).max() <= 0.5  # of a cell as a whole nothing is lost but rounding


@given(hnp.arrays(np.uint8, st.tuples(st.integers(1, 5), st.sampled_from([4, 6, 8]), st.just(3))))
def test_cells_are_parted_where_the_parts_differ_most(values: NDArray[np.uint8]) -> None:
    cells = values.astype(np.float32)
    lighter, light, dark = part(cells)
    for pixels, of_lighter, one, other in zip(cells, lighter, light, dark, strict=True):
        left = (np.where(of_lighter[:, None], pixels - one, pixels - other) ** 2).sum()
        whole = ((pixels - pixels.mean(0)) ** 2).sum()
        assert left <= whole + 0.5
        if of_lighter.any() and not of_lighter.all():
            assert np.allclose(one, pixels[of_lighter].mean(0), atol=0.01)
            assert np.allclose(other, pixels[~of_lighter].mean(0), atol=0.01)


def test_a_cell_of_one_colour_is_one_colour() -> None:
    for blocks in Blocks:
        lines = draw(Pixels(blocks, 2, 1, bytes([7, 99, 200]) * (2 * blocks.across * blocks.down)))
        assert [colours(cell) for cell in lines[0]] == [((7, 99, 200), (7, 99, 200))] * 2


def test_a_sharp_edge_within_a_cell_is_kept_by_finer_blocks() -> None:
    image = Image.new("RGB", (80, 40), LIGHT)
    image.paste(DARK, (0, 0, 10, 40))  # a quarter of the first of four cells
    for blocks, kept in ((Blocks.HALF, False), (Blocks.QUADRANT, True), (Blocks.OCTANT, True)):
        pixels = shrink(image, 4, 1, blocks)
        first = np.frombuffer(pixels.rgb, np.uint8).reshape(blocks.down, -1, 3)[0]
        has_edge = first[0].sum() < 150 and first[1].sum() > 500
        assert has_edge == kept


def test_words_have_characters_of_their_own() -> None:
    assert picture_characters().isdisjoint(" ▌▂▆█◆")
    assert {"▀", "▐", "▚", "\U0001fb00", "\U0001cd00"} <= picture_characters()


def test_a_picture_of_the_right_size_is_drawn_pixel_by_pixel() -> None:
    image = Image.new("RGB", (2, 2))
    image.putdata([(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)])
    (line,) = draw(shrink(image, 2, 1, Blocks.HALF))
    assert [colours(cell) for cell in line] == [((1, 2, 3), (7, 8, 9)), ((4, 5, 6), (10, 11, 12))]


def test_a_picture_is_reduced_to_its_cells_and_any_mode_becomes_colour() -> None:
    image = Image.new("L", (640, 480), 100)
    pixels = shrink(image, 16, 6, Blocks.SEXTANT)
    assert (pixels.columns, pixels.rows, len(pixels.rgb)) == (16, 6, 32 * 18 * 3)
    assert set(pixels.rgb) == {100}


@given(st.integers(1, 9000), st.integers(1, 9000), st.integers(1, 300), st.integers(1, 100))
def test_a_picture_fits_its_box_and_fills_one_side(width: int, height: int, columns: int, rows: int) -> None:
    across, down = fit((width, height), columns, rows)
    assert 1 <= across <= columns
    assert 1 <= down <= rows
    assert across == columns or down == rows


def test_proportions_are_kept_with_cells_twice_as_high_as_wide() -> None:
    assert fit((400, 300), 40, 100) == (40, 15)
    assert fit((300, 400), 100, 20) == (30, 20)
    assert fit((0, 0), 10, 5) == (10, 5)
