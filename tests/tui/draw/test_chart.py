"""The line chart as text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workbench.tui.draw.chart_curves import EMPTY_CHART, ChartData, ChartView, CurveCache, Level, Mark, Series
from workbench.tui.draw.chart_drawing import draw_chart
from workbench.tui.themes import palette_of

PALETTE = palette_of("petbench-dark")
X = np.arange(1.0, 61.0)
VAL = Series("val", X, 0.9 - 0.5 * np.exp(-X / 10), 0)
TRAIN = Series("train", X, 1 - 0.6 * np.exp(-X / 6), 1, "dotted")
DATA = ChartData(
    "accuracy",
    (VAL, TRAIN),
    marks=(Mark(20, "r1"), Mark(40, "r2")),
    levels=(Level(0.6, "teacher", 2),),
    y_format="share",
)


def lines(data: ChartData, view: ChartView = ChartView(), width: int = 60, height: int = 14) -> list[str]:  # noqa: B008
    strips = draw_chart(data, view, width, height, PALETTE, CurveCache()).strips
    return [strip.text for strip in strips]


@settings(max_examples=80, deadline=None)
@given(
    st.integers(0, 120),
    st.integers(0, 40),
    st.booleans(),
    st.sampled_from([0.0, 0.6]),
    st.sampled_from([None, 0.0, 30.0, 900.0]),
    st.sampled_from([None, (5.0, 9.0), (100.0, 200.0)]),
)
def test_a_chart_of_any_size_has_exactly_its_lines_and_cells(
    width: int,
    height: int,
    log_y: bool,
    smoothing: float,
    cursor: float | None,
    window: tuple[float, float] | None,
) -> None:
    for data in (DATA, EMPTY_CHART, ChartData("x" * 200, (Series("name" * 40, X, -X, 3),))):
        drawn = draw_chart(
            data, ChartView(log_y, smoothing, window, cursor), width, height, PALETTE, CurveCache()
        )
        assert len(drawn.strips) == height
        assert all(strip.cell_length == len(strip.text) == width for strip in drawn.strips)


def test_rounds_and_the_teachers_level_are_named() -> None:
    text = "\n".join(lines(DATA))
    assert "┴r1" in text
    assert "┴r2" in text
    assert "teacher .600" in text


def test_curves_are_told_apart_without_colour() -> None:
    dashes = lines(DATA)[0]
    assert "─ val" in dashes
    assert "┄ train" in dashes
    alike = ChartData("", tuple(Series(f"run{i}", X, X + 10 * i, i) for i in range(20)))
    drawn = lines(alike, width=200, height=48)
    signs = [word for word in drawn[0].split() if not word.startswith("run")]
    assert len(set(signs)) == len(signs) == 20
    assert all(any(sign in line for line in drawn[1:]) for sign in signs)


def test_the_cursor_reads_every_curve() -> None:
    text = lines(DATA, ChartView(cursor=30.0))[0]
    assert "@30" in text
    assert ".875" in text
    assert ".996" in text


def test_a_smoothed_curve_keeps_its_raw_line_faint() -> None:
    noisy = ChartData("loss", (Series("train", X, np.sin(X * 2), 0),))
    strips = draw_chart(noisy, ChartView(smoothing=0.9), 60, 14, PALETTE, CurveCache()).strips
    colours = {
        segment.style.color.name
        for strip in strips
        for segment in strip
        if segment.style and segment.style.color
    }
    assert PALETTE.series_colour(0) in colours
    assert len(colours - {PALETTE.muted, PALETTE.text, PALETTE.series_colour(0)}) == 1


def test_a_window_shows_its_part_alone() -> None:
    steep = ChartData("loss", (Series("train", X, np.where(X < 30, 100.0, X), 0),))
    text = "\n".join(lines(steep, ChartView(window=(40.0, 50.0))))
    assert "100" not in text
    assert "45" in text


def test_a_log_axis_leaves_out_what_is_not_positive() -> None:
    data = ChartData("loss", (Series("train", X, np.where(X < 5, -1.0, 10.0 ** (-X / 20)), 0),))
    text = "\n".join(lines(data, ChartView(log_y=True)))
    assert "0.1" in text
    assert "-1" not in text


def test_a_few_points_off_the_scale_do_not_flatten_the_rest_and_are_marked() -> None:
    spiky = ChartData("loss", (Series("train", X, np.where(X == 30, 1000.0, np.sin(X)), 0),))
    drawn = lines(spiky)
    assert "▴" in drawn[1]
    assert not any("500" in line for line in drawn)


@pytest.mark.parametrize("y", [np.full(60, 3.0), np.full(60, np.nan), np.zeros(60)])
def test_flat_and_empty_curves_are_drawn_too(y: np.ndarray) -> None:
    drawn = lines(ChartData("flat", (Series("a", X, y, 0),)))
    assert ("no values yet" in "\n".join(drawn)) == bool(np.isnan(y).all())


def test_time_is_written_in_units_a_person_uses() -> None:
    data = ChartData("loss", (Series("train", X * 120, X, 0),), x_label="time")
    text = "\n".join(lines(data, ChartView(cursor=3600.0)))
    assert "@1h00m" in text
    assert any(f"{n}m" in text for n in (20, 30, 50, 60))
