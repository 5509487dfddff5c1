"""Curves of runs that can be laid over each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runs.making import make_run
from workbench.runs.curves import CURVE_METRICS, Axis, Following, RunFollower, curve_of, follow_to_end
from workbench.runs.events import EpochDone, StageName, StageStarted, StepDone
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter

VAL = CURVE_METRICS["val.accuracy"]


def write_epochs(
    run: RunDirectory, *accuracies: float, stage: StageName = "teacher", round: int = 0
) -> RunDirectory:
    """A stage with an epoch of ten steps for each accuracy; losses are one less the accuracy."""
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted(stage, round, len(accuracies), 320, 0, False))
        for number, accuracy in enumerate(accuracies, 1):
            writer.event(StepDone(stage, round, number, 10 * number, 1 - accuracy, 0.1, 50.0, 0))
            for split in ("train", "val"):
                at = accuracy - 0.05 * (split == "val")
                writer.event(EpochDone(stage, round, number, split, 1 - at, at, 0.1, 50.0, 2.0))
    return run


@pytest.fixture
def followed(tmp_path: Path) -> Following:
    """A teacher of two epochs, then a round of two."""
    run = write_epochs(make_run(tmp_path, training={"batch_size": 32}), 0.55, 0.65)
    write_epochs(run, 0.85, 0.75, stage="student", round=1)
    return follow_to_end(RunFollower(run))


@pytest.mark.parametrize(("axis", "x"), [("epoch", [1, 2, 3, 4]), ("step", [10, 20, 30, 40])])
def test_every_axis_counts_through_stages_and_rounds(followed: Following, axis: Axis, x: list[float]) -> None:
    curve = curve_of(followed, VAL, axis)
    assert curve.x.tolist() == pytest.approx(x)
    assert curve.y.tolist() == pytest.approx([0.5, 0.6, 0.8, 0.7])


def test_time_is_in_seconds(followed: Following) -> None:
    assert curve_of(followed, VAL, "time").x.tolist() == followed.val.at.seconds.tolist()


@pytest.mark.parametrize(
    ("key", "first"),
    [
        ("val.loss", 0.5),
        ("train.accuracy", 0.55),
        ("train.loss", 0.45),
        ("step.loss", 0.45),
        ("learning_rate", 0.1),
        ("images_per_second", 50.0),
    ],
)
def test_every_number_of_a_run_can_be_drawn(followed: Following, key: str, first: float) -> None:
    curve = curve_of(followed, CURVE_METRICS[key], "epoch")
    assert curve.y[0] == pytest.approx(first)
    assert len(curve.x) == 4


def test_a_value_is_read_at_the_last_point_not_after_the_cursor(followed: Following) -> None:
    curve = curve_of(followed, VAL, "epoch")
    assert [curve.at(x) for x in (0.5, 1.0, 2.9, 4.5)] == [None, pytest.approx(0.5), pytest.approx(0.6), None]


def test_the_best_point_is_the_first_of_the_greatest_or_the_least(followed: Following) -> None:
    assert curve_of(followed, VAL, "epoch").best(least=False) == pytest.approx((3.0, 0.8))
    loss = CURVE_METRICS["val.loss"]
    assert curve_of(followed, loss, "epoch").best(least=loss.less_is_better) == pytest.approx((3.0, 0.2))


def test_a_run_that_has_not_begun_has_an_empty_curve(tmp_path: Path) -> None:
    curve = curve_of(follow_to_end(RunFollower(make_run(tmp_path))), VAL, "time")
    assert (len(curve.x), curve.at(1.0), curve.best(least=False)) == (0, None, None)
