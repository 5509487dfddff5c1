"""Curves of several runs on the command line: a line of blocks a run on one scale, or every point as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from workbench.cli.compare_pages import letters_of
from workbench.cli.console import cell, make_table
from workbench.runs.comparison_words import number_words
from workbench.runs.curves import Curve, CurveMetric, curve_of, follow_to_end
from workbench.runs.export import finite_json
from workbench.runs.follow import RunFollower
from workbench.runs.following import Axis
from workbench.runs.layout import RunDirectory
from workbench.support.errors import UserError
from workbench.support.units import human_seconds

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 40


@dataclass(frozen=True, slots=True)
class Curves:
    """One number of several runs over one axis."""

    metric: CurveMetric
    axis: Axis
    runs: tuple[str, ...]
    curves: tuple[Curve, ...]


def curves_of(runs: Sequence[RunDirectory], metric: CurveMetric, axis: Axis) -> Curves:
    """Read the curves.

    Raises:
        UserError: the metrics of a run cannot be read.
    """
    try:
        read = tuple(curve_of(follow_to_end(RunFollower(run)), metric, axis) for run in runs)
    except OSError as error:
        raise UserError(f"metrics cannot be read: {error.strerror or error}", where=error.filename) from error
    return Curves(metric, axis, tuple(run.id for run in runs), read)


def curves_record(curves: Curves) -> dict[str, Any]:
    """Every point of every curve."""
    points = [
        {"run": run, "x": finite_json(curve.x.tolist()), "y": finite_json(curve.y.tolist())}
        for run, curve in zip(curves.runs, curves.curves, strict=True)
    ]
    return {"metric": curves.metric.key, "axis": curves.axis, "runs": points}


def curve_table(curves: Curves, baseline: int) -> Table:
    """A line a run: its curve up to the last x of all, on the scale of all; the last and the best value."""
    title = f"{curves.metric.words} by {curves.axis}"
    columns = ("run", title, "last", "best", f"at {curves.axis}")
    table = make_table(columns, right=columns[2:], whole=columns[:2])
    end = max((float(curve.x[-1]) for curve in curves.curves if len(curve.x)), default=0.0)
    values = [curve.y[np.isfinite(curve.y)] for curve in curves.curves]
    held = np.concatenate(values) if values else np.empty(0)
    low, high = (float(held.min()), float(held.max())) if len(held) else (0.0, 0.0)
    letters = letters_of(len(curves.runs), baseline)
    key = curves.metric.key
    for letter, curve in zip(letters, curves.curves, strict=True):
        best = curve.best(least=curves.metric.less_is_better)
        where = "" if best is None else human_seconds(best[0]) if curves.axis == "time" else f"{best[0]:,.0f}"
        if curve.kept is not None and curves.axis == "epoch":
            where = curve.kept.words
        last = float(curve.y[-1]) if len(curve.y) else None
        table.add_row(
            letter,
            Text(_blocks(curve, end, low, high)),
            cell(number_words(key, last)),
            cell(number_words(key, None if best is None else best[1])),
            where,
        )
    return table


def _blocks(curve: Curve, end: float, low: float, high: float) -> str:
    """The value at the end of each fortieth of the axis; blank where the curve is over or has not begun."""
    text = ""
    for place in range(_WIDTH):
        value = curve.at(end * (place + 1) / _WIDTH)
        if value is None or not np.isfinite(value):
            text += " "
        else:
            height = (value - low) / (high - low) if high > low else 1.0
            text += _BLOCKS[min(len(_BLOCKS) - 1, int(height * len(_BLOCKS)))]
    return text.rstrip()
