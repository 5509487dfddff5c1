"""Small figures as SVG: bars with whiskers, and lines. Text of outside origin is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from workbench.support.clean import clean

# Okabe and Ito 2008: told apart by people with any colour vision; in the order of use.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999", "#F0E442", "#000000")
_WIDTH, _HEIGHT = 760, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 20, 46, 60
_LEGEND = 18


@dataclass(frozen=True, slots=True)
class Bar:
    """A bar of a group; heights are shares."""

    group: str
    series: str
    height: float | None
    spread: float | None = None
    """Half a whisker's length."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line; heights are shares."""

    name: str
    points: Sequence[tuple[float, float]]


def bar_chart(bars: Sequence[Bar], *, title: str) -> str:
    """Groups of bars side by side, 0 to 100 %; a bar without a height is left out."""
    groups = list(dict.fromkeys(bar.group for bar in bars))
    series = list(dict.fromkeys(bar.series for bar in bars))
    body = _frame(title, 0.0, 1.0)
    slot = (_WIDTH - _LEFT - _RIGHT) / max(1, len(groups))
    width = 0.8 * slot / max(1, len(series))
    for place, group in enumerate(groups):
        start = _LEFT + place * slot
        body.append(_text(start + slot / 2, _HEIGHT - _BOTTOM + 18, group, "middle"))
        for bar in (bar for bar in bars if bar.group == group and bar.height is not None):
            assert bar.height is not None
            at = start + 0.1 * slot + series.index(bar.series) * width
            top = _y(bar.height, 0, 1)
            colour = COLOURS[series.index(bar.series) % len(COLOURS)]
            body.append(
                f'<rect x="{at:.1f}" y="{top:.1f}" width="{0.92 * width:.1f}" '
                f'height="{_y(0, 0, 1) - top:.1f}" fill="{colour}"/>'
            )
            middle = at + 0.46 * width
            body.append(_text(middle, top - 8, f"{100 * bar.height:.1f}", "middle", 9))
            if bar.spread is not None:
                low, high = _y(bar.height - bar.spread, 0, 1), _y(bar.height + bar.spread, 0, 1)
                body.append(
                    f'<path d="M{middle:.1f} {low:.1f}V{high:.1f}M{middle - 4:.1f} {low:.1f}h8'
                    f'M{middle - 4:.1f} {high:.1f}h8" stroke="#333" fill="none"/>'
                )
    return _document([*body, *_legend(series)], len(series))


def line_chart(lines: Sequence[Line], *, title: str, across: str) -> str:
    """Lines over a common axis, such as epochs; the vertical axis fits them."""
    points = [point for line in lines for point in line.points]
    heights = [y for _, y in points] or [0.0, 1.0]
    low, high = max(0.0, min(heights) - 0.02), min(1.0, max(heights) + 0.02)
    left, right = min((x for x, _ in points), default=0), max((x for x, _ in points), default=1)
    body = _frame(title, low, high)

    def x_of(x: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (x - left) / max(1e-9, right - left)

    for step in range(5):
        at = left + (right - left) * step / 4
        body.append(_text(x_of(at), _HEIGHT - _BOTTOM + 18, f"{at:g}", "middle"))
    body.append(_text((_LEFT + _WIDTH - _RIGHT) / 2, _HEIGHT - _BOTTOM + 36, across, "middle"))
    for number, line in enumerate(lines):
        path = " ".join(f"{x_of(x):.1f},{_y(y, low, high):.1f}" for x, y in line.points)
        colour = COLOURS[number % len(COLOURS)]
        dashes = ' stroke-dasharray="6 3"' if number >= len(COLOURS) else ""
        body.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"{dashes}/>')
    return _document([*body, *_legend([line.name for line in lines])], len(lines))


def _frame(title: str, low: float, high: float) -> list[str]:
    body = [_text(_LEFT, 24, title, "start", 15)]
    for step in range(6):
        share = low + (high - low) * step / 5
        y = _y(share, low, high)
        body.append(f'<path d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}" stroke="#ddd"/>')
        body.append(_text(_LEFT - 6, y + 4, f"{100 * share:.0f} %", "end"))
    return body


def _legend(names: Sequence[str]) -> list[str]:
    body = []
    for number, name in enumerate(names):
        y = _HEIGHT + number * _LEGEND
        colour = COLOURS[number % len(COLOURS)]
        body.append(f'<rect x="{_LEFT}" y="{y - 9}" width="14" height="10" fill="{colour}"/>')
        body.append(_text(_LEFT + 22, y, name, "start"))
    return body


def _y(share: float, low: float, high: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _TOP - _BOTTOM) * (share - low) / max(1e-9, high - low)


def _text(x: float, y: float, words: str, anchor: str, size: int = 12) -> str:
    place = f'x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}"'
    return f"<text {place}>{escape(clean(words))}</text>"


def _document(body: Sequence[str], rows: int) -> str:
    height = _HEIGHT + rows * _LEGEND
    inside = "\n".join(body)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        f"{inside}\n</svg>\n"
    )
