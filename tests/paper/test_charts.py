"""Charts: what stands where on paper, in SVG and in PNG."""

from __future__ import annotations

import io
import itertools
import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from workbench.paper.charts import COLOURS, At, Curve, Level, LineChart, Row, Span, dot_chart, line_chart
from workbench.paper.drawing import Box, Drawing, Lines, Words, words_width


def _curve(name: str, start: int, epochs: int, low: float, high: float, deviation: float | None) -> Curve:
    points = [
        At(start + epoch, high - (high - low) * 0.8**epoch, deviation) for epoch in range(1, epochs + 1)
    ]
    return Curve(name, points, is_reference=name == "teacher")


def _students(rounds: int = 5, epochs: int = 10, gain: float = 0.04) -> LineChart:
    teacher, student = 60, rounds * epochs
    return LineChart(
        "Figure 6: Validation accuracy, 10 % labelled",
        "efficientnet_lite0; mean of 3 seeds, band: ± 1 standard deviation",
        "epoch",
        [
            _curve("teacher", 0, teacher, 0.2, 0.8, 0.01),
            _curve("one-shot", teacher, 20, 0.79, 0.8 + gain / 2, 0.01),
            _curve("iterative", teacher, student, 0.79, 0.8 + gain, 0.01),
        ],
        Level("teacher", 0.8, teacher),
        [Span("teacher", 0, teacher), Span("students", teacher, teacher + student)],
        [
            Span(str(number + 1), teacher + epochs * number, teacher + epochs * (number + 1))
            for number in range(rounds)
        ],
    )


def _many() -> LineChart:
    names = ["head alone", *(f"last {size}: block{13 - size} … norm" for size in range(2, 11)), "all"]
    curves = [_curve(name, 0, 20, 0.3, 0.7 + 0.02 * place, None) for place, name in enumerate(names)]
    return LineChart("Figure 3: Validation accuracy by layers that learn", "one seed", "epoch", curves)


def _long() -> LineChart:
    return replace(
        _students(),
        subtitle="timm:vit_base_patch16_siglip_224.webli; mean of 3 of 5 seeds, band: ± 1 standard deviation",
    )


def _texts(drawing: Drawing) -> list[Words]:
    return [shape for shape in drawing.shapes if isinstance(shape, Words)]


def _lines(drawing: Drawing, role: str) -> list[Lines]:
    found = [shape for shape in drawing.of(role) if isinstance(shape, Lines)]
    assert found, role
    return found


def _plot(drawing: Drawing) -> Box:
    (axis,) = _lines(drawing, "axis")
    return axis.box


@pytest.mark.parametrize(
    "chart",
    [_students(), _students(rounds=20, epochs=1), _students(gain=0.0), _many(), _long()],
    ids=["students", "short-rounds", "no-gain", "many", "long"],
)
def test_texts_stand_on_the_paper_and_neither_on_each_other_nor_in_the_plot(chart: LineChart) -> None:
    drawing = line_chart(chart)
    texts, plot = _texts(drawing), _plot(drawing)
    for one, other in itertools.combinations(texts, 2):
        assert not one.box.overlaps(other.box), (one.text, other.text)
    for text in texts:
        box = text.box
        assert box.left >= 0
        assert box.top >= 0
        assert box.right <= drawing.width
        assert box.bottom <= drawing.height
        assert not box.overlaps(plot), text.text
        for stage in drawing.of("stage-start"):
            assert not box.overlaps(stage.box), text.text


def test_curves_and_bands_stay_in_the_plot() -> None:
    drawing = line_chart(_students())
    plot = _plot(drawing)
    for shape in drawing.shapes:
        if shape.role.startswith(("curve:", "band:", "level")):
            box = shape.box
            assert box.left >= plot.left - 1
            assert box.right <= plot.right + 1
            assert box.top >= plot.top - 1
            assert box.bottom <= plot.bottom + 1


def _place(drawing: Drawing, epoch: float) -> float:
    """Where an epoch is, by the axis's own numbers."""
    ticks = [shape for shape in drawing.of("tick") if isinstance(shape, Words) and shape.anchor == "middle"]
    first, last = ticks[0], ticks[-1]
    per_epoch = (last.x - first.x) / (float(last.text) - float(first.text))
    return first.x + (epoch - float(first.text)) * per_epoch


def test_a_tick_stands_where_each_round_begins_and_a_line_where_students_do() -> None:
    chart = _students(rounds=5, epochs=10)
    drawing = line_chart(chart)
    ticks = [line.points[0][0] for line in _lines(drawing, "round-start")]
    assert ticks == pytest.approx([_place(drawing, 60 + 10 * number) for number in range(5)])
    (students,) = _lines(drawing, "stage-start")
    assert students.points[0][0] == pytest.approx(_place(drawing, 60))
    numbers = [shape for shape in drawing.of("round") if isinstance(shape, Words)]
    assert [number.text for number in numbers] == ["1", "2", "3", "4", "5"]
    for number, tick in zip(numbers, ticks, strict=True):
        assert tick < number.x < tick + 10 * (_place(drawing, 1) - _place(drawing, 0))


def test_the_teachers_line_stands_at_its_accuracy_from_the_students_on() -> None:
    drawing = line_chart(_students())
    (level,) = _lines(drawing, "level")
    heights = {
        float(shape.text): shape.y
        for shape in drawing.of("tick")
        if isinstance(shape, Words) and shape.anchor == "end"
    }
    low, high = min(heights), max(heights)
    wanted = heights[low] + (80 - low) / (high - low) * (heights[high] - heights[low])
    assert level.points[0] == pytest.approx((_place(drawing, 60), wanted - 0.34 * 7))
    assert level.points[1][1] == level.points[0][1]


def test_strategies_differ_in_colour_in_dashes_and_in_markers() -> None:
    drawing = line_chart(_students())
    one, other = _lines(drawing, "curve:one-shot"), _lines(drawing, "curve:iterative")
    assert one[0].stroke != other[0].stroke
    assert one[0].dash != other[0].dash
    corners = {marker.fill: len(marker.points) for marker in _lines(drawing, "marker")}
    assert len(set(corners.values())) == len(corners) == 2
    names = {name.text: name.colour for name in drawing.of("name") if isinstance(name, Words)}
    assert names["one-shot"] == one[0].stroke
    assert names["iterative"] == other[0].stroke


def test_every_line_of_many_has_a_look_of_its_own() -> None:
    curves = [shape for shape in line_chart(_many()).shapes if shape.role.startswith("curve:")]
    looks = {(line.stroke, tuple(line.dash)) for line in curves if isinstance(line, Lines)}
    assert len(looks) == len(curves) == len(_many().curves)


def test_a_band_reaches_a_standard_deviation_to_either_side() -> None:
    flat = Curve("flat", [At(1, 0.5, 0.1), At(2, 0.5, 0.1)])
    drawing = line_chart(LineChart("t", "s", "epoch", [flat]))
    (band,), (curve,) = _lines(drawing, "band:flat"), _lines(drawing, "curve:flat")
    heights = {float(shape.text): shape.y for shape in drawing.of("tick") if shape.anchor == "end"}  # type: ignore[union-attr]
    point = (heights[min(heights)] - heights[max(heights)]) / (max(heights) - min(heights))
    assert band.box.bottom - band.box.top == pytest.approx(20 * point)
    assert (band.box.bottom + band.box.top) / 2 == pytest.approx(curve.points[0][1])


def test_what_lies_far_below_the_students_is_cut_off_at_the_axis() -> None:
    drawing = line_chart(_students())
    (teacher,) = _lines(drawing, "curve:teacher")
    assert teacher.points[0][1] == pytest.approx(_plot(drawing).bottom, abs=0.5)
    (student,) = _lines(drawing, "curve:iterative")
    assert len(student.points) == 50


@given(st.floats(0.0, 1.0), st.floats(0.0, 0.3), st.floats(0.0, 1.0))
def test_whatever_the_numbers_no_whisker_leaves_the_plot_or_touches_a_number(
    mean: float, deviation: float, reference: float
) -> None:
    told = f"{100 * mean:.2f} ± {100 * deviation:.2f}"
    rows = [
        Row("1 %", "teacher", reference, mean, deviation, (f"{100 * reference:.2f}", told)),
        Row("1 %", "fixmatch", None, 0.5, None, ("–", "50.00")),
        Row("10 %", "teacher", 0.9, None, None, ("90.00", "–")),
    ]
    drawing = dot_chart(rows, title="t", subtitle="s", reference="paper", ours="ours")
    axes = _lines(drawing, "axis")
    assert len(axes) == 2
    for whisker in drawing.of("whisker"):
        assert whisker.box.left >= axes[0].box.left - 1
        assert whisker.box.right <= axes[0].box.right + 1
        assert not [text.text for text in _texts(drawing) if text.box.overlaps(whisker.box)]


def test_svg_is_xml_of_a_columns_width_whatever_the_names_hold() -> None:
    curves = [Curve('<script>&"\x1b[31m', [At(1, 0.5), At(2, 0.6)])]
    text = line_chart(LineChart('"quoted" <b>', "", "epoch", curves)).svg()
    root = ElementTree.fromstring(text)
    assert root.tag.endswith("svg")
    assert root.attrib["width"] == "85.02mm"
    assert "<script>" not in text
    assert "\x1b" not in text
    assert ElementTree.fromstring(line_chart(LineChart("", "", "", [])).svg()) is not None


def test_png_prints_at_the_same_size_and_shows_the_same_things() -> None:
    drawing = line_chart(_students())
    image = Image.open(io.BytesIO(drawing.png()))
    assert image.info["dpi"] == pytest.approx((600, 600), abs=0.1)
    assert image.size == (round(drawing.width / 72 * 600), round(drawing.height / 72 * 600))
    pixels = np.asarray(image.convert("RGB")).astype(int)
    scale = 600 / 72
    for name, colour in (("one-shot", COLOURS[0]), ("iterative", COLOURS[1])):
        wanted = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)])
        (label,) = (shape for shape in _texts(drawing) if shape.role == "name" and shape.text == name)
        box = label.box
        part = pixels[
            int(box.top * scale) : int(box.bottom * scale), int(box.left * scale) : int(box.right * scale)
        ]
        assert (abs(part - wanted).max(axis=2) < 12).sum() > 50
    (turned,) = (shape for shape in _texts(drawing) if shape.turned)
    box = turned.box
    part = pixels[
        int(box.top * scale) : int(box.bottom * scale), int(box.left * scale) : int(box.right * scale)
    ]
    assert (part.max(axis=2) < 128).sum() > 500


@pytest.mark.parametrize("dash", [(3.0, 2.0), (5.0, 1.4, 1.2, 1.4)])
def test_png_draws_as_much_of_a_dashed_line_as_svg_would(dash: tuple[float, ...]) -> None:
    drawing = Drawing(100, 10, [Lines("line", [(0, 5), (40, 5), (100, 5)], "#000000", 2, dash)])
    row = np.asarray(Image.open(io.BytesIO(drawing.png())).convert("L"))[round(5 / 72 * 600)]
    share = sum(dash[::2]) / sum(dash)
    assert (row < 128).mean() == pytest.approx(share, abs=0.05)


def test_no_letter_is_smaller_than_six_points() -> None:
    for drawing in (line_chart(_students()), line_chart(_many())):
        assert min(text.size for text in _texts(drawing)) >= 6


def test_a_text_is_as_wide_as_its_letters() -> None:
    assert words_width("mm", 7) == pytest.approx(2 * words_width("m", 7), rel=0.05)
    assert words_width("m", 14) == pytest.approx(2 * words_width("m", 7))


def test_png_shows_no_box_in_place_of_a_letter() -> None:
    drawing = Drawing(40, 12, [Words("value", 2, 10, "–", 8)])
    unknown = Drawing(40, 12, [Words("value", 2, 10, "\U0010fffd", 8)])
    pixels = np.asarray(Image.open(io.BytesIO(drawing.png())).convert("L"))
    rows = np.flatnonzero((pixels < 128).any(axis=1))
    boxed = np.flatnonzero((np.asarray(Image.open(io.BytesIO(unknown.png())).convert("L")) < 128).any(axis=1))
    assert 0 < len(rows) < len(boxed) / 3
    for text in _texts(line_chart(_students())) + _texts(line_chart(_many())):
        assert not set(text.text) - set(_SHOWN), text.text


_SHOWN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,:;%±…–-_"
