"""What a line chart shows: curves, vertical marks, horizontal levels; values only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.tui.draw.ticks import Format

Dash = Literal["solid", "dotted"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """A curve."""

    name: str
    x: NDArray[np.float64]
    """(N,) float64; need not be in order. Points that are not finite are left out."""
    y: NDArray[np.float64]
    """(N,) float64."""
    colour: int
    """Index into the theme's series colours."""
    dash: Dash = "solid"
    faint: bool = False
    """Drawn dim, beneath the others, and left out of the legend and the cursor."""


@dataclass(frozen=True, slots=True)
class Mark:
    """A vertical line, such as where a round begins."""

    x: float
    label: str


@dataclass(frozen=True, slots=True)
class Level:
    """A horizontal line, such as the teacher's accuracy."""

    y: float
    label: str
    colour: int


@dataclass(frozen=True, slots=True, eq=False)
class ChartData:
    """One chart."""

    title: str
    series: tuple[Series, ...]
    marks: tuple[Mark, ...] = ()
    levels: tuple[Level, ...] = ()
    x_label: str = "epoch"
    y_format: Format = "number"


@dataclass(frozen=True, slots=True)
class ChartView:
    """How a person looks at it."""

    log_y: bool = False
    smoothing: float = 0.0
    """In [0, 1); the raw curve stays as a faint one."""
    window: tuple[float, float] | None = None
    """The part of the x axis that is shown; None for all of it."""
    cursor: float | None = None
    """Where values are read, on the x axis."""


EMPTY_CHART = ChartData("", ())
