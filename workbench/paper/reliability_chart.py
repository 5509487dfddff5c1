"""The reliability diagram on paper: how many images of like confidence are right, against the diagonal."""

from __future__ import annotations

from workbench.paper.drawing import COLUMN, Drawing, Lines, Words, words_width
from workbench.runs.calibration import Bin, Reliability
from workbench.runs.intervals import of_share

_BLUE, _GREY, _PALE = "#0072B2", "#555555", "#DDDDDD"
_TITLE, _TEXT, _SMALL = 8.0, 7.0, 6.0
_EDGE = 4.0
_TICKS = (0, 20, 40, 60, 80, 100)
_MARK = 1.7


def reliability_chart(reliability: Reliability, title: str, judged_by: str) -> Drawing:
    """A column's width: a mark a bin with its accuracy's 95 % interval; below the diagonal it is too sure."""
    left = _EDGE + _TEXT + 3 + words_width("100", _TEXT) + 4
    side = COLUMN - left - _EDGE - words_width("100", _TEXT) / 2
    top = 31.0
    bottom = top + side
    drawing = Drawing(COLUMN, bottom + 3 + 2 * _TEXT + 8 + _EDGE)
    told = reliability.calibration
    drawing.add(Words("title", _EDGE, 10, title, _TITLE))
    after = f"temperature {told.temperature:.3f}: ECE {told.val_error_before:.3f} → {told.val_error:.3f}"
    drawing.add(Words("subtitle", _EDGE, 19, f"{after} on {told.images:,} {judged_by}", _SMALL, colour=_GREY))

    def place(confidence: float, accuracy: float) -> tuple[float, float]:
        return left + confidence * side, bottom - accuracy * side

    for tick in _TICKS:
        (x, y), share = place(tick / 100, tick / 100), tick / 100
        drawing.add(Lines("grid", [place(0, share), place(1, share)], _PALE, 0.4))
        drawing.add(Words("tick", left - 3, y + 0.34 * _TEXT, str(tick), _TEXT, "end"))
        drawing.add(Lines("tick-mark", [(x, bottom), (x, bottom + 2)], _GREY, 0.5))
        drawing.add(Words("tick", x, bottom + 3 + _TEXT, str(tick), _TEXT, "middle"))
    drawing.add(Lines("axis", [place(0, 1), place(0, 0), place(1, 0)], _GREY, 0.5))
    drawing.add(Lines("diagonal", [place(0, 0), place(1, 1)], _GREY, 0.8, (3, 2)))
    middle = left + side / 2
    drawing.add(Words("axis-name", middle, bottom + 3 + 2 * _TEXT + 4, "confidence, %", _TEXT, "middle"))
    drawing.add(
        Words("axis-name", _EDGE + _TEXT - 1, bottom - side / 2, "right, %", _TEXT, "middle", turned=True)
    )
    for one in reliability.bins:
        _draw_bin(drawing, one, *place(one.confidence, one.accuracy), bottom, side)
    return drawing


def _draw_bin(drawing: Drawing, one: Bin, x: float, y: float, bottom: float, side: float) -> None:
    low, high = of_share(one.accuracy, one.images)
    drawing.add(Lines("interval", [(x, bottom - low * side), (x, bottom - high * side)], _BLUE, 0.8))
    corners = [(x - _MARK, y - _MARK), (x + _MARK, y - _MARK), (x + _MARK, y + _MARK), (x - _MARK, y + _MARK)]
    drawing.add(Lines("bin", corners, "#ffffff", 0.4, fill=_BLUE))
