"""Charts one column wide, in shapes: lines over epochs and what happens there; dots beside their numbers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from workbench.paper.drawing import COLUMN, Drawing, Lines, Words, words_width

# Okabe and Ito 2008: told apart by people with any colour vision; their yellow is too light for a line.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#8C8C8C")
_DASHES: tuple[tuple[float, ...], ...] = ((), (4, 1.6), (1.2, 1.4), (5, 1.4, 1.2, 1.4), (2.4, 1.4))
_GREY, _PALE = "#555555", "#DDDDDD"
_TITLE, _TEXT, _SMALL = 8.0, 7.0, 6.0
"""Sizes of type in points: journals ask for no less than six."""
_LINE = 8.6
"""From one row of text to the next."""
_EDGE = 4.0
_PLOT = 108.0
"""A line chart's height without what stands around it."""
_SAMPLE = 15.0
"""A sample of a line, in front of its name."""
_MARKER_GAP = 14.0
_BELOW = 1.2
"""How far below the students' accuracies their figure reaches, in parts of their range: what the teacher went
through before is cut off there, else a few points between students are nothing beside it."""


@dataclass(frozen=True, slots=True)
class At:
    """A curve's mean over repeats, and how far they lie apart; shares."""

    x: float
    mean: float
    deviation: float | None = None


@dataclass(frozen=True, slots=True)
class Curve:
    """A line over epochs."""

    name: str
    points: Sequence[At]
    is_reference: bool = False
    """What the others are held against: grey, without markers."""


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line from `x` on, such as the teacher's accuracy while its students learn."""

    name: str
    height: float
    x: float


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of the horizontal axis with a name, such as a round."""

    name: str
    start: float
    end: float


@dataclass(frozen=True, slots=True)
class LineChart:
    """What a line chart shows; heights are shares, and the vertical axis fits them."""

    title: str
    subtitle: str
    across: str
    curves: Sequence[Curve]
    level: Level | None = None
    stages: Sequence[Span] = ()
    """Above the plot, one after the other; a line marks where each but the first begins."""
    rounds: Sequence[Span] = ()
    """Below the stages' names: their numbers, and a tick where each begins."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a dot chart; shares."""

    group: str
    name: str
    reference: float | None
    mean: float | None
    deviation: float | None
    told: tuple[str, str]
    """The reference and our number in words."""


@dataclass(frozen=True, slots=True)
class _Style:
    colour: str
    dash: tuple[float, ...]
    marker: str
    width: float = 1.1


def _style(number: int) -> _Style:
    shapes = ("circle", "square", "triangle", "diamond", "down")
    return _Style(
        COLOURS[number % len(COLOURS)], _DASHES[number % len(_DASHES)], shapes[number % len(shapes)]
    )


_REFERENCE = _Style(_GREY, (), "", 0.9)


@dataclass(frozen=True, slots=True)
class _Axis:
    """Values between `low` and `high` on a stretch of paper."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        return self.start + (self.end - self.start) * (value - self.low) / max(1e-9, self.high - self.low)

    def ticks(self, most: int, *, whole: bool = False) -> list[float]:
        """Round values within the axis."""
        step = _round_step((self.high - self.low) / max(1, most))
        step = max(1.0, step) if whole else step
        first = math.ceil(self.low / step - 1e-9)
        return [step * number for number in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _round_step(least: float) -> float:
    """The least of 1, 2, 5, 10, … times a power of ten that is no less."""
    power = 10.0 ** math.floor(math.log10(max(least, 1e-9)))
    return next(power * times for times in (1, 2, 5, 10) if power * times >= least - 1e-12)


def line_chart(chart: LineChart) -> Drawing:
    """A column's width; names stand beside the ends of few lines, and below the plot where they need room."""
    styles = _styles(chart.curves)
    names = [*(curve.name for curve in chart.curves), *([chart.level.name] if chart.level else [])]
    widest = max((words_width(name, _TEXT) for name in names), default=0.0)
    beside = len(names) <= 4 and widest <= 0.22 * COLUMN
    legend = [] if beside else _legend_rows(chart.curves)
    left = _EDGE + _TEXT + 3 + words_width("100", _TEXT) + 4
    right = COLUMN - (_SAMPLE + 4 + widest + _EDGE if beside else _EDGE + words_width("100", _TEXT) / 2)
    head = _heading(chart.title, chart.subtitle)
    top = head[-1].y + 5 + (_LINE if chart.stages else 0) + (_LINE if chart.rounds else 0)
    bottom = top + _PLOT
    foot = bottom + 4 + 2 * _LINE
    drawing = Drawing(COLUMN, foot + (len(legend) * _LINE + 3 if legend else 0) + _EDGE)
    drawing.add(*head)
    x, y = _axes(chart, left, right, top, bottom)
    _draw_axes(drawing, x, y, chart.across)
    _draw_stages(drawing, chart, x, y)
    for curve, style in zip(chart.curves, styles, strict=True):
        _draw_band(drawing, curve, style, x, y)
    if chart.level is not None:
        at = y.at(chart.level.height)
        drawing.add(Lines("level", [(x.at(chart.level.x), at), (x.end, at)], _GREY, 0.9, (0.9, 1.3)))
    for curve, style in zip(chart.curves, styles, strict=True):
        _draw_curve(drawing, curve, style, x, y)
    if beside:
        _name_beside(drawing, chart, styles, x, y)
    for row, entries in enumerate(legend):
        for number, start in entries:
            height = foot + 4 + (row + 0.7) * _LINE
            _draw_sample(drawing, styles[number], start, height - 0.34 * _SMALL, "legend-sample")
            drawing.add(Words("legend", start + _SAMPLE + 3, height, chart.curves[number].name, _SMALL))
    return drawing


def _heading(title: str, subtitle: str) -> list[Words]:
    """Title and subtitle, each over as many lines as a column needs."""
    lines: list[Words] = []
    y = 0.0
    for role, text, size, colour in (
        ("title", title, _TITLE, "#222222"),
        ("subtitle", subtitle, _SMALL, _GREY),
    ):
        for line in _wrapped(text, size, COLUMN - 2 * _EDGE):
            y += 10 if not lines else _LINE if size == _SMALL else _TITLE + 2
            lines.append(Words(role, _EDGE, y, line, size, colour=colour))
    return lines or [Words("title", _EDGE, 0, "", _TITLE)]


def _wrapped(text: str, size: float, width: float) -> list[str]:
    """The text in lines that are no wider, a word that is wider aside."""
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and words_width(longer, size) <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _styles(curves: Sequence[Curve]) -> list[_Style]:
    styles, number = [], 0
    for curve in curves:
        styles.append(_REFERENCE if curve.is_reference else _style(number))
        number += not curve.is_reference
    return styles


def _legend_rows(curves: Sequence[Curve]) -> list[list[tuple[int, float]]]:
    """(place of the curve, where its entry starts) by row: as many columns as the longest name leaves."""
    widest = _SAMPLE + 3 + max(words_width(curve.name, _SMALL) for curve in curves) + 5
    columns = max(1, min(3, int((COLUMN - 2 * _EDGE + 5) // widest)))
    rows = math.ceil(len(curves) / columns)
    places = [(number % rows, number, _EDGE + number // rows * widest) for number in range(len(curves))]
    return [[(number, start) for row, number, start in places if row == one] for one in range(rows)]


def _axes(chart: LineChart, left: float, right: float, top: float, bottom: float) -> tuple[_Axis, _Axis]:
    points = [at for curve in chart.curves for at in curve.points]
    heights = [at.mean + sign * (at.deviation or 0) for at in points for sign in (-1, 1)]
    heights += [chart.level.height] if chart.level else []
    low, high = min(heights, default=0.0), max(heights, default=1.0)
    if chart.level is not None:
        late = [at for at in points if at.x >= chart.level.x]
        least = min([chart.level.height, *(at.mean - (at.deviation or 0) for at in late)])
        most = max([chart.level.height, *(at.mean + (at.deviation or 0) for at in late)])
        low = max(low, least - _BELOW * (most - least))
    margin = max(0.005, 0.04 * (high - low))
    across = [at.x for at in points] + [edge for span in chart.stages for edge in (span.start, span.end)]
    first, last = min(across, default=0.0), max(across, default=1.0)
    x = _Axis(first, last if last > first else first + 1, left + 3, right)
    return x, _Axis(max(0.0, low - margin), min(1.0, high + margin), bottom, top)


def _draw_axes(drawing: Drawing, x: _Axis, y: _Axis, across: str) -> None:
    left = x.start - 3
    steps = _Axis(100 * y.low, 100 * y.high, y.start, y.end)
    for value in steps.ticks(6):
        at = steps.at(value)
        drawing.add(Lines("grid", [(left, at), (x.end, at)], _PALE, 0.4))
        drawing.add(Words("tick", left - 3, at + 0.34 * _TEXT, f"{value:g}", _TEXT, "end"))
    for value in x.ticks(7, whole=True):
        at = x.at(value)
        drawing.add(Lines("tick-mark", [(at, y.start), (at, y.start + 2)], _GREY, 0.5))
        drawing.add(Words("tick", at, y.start + 3 + _TEXT, f"{value:g}", _TEXT, "middle"))
    drawing.add(Lines("axis", [(left, y.end), (left, y.start), (x.end, y.start)], _GREY, 0.5))
    drawing.add(Words("axis-name", (left + x.end) / 2, y.start + 3 + _TEXT + _LINE, across, _TEXT, "middle"))
    height = (y.start + y.end) / 2
    drawing.add(
        Words("axis-name", _EDGE + _TEXT - 1, height, "validation accuracy, %", _TEXT, "middle", turned=True)
    )


def _draw_stages(drawing: Drawing, chart: LineChart, x: _Axis, y: _Axis) -> None:
    numbers = y.end - 4 if chart.rounds else y.end
    names = numbers - _LINE if chart.rounds else y.end - 4
    for place, span in enumerate(chart.stages):
        start, end = x.at(span.start), x.at(span.end)
        if place:
            drawing.add(Lines("stage-start", [(start, names - 0.8 * _TEXT), (start, y.start)], _GREY, 0.6))
        if words_width(span.name, _TEXT) <= end - start:
            drawing.add(Words("stage", (start + end) / 2, names, span.name, _TEXT, "middle", _GREY))
    for span in chart.rounds:
        start, end = x.at(span.start), x.at(span.end)
        drawing.add(Lines("round-start", [(start, y.end - 3), (start, y.end)], _GREY, 0.6))
        if not any(abs(start - x.at(stage.start)) < 1e-6 for stage in chart.stages):
            drawing.add(Lines("round-line", [(start, y.end), (start, y.start)], _GREY, 0.35, (0.6, 1.6)))
        before = drawing.of("round")
        middle = max((start + end) / 2, start + 1 + words_width(span.name, _SMALL) / 2)
        number = Words("round", middle, numbers, span.name, _SMALL, "middle", _GREY)
        if before and (before[-1].box.right + 1 > number.box.left or number.box.right > x.end + _EDGE):
            continue  # rounds too short to number every one
        drawing.add(number)
    if chart.rounds:
        begin = x.at(chart.rounds[0].start) - 3
        drawing.add(Words("rounds", begin, numbers, "round", _SMALL, "end", _GREY))


def _draw_band(drawing: Drawing, curve: Curve, style: _Style, x: _Axis, y: _Axis) -> None:
    spread = [(at, at.deviation) for at in curve.points if at.deviation is not None]
    above = _visible([At(at.x, min(y.high, at.mean + apart)) for at, apart in spread], y.low)
    below = [At(at.x, max(y.low, at.mean - apart)) for at, apart in spread]
    edge = [*above, *reversed([at for at in below if above and at.x >= above[0].x])]
    if len(above) > 1:
        points = [(x.at(at.x), y.at(at.mean)) for at in edge]
        drawing.add(Lines(f"band:{curve.name}", points, fill=style.colour, opacity=0.18))


def _visible(points: Sequence[At], low: float) -> list[At]:
    """A line from where it last comes up to `low`."""
    under = [place for place, at in enumerate(points) if at.mean < low]
    if not under:
        return list(points)
    rest = list(points[under[-1] + 1 :])
    if not rest:
        return []
    before, after = points[under[-1]], rest[0]
    share = (low - before.mean) / (after.mean - before.mean)
    return [At(before.x + share * (after.x - before.x), low), *rest]


def _draw_curve(drawing: Drawing, curve: Curve, style: _Style, x: _Axis, y: _Axis) -> None:
    points = [(x.at(at.x), y.at(at.mean)) for at in _visible(curve.points, y.low)]
    if len(points) > 1:
        drawing.add(Lines(f"curve:{curve.name}", points, style.colour, style.width, style.dash))
    last = -math.inf
    for place, (at, height) in enumerate(points):
        if at - last >= _MARKER_GAP or (place == len(points) - 1 and at - last >= 5) or len(points) == 1:
            last = at
            _draw_marker(drawing, style, at, height)


def _draw_marker(drawing: Drawing, style: _Style, x: float, y: float, role: str = "marker") -> None:
    corners = {
        "circle": [(math.cos(turn * math.pi / 10), math.sin(turn * math.pi / 10)) for turn in range(20)],
        "square": [(-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)],
        "triangle": [(0.0, -1.2), (1.1, 0.8), (-1.1, 0.8)],
        "down": [(0.0, 1.2), (1.1, -0.8), (-1.1, -0.8)],
        "diamond": [(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
    }.get(style.marker, [])
    if corners:
        size = 1.5
        shape = [(x + size * across, y + size * down) for across, down in corners]
        drawing.add(Lines(role, shape, "#ffffff", 0.4, fill=style.colour))


def _draw_sample(drawing: Drawing, style: _Style, x: float, y: float, role: str) -> None:
    drawing.add(Lines(role, [(x, y), (x + _SAMPLE, y)], style.colour, style.width, style.dash))
    _draw_marker(drawing, style, x + _SAMPLE / 2, y, role)


def _name_beside(drawing: Drawing, chart: LineChart, styles: Sequence[_Style], x: _Axis, y: _Axis) -> None:
    """Names at the height where their lines end, moved apart where those are close."""
    entries = [
        (y.at(curve.points[-1].mean), curve.name, style)
        for curve, style in zip(chart.curves, styles, strict=True)
        if curve.points and not (curve.is_reference and chart.level is not None)
    ]
    if chart.level is not None:
        entries.append((y.at(chart.level.height), chart.level.name, _Style(_GREY, (0.9, 1.3), "", 0.9)))
    entries.sort(key=lambda entry: entry[0])
    heights = _apart([height for height, _, _ in entries], _LINE, y.end, y.start)
    for height, (_, name, style) in zip(heights, entries, strict=True):
        _draw_sample(drawing, style, x.end + 4, height, "name-sample")
        drawing.add(
            Words("name", x.end + _SAMPLE + 6, height + 0.34 * _TEXT, name, _TEXT, colour=style.colour)
        )


def _apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places as near as may be to those wanted (ascending), at least `gap` apart, none above `high`."""
    placed: list[float] = []
    for place in wanted:
        placed.append(max(place, placed[-1] + gap if placed else low))
    limit = high
    for number in reversed(range(len(placed))):
        placed[number] = min(placed[number], limit)
        limit = placed[number] - gap
    return placed


def dot_chart(rows: Sequence[Row], *, title: str, subtitle: str, reference: str, ours: str) -> Drawing:
    """A row a number: a diamond for the reference, a dot with its whisker for ours, both in words beside.

    Every group has its own stretch of one scale, so that a point is as wide everywhere.

    Args:
        reference, ours: what heads the columns of numbers.
    """
    groups = {row.group: [other for other in rows if other.group == row.group] for row in rows}
    names = _EDGE + max((words_width(row.name, _TEXT) for row in rows), default=0.0)
    columns = [
        max([words_width(head, _TEXT) + 10, *(words_width(row.told[place], _TEXT) for row in rows)])
        for place, head in enumerate((reference, ours))
    ]
    ends = COLUMN - _EDGE - columns[1] - 5, COLUMN - _EDGE
    left, right = names + 7, ends[0] - columns[0] - 7
    head = _heading(title, subtitle)
    top = head[-1].y + _LINE + 4
    each = [(2.1 + len(members)) * _LINE + 3 for members in groups.values()]
    drawing = Drawing(COLUMN, top + sum(each) + _LINE + _EDGE)
    drawing.add(*head)
    for name, end, marker in zip((reference, ours), ends, ("open", "circle"), strict=True):
        word = Words("heading", end, top, name, _TEXT, "end")
        drawing.add(word)
        _draw_dot(drawing, marker, word.box.left - 4, top - 0.34 * _TEXT, "heading-sample")
    for (group, members), x, height in zip(groups.items(), _scales(groups, left, right), each, strict=True):
        drawing.add(Words("group", _EDGE, top + 0.78 * _LINE, group, _TEXT, colour=_GREY))
        first, base = top + _LINE, top + (1 + len(members)) * _LINE
        for value in x.ticks(3):
            at = x.at(value)
            drawing.add(Lines("grid", [(at, first), (at, base)], _PALE, 0.4))
            drawing.add(Words("tick", at, base + 1.5 + _SMALL, f"{value:g}", _SMALL, "middle", _GREY))
        drawing.add(Lines("axis", [(left, base), (right, base)], _GREY, 0.5))
        for place, row in enumerate(members):
            middle = first + (place + 0.5) * _LINE
            drawing.add(Words("row", names, middle + 0.34 * _TEXT, row.name, _TEXT, "end"))
            for words, end in zip(row.told, ends, strict=True):
                drawing.add(Words("value", end, middle + 0.34 * _TEXT, words, _TEXT, "end"))
            _draw_row(drawing, row, x, middle)
        top += height
    drawing.add(
        Words("axis-name", (left + right) / 2, top + 0.6 * _LINE, "test accuracy, %", _TEXT, "middle")
    )
    return drawing


def _scales(groups: Mapping[str, Sequence[Row]], left: float, right: float) -> list[_Axis]:
    """The axis of each group, in percent, all as long as the widest group needs."""
    reaches = [
        [100 * value for row in members for value in _reach(row)] or [50.0] for members in groups.values()
    ]
    length = 1.15 * max([2.0, *(max(reach) - min(reach) for reach in reaches)])
    scales = []
    for reach in reaches:
        low = (min(reach) + max(reach) - length) / 2
        low = max(0.0, min(low, 100 - length))
        scales.append(_Axis(low, low + length, left, right))
    return scales


def _reach(row: Row) -> Iterator[float]:
    if row.reference is not None:
        yield row.reference
    if row.mean is not None:
        yield max(0.0, row.mean - (row.deviation or 0))
        yield min(1.0, row.mean + (row.deviation or 0))


def _draw_row(drawing: Drawing, row: Row, x: _Axis, y: float) -> None:
    if row.mean is not None and row.deviation is not None:
        low, high = (x.at(100 * (row.mean + sign * row.deviation)) for sign in (-1, 1))
        low, high = max(low, x.start), min(high, x.end)
        drawing.add(Lines("whisker", [(low, y), (high, y)], COLOURS[0], 0.9))
        for end in (low, high):
            drawing.add(Lines("whisker", [(end, y - 2), (end, y + 2)], COLOURS[0], 0.9))
    if row.reference is not None:
        _draw_dot(drawing, "open", x.at(100 * row.reference), y, "reference")
    if row.mean is not None:
        _draw_dot(drawing, "circle", x.at(100 * row.mean), y, "dot")


def _draw_dot(drawing: Drawing, marker: str, x: float, y: float, role: str) -> None:
    if marker == "open":
        size = 2.4
        corners = [(x, y - size), (x + size, y), (x, y + size), (x - size, y), (x, y - size)]
        drawing.add(Lines(role, corners, COLOURS[1], 0.8))
        return
    _draw_marker(drawing, _Style(COLOURS[0], (), marker), x, y, role)
