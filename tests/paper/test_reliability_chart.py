"""The reliability diagram on paper."""

from __future__ import annotations

import io
import xml.etree.ElementTree as ElementTree

import pytest
from PIL import Image

from workbench.paper.drawing import Lines
from workbench.paper.reliability_chart import reliability_chart
from workbench.runs.calibration import Bin, Reliability
from workbench.runs.results import Calibration

RELIABILITY = Reliability(
    Calibration(0.504, 736, 0.188, 0.012, 0.174, 0.016),
    (Bin(0.2, 0.6, 50, 0.45, 0.6), Bin(0.6, 0.9, 50, 0.8, 0.8), Bin(0.9, 1.0, 50, 0.99, 1.0)),
)


def middle(shape: object) -> tuple[float, float]:
    assert isinstance(shape, Lines)
    return (shape.box.left + shape.box.right) / 2, (shape.box.top + shape.box.bottom) / 2


def test_a_bin_stands_where_its_confidence_and_accuracy_are() -> None:
    drawing = reliability_chart(RELIABILITY, "lite <0>", "validation images")
    (diagonal,) = drawing.of("diagonal")
    assert isinstance(diagonal, Lines)
    (left, bottom), (right, top) = diagonal.points
    assert right - left == pytest.approx(bottom - top)  # a square
    for shape, one in zip(drawing.of("bin"), RELIABILITY.bins, strict=True):
        x, y = middle(shape)
        assert (x - left) / (right - left) == pytest.approx(one.confidence)
        assert (bottom - y) / (bottom - top) == pytest.approx(one.accuracy)
    for shape in drawing.shapes:
        assert shape.box.left >= 0
        assert shape.box.right <= drawing.width
        assert shape.box.bottom <= drawing.height


def test_it_is_told_in_svg_and_png() -> None:
    drawing = reliability_chart(RELIABILITY, "lite <0>", "validation images")
    text = "".join(ElementTree.fromstring(drawing.svg()).itertext())
    for words in ("lite <0>", "temperature 0.504: ECE 0.188 → 0.012 on 736 validation images", "right, %"):
        assert words in text
    assert Image.open(io.BytesIO(drawing.png())).size[0] > 1000
