"""One number of a run as a curve that can be laid over those of other runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from workbench.runs.best_epoch import epoch_words
from workbench.runs.follow import RunFollower
from workbench.runs.following import Axis, EpochCurve, Following, StepCurve


@dataclass(frozen=True, slots=True)
class CurveMetric:
    """A number that a run has again and again while it trains."""

    key: str
    words: str
    source: Literal["val", "train", "steps"]
    """After each epoch, or after each logging interval of steps."""
    field: Literal["accuracy", "loss", "learning_rate", "images_per_second"]

    @property
    def is_share(self) -> bool:
        """Whether it is told in percent."""
        return self.field == "accuracy"

    @property
    def less_is_better(self) -> bool:
        """Whether the best value is the least."""
        return self.field == "loss"


CURVE_METRICS: Mapping[str, CurveMetric] = {
    metric.key: metric
    for metric in (
        CurveMetric("val.accuracy", "val accuracy", "val", "accuracy"),
        CurveMetric("val.loss", "val loss", "val", "loss"),
        CurveMetric("train.accuracy", "train accuracy", "train", "accuracy"),
        CurveMetric("train.loss", "train loss", "train", "loss"),
        CurveMetric("step.loss", "loss of steps", "steps", "loss"),
        CurveMetric("learning_rate", "learning rate", "steps", "learning_rate"),
        CurveMetric("images_per_second", "images/s", "steps", "images_per_second"),
    )
}


@dataclass(frozen=True, slots=True)
class KeptPoint:
    """The epoch whose weights a run keeps, as a point of its curve."""

    x: float
    y: float
    words: str
    """`12`, `r3 1`: the epoch within its stage, as results count it."""


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """x counts through all stages and rounds of the run and ascends; in seconds on the axis of time."""

    x: NDArray[np.float64]
    """(N,) float64."""
    y: NDArray[np.float64]
    """(N,) float64."""
    kept: KeptPoint | None = None
    """Of validation accuracy: where the run's best epoch is."""

    def at(self, x: float) -> float | None:
        """The value of the last point that is not after `x`; None before the first and beyond the last."""
        place = int(np.searchsorted(self.x, x, side="right")) - 1
        within = place >= 0 and x <= self.x[-1]
        return float(self.y[place]) if within else None

    def best(self, *, least: bool) -> tuple[float, float] | None:
        """(x, y) of the epoch that the run keeps, else of the first best point; None where none is finite."""
        if self.kept is not None:
            return self.kept.x, self.kept.y
        finite = np.flatnonzero(np.isfinite(self.y))
        if not len(finite):
            return None
        values = self.y[finite]
        place = finite[int(values.argmin() if least else values.argmax())]
        return float(self.x[place]), float(self.y[place])


def curve_of(following: Following, metric: CurveMetric, axis: Axis) -> Curve:
    """The curve of `metric` over `axis`, empty before the run has any value."""
    sources: Mapping[str, EpochCurve | StepCurve] = {
        "val": following.val,
        "train": following.train,
        "steps": following.steps,
    }
    source = sources[metric.source]
    kept = _kept(following, axis) if metric.key == "val.accuracy" else None
    return Curve(source.at.on(axis), np.asarray(getattr(source, metric.field), np.float64), kept)


def _kept(following: Following, axis: Axis) -> KeptPoint | None:
    best, places = following.best, following.val.at
    if best is None or not len(places.epoch):
        return None
    here = (best.stage, best.round)
    began = next((mark.epoch for mark in following.stages if (mark.event.stage, mark.event.round) == here), 0)
    at = int(np.searchsorted(places.epoch, began + best.epoch))  # the curve may be thinned
    x = float(places.on(axis)[min(at, len(places.epoch) - 1)])
    return KeptPoint(x, best.accuracy, epoch_words(best))


def follow_to_end(follower: RunFollower) -> Following:
    """The run as it is now, all of its metrics read.

    Raises:
        OSError: a file is there and cannot be read.
    """
    following = follower.refresh()
    while following.read_share < 1.0:
        following = follower.refresh()
    return following
