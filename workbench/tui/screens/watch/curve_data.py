"""A run's curves as charts: accuracy, and beside it loss, learning rate, speed or memory."""

from __future__ import annotations

from typing import Literal

import numpy as np

from workbench.runs.following import Axis, Following
from workbench.tui.draw.chart_data import ChartData, Level, Mark, Series

Quantity = Literal["loss", "learning rate", "images/s", "memory GiB"]
QUANTITIES: tuple[Quantity, ...] = ("loss", "learning rate", "images/s", "memory GiB")

_VAL, _TRAIN, _TEACHER = 0, 1, 2  # colours of the theme's series
_GIB = 2**30


def accuracy_chart(following: Following, axis: Axis) -> ChartData:
    """Training and validation accuracy a epoch, the teacher's as a level."""
    val, train, teacher = following.val, following.train, following.teacher
    levels = (
        (Level(teacher.accuracy, "teacher", _TEACHER),)
        if teacher is not None and _has_student(following)
        else ()
    )
    return ChartData(
        "accuracy",
        (
            Series("val", val.at.on(axis), val.accuracy, _VAL),
            Series("train", train.at.on(axis), train.accuracy, _TRAIN, "dotted"),
        ),
        marks=_marks(following, axis),
        levels=levels,
        x_label=axis,
        y_format="share",
    )


def quantity_chart(following: Following, axis: Axis, quantity: Quantity) -> ChartData:
    """The chart beside it; loss has training's as often as it is logged."""
    steps, train, val = following.steps, following.train, following.val
    marks = _marks(following, axis)
    if quantity == "loss":
        teacher = following.teacher
        fine = len(steps.loss) > len(train.loss)
        dense = Series("train", steps.at.on(axis), steps.loss, _TRAIN, "dotted")
        coarse = Series("train", train.at.on(axis), train.loss, _TRAIN, "dotted")
        levels = (
            (Level(teacher.loss, "teacher", _TEACHER),)
            if teacher is not None and _has_student(following)
            else ()
        )
        series = (Series("val", val.at.on(axis), val.loss, _VAL), dense if fine else coarse)
        return ChartData("loss", series, marks, levels, axis)
    source = steps if len(steps.loss) else train
    x = source.at.on(axis)
    if quantity == "learning rate":
        return ChartData(quantity, (Series("train", x, source.learning_rate, _TRAIN),), marks, (), axis)
    if quantity == "images/s":
        return ChartData(quantity, (Series("train", x, source.images_per_second, _TRAIN),), marks, (), axis)
    memory = steps.memory_bytes / _GIB if len(steps.loss) else np.empty(0)
    return ChartData(quantity, (Series("run", steps.at.on(axis), memory, _TRAIN),), marks, (), axis)


def _marks(following: Following, axis: Axis) -> tuple[Mark, ...]:
    """Where each stage begins, but for the first, which is where the axis does."""
    return tuple(Mark(stage.on(axis), stage.label) for stage in following.stages[1:])


def _has_student(following: Following) -> bool:
    return any(stage.event.round for stage in following.stages)
