"""Following one run: its curves, confusions, rounds and progress as a value, brought up to date cheaply."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.recipe.schema import Recipe
from workbench.runs.curve_history import (
    ELAPSED,
    EPOCH_ACCURACY,
    EPOCH_RATE,
    EPOCH_SECONDS,
    EPOCH_SPEED,
    EPOCHS_A_STAGE,
    LOSS,
    PLACE,
    STEP,
    STEP_MEMORY,
    STEP_RATE,
    STEP_SPEED,
    CurveTable,
    History,
    Said,
    SeenConfusion,
)
from workbench.runs.ensemble import is_ensemble, members_words, recipe_of_members
from workbench.runs.estimate import Going, epoch_seconds, going, planned_stages, recipe_of_run, steps_an_epoch
from workbench.runs.events import EpochDone, PoolTaught, RanksSeen, RoundLabelled, StageStarted, StepDone
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsReader, News
from workbench.runs.process import ExitRecord, ProcessRecord, read_exit, read_process
from workbench.runs.results import read_headline
from workbench.runs.run_history import epoch_words
from workbench.runs.status import RunStatus, derive_status
from workbench.runs.ticket import read_ticket
from workbench.support.errors import UserError
from workbench.support.toml_text import flatten, read_toml

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
    pools: tuple[PoolTaught, ...]
    """Of an online strategy, epoch by epoch."""
    ranks: RanksSeen | None
    """Of several processes in the last epoch; None where one trained it alone."""
    messages: tuple[Said, ...]
    latest_step: StepDone | None
    going: Going | None
    """None before the first stage."""
    latest_time: float
    """Of the last event, in seconds since the epoch; 0 before one."""

    @property
    def final_test(self) -> EpochDone | None:
        """The look at the test images by the model that the run keeps: of teacher and student, the better on
        validation. None before it, and while none is known to be of that model."""
        for tested in self.tests:
            if self.best is not None and (tested.stage, tested.round, tested.epoch) == (
                self.best.stage,
                self.best.round,
                self.best.epoch,
            ):
                return tested
        return self.tests[0] if len(self.tests) == 1 else None

    @property
    def reason(self) -> str:
        """What the latest attempt said when it ended; empty while another one is under way."""
        ended = self.ended
        if ended is None or (self.process is not None and ended.attempt < self.process.attempt):
            return ""
        return ended.reason


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


_READ_BYTES = 4 * 2**20  # a refresh: so that a long file shows as it is read


class RunFollower:
    """Reads a run's files again and again; a refresh costs what is new in them.

    At most some megabytes of metrics are taken up at once: `read_share` tells whether to refresh again at
    once. A file that was replaced or cut off is read anew from its start.
    """

    def __init__(self, run: RunDirectory) -> None:
        self._run = run
        self._lines = MetricsReader(run.metrics, at_once=_READ_BYTES)
        self._history = History()
        self._recipe: Mapping[str, Any] = {}
        self._trains: Recipe | None = None
        self._following: Following | None = None

    def refresh(self) -> Following:
        """The run as it is now; the very same object as the last time when nothing has changed.

        Raises:
            OSError: a file is there and cannot be read.
        """
        news = self._lines.read()
        if news.anew:
            self._history = History()
        self._history.add(news.records)
        process, ended = read_process(self._run), read_exit(self._run)
        status = derive_status(self._run, process, ended, read_ticket(self._run))
        if not self._recipe:
            self._recipe = _read_recipe(self._run)
            self._trains = recipe_of_run(self._run) if self._recipe else None
        last = self._following
        if (
            last is not None
            and not (news.anew or news.moved)
            and (last.status, last.process, last.ended) == (status, process, ended)
        ):
            return last
        self._following = self._assemble(news, status, process, ended)
        return self._following

    def _assemble(
        self, news: News, status: RunStatus, process: ProcessRecord | None, ended: ExitRecord | None
    ) -> Following:
        history = self._history
        named = self._named_best() if status is RunStatus.FINISHED else None
        stages = StageAxes(history, lambda event: steps_an_epoch(self._trains, event))
        steps, train, val = (_columns(table) for table in (history.steps, history.train, history.val))
        if members_words(self._recipe):  # it trained nothing: what it was judged by is no epoch of it
            val = val[:, :0]
        marks = stages.marks()
        return Following(
            run=self._run,
            status=status,
            process=process,
            ended=ended,
            recipe=self._recipe,
            read_share=news.share,
            skipped=news.skipped,
            stages=marks,
            steps=StepCurve(
                stages.places(steps, between=True),
                steps[LOSS],
                steps[STEP_RATE],
                steps[STEP_SPEED],
                steps[STEP_MEMORY],
            ),
            train=_epoch_curve(train, stages),
            val=_epoch_curve(val, stages),
            tests=tuple(history.tests.values()),
            teacher=history.bests.teacher,
            best=history.bests.best if named is None else history.bests.kept(*named),
            confusions=tuple(seen for _, seen in history.confusions),
            rounds=tuple(history.rounds[number] for number in sorted(history.rounds)),
            pools=tuple(history.pools[place] for place in sorted(history.pools)),
            ranks=history.latest_ranks,
            messages=tuple(history.messages),
            latest_step=history.latest_step,
            going=self._going(marks, stages, train, val) if marks else None,
            latest_time=history.latest_time,
        )

    def _named_best(self) -> tuple[int, int] | None:
        """(round, epoch) that the results of a finished run name as the best; None where they do not."""
        try:
            top = read_headline(self._run.results)[""]
            return int(top["best_round"]), int(top["best_epoch"])
        except (OSError, KeyError, ValueError, OverflowError):
            return None

    def _going(self, marks: tuple[StageMark, ...], stages: StageAxes, train: _Floats, val: _Floats) -> Going:
        events = [mark.event for mark in marks]
        history = self._history
        planned = planned_stages(self._trains, events, list(history.rounds.values()))
        key = stages.keys[-1]
        own = val[:, stages.of(val) == key]
        epoch = float(own[PLACE, -1] % EPOCHS_A_STAGE) if own.shape[1] else 0.0
        latest = history.latest_step
        if latest is not None and (latest.stage, latest.round) == (events[-1].stage, events[-1].round):
            spent = latest.step / max(1.0, stages.steps_an_epoch(key))
            epoch = min(max(epoch, spent), epoch + 1.0)
        passed = np.concatenate([columns[:, stages.of(columns) == key] for columns in (train, val)], axis=1)
        times = zip(passed[PLACE].astype(int).tolist(), passed[EPOCH_SECONDS].tolist(), strict=True)
        seconds = epoch_seconds(times)
        return going(planned, events[-1], epoch, seconds)


def _columns(table: CurveTable) -> _Floats:
    """(columns, N) float64, a copy of its own that nobody changes."""
    columns = np.ascontiguousarray(table.rows.T)
    columns.setflags(write=False)
    return columns


def _epoch_curve(columns: _Floats, stages: StageAxes) -> EpochCurve:
    return EpochCurve(
        stages.places(columns, between=False),
        columns[LOSS],
        columns[EPOCH_ACCURACY],
        columns[EPOCH_RATE],
        columns[EPOCH_SPEED],
    )


def _read_recipe(run: RunDirectory) -> Mapping[str, Any]:
    try:
        recipe = flatten(read_toml(run.recipe))
        return {**recipe, **recipe_of_members(run)} if is_ensemble(run) else recipe
    except (OSError, UserError):
        return {}


def follow_to_end(follower: RunFollower) -> Following:
    """The run as it is now, all of its metrics read.

    Raises:
        OSError: a file is there and cannot be read.
    """
    following = follower.refresh()
    while following.read_share < 1.0:
        following = follower.refresh()
    return following


@dataclass(slots=True)
class StageAxes:
    """Where a history's stages begin on the three axes, and its points lie."""

    history: History
    steps_of: Callable[[StageStarted], int]
    """Steps an epoch of a stage by the run's plan; 0: not known."""
    keys: list[int] = field(default_factory=list)
    _first_step: dict[int, float] = field(default_factory=dict)
    _first_epoch: dict[int, float] = field(default_factory=dict)
    _steps: dict[int, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        tables = [self.history.steps.rows, self.history.train.rows, self.history.val.rows]
        held = {
            key for rows in tables for key in np.unique(rows[:, PLACE] // EPOCHS_A_STAGE).astype(int).tolist()
        }
        self.keys = sorted(held | self.history.stages.keys())
        step = epoch = 0.0
        for key in self.keys:
            self._first_step[key], self._first_epoch[key] = step, epoch
            own = [rows[slice(*_range(rows, key))] for rows in tables]
            last_epoch = max(
                (float(rows[-1, PLACE] % EPOCHS_A_STAGE) for rows in own if len(rows)), default=0.0
            )
            steps, validated = own[0], own[2]
            self._steps[key] = self._estimate(
                key, steps, bool(len(validated)) and validated[-1, PLACE] % EPOCHS_A_STAGE > 0
            )
            step += max((float(rows[-1, STEP]) for rows in own if len(rows)), default=0.0)
            epoch += last_epoch

    def _estimate(self, key: int, steps: _Floats, epoch_done: bool) -> float:
        """Steps an epoch: the most that an epoch is seen to have; in the first one what the plan says."""
        if not len(steps):
            return 0.0
        seen = float((steps[:, STEP] / np.maximum(1.0, steps[:, PLACE] % EPOCHS_A_STAGE)).max())
        stage = self.history.stages.get(key)
        if epoch_done or stage is None:
            return seen
        return max(seen, self.steps_of(stage.event))

    def steps_an_epoch(self, key: int) -> float:
        """0 where no step is known."""
        return self._steps[key]

    def of(self, columns: _Floats) -> NDArray[np.int64]:
        """The stage of each point."""
        return np.asarray(columns[PLACE] // EPOCHS_A_STAGE, dtype=np.int64)

    def places(self, columns: _Floats, *, between: bool) -> Places:
        """Where points lie; `between` epochs as steps do, or at their ends."""
        owners, inverse = np.unique(self.of(columns), return_inverse=True)
        keys = owners.tolist()
        first_step = np.array([self._first_step[key] for key in keys])
        first_epoch = np.array([self._first_epoch[key] for key in keys])
        epoch = columns[PLACE] % EPOCHS_A_STAGE
        if between and len(keys):
            steps = np.array([max(1.0, self._steps[key]) for key in keys])[inverse]
            epoch = np.clip(columns[STEP] / steps, epoch - 1, epoch)
        if not len(keys):
            return Places(columns[STEP], epoch, columns[ELAPSED])
        return Places(columns[STEP] + first_step[inverse], epoch + first_epoch[inverse], columns[ELAPSED])

    def marks(self) -> tuple[StageMark, ...]:
        """The stages that have begun, in order."""
        seen = self.history.stages
        return tuple(
            StageMark(seen[key].event, self._first_step[key], self._first_epoch[key], seen[key].elapsed)
            for key in self.keys
            if key in seen
        )


def _range(rows: _Floats, key: int) -> tuple[int, int]:
    start, end = np.searchsorted(rows[:, PLACE], [key * EPOCHS_A_STAGE, (key + 1) * EPOCHS_A_STAGE])
    return int(start), int(end)
