"""Pictures as half-cells: every pixel where it belongs, in its colour."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.segment import Segment

from workbench.tui.pictures import Pixels, fit, half_cells
from workbench.tui.pictures.half_cells import shrink

Colour = tuple[int, int, int]


def colours(cell: Segment) -> tuple[Colour, Colour]:
    """The upper and the lower pixel of a cell."""
    assert cell.style is not None
    assert cell.style.color is not None
    assert cell.style.bgcolor is not None
    upper, lower = cell.style.color.get_truecolor(), cell.style.bgcolor.get_truecolor()
    return tuple(upper), tuple(lower)  # type: ignore[return-value]


@given(
    st.integers(1, 12).flatmap(
        lambda width: st.integers(1, 6).flatmap(
            lambda rows: st.binary(min_size=6 * width * rows, max_size=6 * width * rows).map(
                lambda rgb: Pixels(width, 2 * rows, rgb)
            )
        )
    )
)
def test_every_pixel_is_drawn_in_its_place_and_colour(pixels: Pixels) -> None:
    lines = half_cells(pixels)
    assert len(lines) == pixels.rows
    for row, line in enumerate(lines):
        assert "".join(cell.text for cell in line) == "▀" * pixels.width
        for x, cell in enumerate(line):
            for half, colour in enumerate(colours(cell)):
                place = 3 * ((2 * row + half) * pixels.width + x)
                assert bytes(colour) == pixels.rgb[place : place + 3]


def test_a_picture_of_the_right_size_is_drawn_pixel_by_pixel() -> None:
    image = Image.new("RGB", (2, 2))
    image.putdata([(1, 2, 3), (4, 5, 6), (7, 8, 9), (10, 11, 12)])
    (line,) = half_cells(shrink(image, 2, 1))
    assert [colours(cell) for cell in line] == [((1, 2, 3), (7, 8, 9)), ((4, 5, 6), (10, 11, 12))]


def test_a_picture_is_reduced_to_its_cells_and_any_mode_becomes_colour() -> None:
    image = Image.new("L", (640, 480), 100)
    pixels = shrink(image, 16, 6)
    assert (pixels.width, pixels.height, pixels.rows) == (16, 12, 6)
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
