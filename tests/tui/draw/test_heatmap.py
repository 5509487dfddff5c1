"""How a matrix fits the screen and what its cells look like."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.strip import Strip

from workbench.tui.draw.heat_drawing import HeatData, draw_heat, fit, strength, tiles_of
from workbench.tui.themes import palette_of

PALETTE = palette_of("petbench-dark")


def of(values: np.ndarray, *, diverging: bool = False) -> HeatData:
    names = tuple(f"class {i}" for i in range(len(values)))
    return HeatData(values.astype(np.float64), names, names, diverging)


def test_37_classes_take_74_cells_by_19_lines() -> None:
    place = fit(37, 37, 74, 19, (0, 0), shades=False, overview=False)
    assert (place.rows, place.columns, place.tile_width, place.tile_height) == (37, 37, 2, 1)


def test_names_stand_beside_the_rows_where_there_is_room() -> None:
    place = fit(37, 37, 150, 40, (0, 0), shades=False, overview=False)
    assert place.tile_height == 2
    assert place.label_width >= 8


@settings(max_examples=300, deadline=None)
@given(
    st.integers(1, 300),
    st.integers(1, 160),
    st.integers(1, 60),
    st.tuples(st.integers(0, 299), st.integers(0, 299)),
    st.booleans(),
    st.booleans(),
)
def test_a_fit_stays_on_the_screen_and_holds_the_cursor(
    classes: int, width: int, height: int, cursor: tuple[int, int], shades: bool, overview: bool
) -> None:
    cursor = (cursor[0] % classes, cursor[1] % classes)
    place = fit(classes, classes, width, height, cursor, shades=shades, overview=overview)
    assert place.label_width + place.columns * place.tile_width <= width
    assert place.rows * place.tile_height <= 2 * height
    assert 0 <= cursor[0] // place.block - place.row < place.rows
    assert 0 <= cursor[1] // place.block - place.column < place.columns
    if overview:
        assert place.rows * place.block >= classes
        assert place.columns * place.block >= classes
    values = np.zeros((classes, classes))
    lines = draw_heat(of(values), place, cursor, PALETTE, height, shades=shades)
    assert len(lines) == height
    assert {line.cell_length for line in lines} == {place.label_width + place.columns * place.tile_width}


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 2**31))
def test_blocks_lose_no_greatest_value(classes: int, block: int, seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=(classes, classes))
    tiles = tiles_of(of(values, diverging=True), block)
    assert tiles.shape == (-(-classes // block),) * 2
    assert np.abs(tiles).max() == np.abs(values).max()


def test_the_worst_error_has_full_colour_however_small_it_is() -> None:
    values = np.diag([0.9, 0.95, 1.0])
    values[0, 1] = 0.1
    amounts = strength(of(values), values)
    assert amounts[0, 1] == 1.0
    assert amounts[2, 2] == 1.0
    assert amounts[1, 0] == 0.0


def test_differences_are_as_strong_both_ways() -> None:
    values = np.array([[0.0, -4.0], [4.0, 1.0]])
    amounts = strength(of(values, diverging=True), values)
    assert amounts[0, 1] == -amounts[1, 0] == -1.0


def test_without_colour_cells_are_shades_and_the_cursor_is_reversed() -> None:
    values = np.array([[1.0, 0.0], [0.5, 0.5]])
    place = fit(2, 2, 20, 4, (0, 1), shades=True, overview=False)
    lines = draw_heat(of(values), place, (0, 1), PALETTE, 4, shades=True)
    text = "\n".join(line.text for line in lines)
    assert "█" in text
    assert not any(
        segment.style.color
        for line in lines
        for segment in line
        if segment.style and "class" not in segment.text
    )
    assert any(segment.style and segment.style.reverse for segment in lines[0])


def test_a_click_finds_the_tile_that_is_drawn_there() -> None:
    place = fit(37, 37, 74, 19, (0, 0), shades=False, overview=False)
    assert place.tile_at(0, 0) == (0, 0)
    assert place.tile_at(0, 0, upper=False) == (1, 0)
    assert place.tile_at(73, 18) == (36, 36)
    assert place.tile_at(73, 18, upper=False) is None


@pytest.mark.parametrize("shades", [False, True])
def test_an_empty_matrix_is_blank(shades: bool) -> None:
    place = fit(0, 0, 20, 5, (0, 0), shades=shades, overview=False)
    lines: list[Strip] = draw_heat(of(np.zeros((0, 0))), place, None, PALETTE, 5, shades=shades)
    assert [line.text.strip() for line in lines] == [""] * 5
