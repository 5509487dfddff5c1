"""One run at one moment, as screens draw it: curves on three axes, stages, confusions, rounds, progress."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.runs.events import EpochDone, RoundLabelled, StageStarted, StepDone
from workbench.runs.history import Said, SeenConfusion
from workbench.runs.layout import RunDirectory
from workbench.runs.process import ExitRecord, ProcessRecord
from workbench.runs.remaining import Going
from workbench.runs.status import RunStatus

Axis = Literal["step", "epoch", "time"]
AXES: tuple[Axis, ...] = ("epoch", "step", "time")

_Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """Where N points lie on each of the three axes, counted through the whole run."""

    step: _Floats
    epoch: _Floats
    """With a fraction within the epoch; an epoch's own point is at its end."""
    seconds: _Floats

    def on(self, axis: Axis) -> _Floats:
        """(N,) float64, ascending."""
        return {"step": self.step, "epoch": self.epoch, "time": self.seconds}[axis]


@dataclass(frozen=True, slots=True, eq=False)
class EpochCurve:
    """A split's values after each epoch; all (N,) float64."""

    at: Places
    loss: _Floats
    accuracy: _Floats
    learning_rate: _Floats
    images_per_second: _Floats


@dataclass(frozen=True, slots=True, eq=False)
class StepCurve:
    """Values of each logging interval; all (N,) float64. Long runs are thinned to their outline."""

    at: Places
    loss: _Floats
    learning_rate: _Floats
    images_per_second: _Floats
    memory_bytes: _Floats


@dataclass(frozen=True, slots=True)
class StageMark:
    """Where a stage begins."""

    event: StageStarted
    step: float
    epoch: float
    seconds: float

    @property
    def label(self) -> str:
        """`r2` for a student's round, else the stage's name."""
        return f"r{self.event.round}" if self.event.round else self.event.stage

    def on(self, axis: Axis) -> float:
        """Its place on an axis."""
        return {"step": self.step, "epoch": self.epoch, "time": self.seconds}[axis]


@dataclass(frozen=True, slots=True, eq=False)
class Following:
    """One run at one moment."""

    run: RunDirectory
    status: RunStatus
    process: ProcessRecord | None
    ended: ExitRecord | None
    recipe: Mapping[str, Any]
    """Dotted keys to TOML values; empty where the recipe cannot be read."""
    read_share: float
    """How much of the metrics has been read; 1 when all of them."""
    skipped: int
    """Lines of the metrics that are no event: damaged, torn by a kill, or of a later version."""
    stages: tuple[StageMark, ...]
    steps: StepCurve
    train: EpochCurve
    val: EpochCurve
    tests: tuple[EpochDone, ...]
    teacher: EpochDone | None
    """Its best epoch; None in a supervised run and before the teacher's first epoch."""
    best: EpochDone | None
    """The epoch that the run would keep now (`best_epoch.RunningBest`)."""
    confusions: tuple[SeenConfusion, ...]
    """Oldest first."""
    rounds: tuple[RoundLabelled, ...]
    messages: tuple[Said, ...]
    latest_step: StepDone | None
    going: Going | None
    """None before the first stage."""
    latest_time: float
    """Of the last event, in seconds since the epoch; 0 before one."""

    @property
    def reason(self) -> str:
        """What the latest attempt said when it ended; empty while another one is under way."""
        ended = self.ended
        if ended is None or (self.process is not None and ended.attempt < self.process.attempt):
            return ""
        return ended.reason
