"""Curves in plain characters, for a terminal, a log or a pipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

# Two curves are told apart by their strokes, so that no colour is needed.
MARKERS = ("braille", "·")


def curve_chart(
    curves: Mapping[str, Sequence[float]],
    *,
    title: str,
    marks: Sequence[float] = (),
    width: int,
    height: int = 12,
) -> str:
    """Curves over 1, 2, 3 … as lines of text without colour; at most as many curves as `MARKERS`.

    Args:
        curves: name -> values; the names stand in the title line.
        marks: places on the x axis for vertical lines, such as where a round begins.
        width, height: in character cells.
    """
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.theme("colorless")
    figure.plot_size(width, height)
    key = ", ".join(
        f"{'line' if marker == 'braille' else 'dots'} {name}"
        for name, marker in zip(curves, MARKERS, strict=False)
    )
    figure.title(f"{title}: {key}")
    for values, marker in zip(curves.values(), MARKERS, strict=False):
        signal = figure.signal(list(range(1, len(values) + 1)), list(values), marker=marker)
        if marker == "braille":
            signal.lines()
        figure.draw(signal)
    for mark in marks:
        figure.line(mark, orientation=1)
    return str(figure.build().string(colorless=True)).rstrip("\n")
