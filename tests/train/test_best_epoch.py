"""One definition of best: the weights that are kept, console, lists, Watch, compare and sweeps agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.making import finish, make_results, make_run
from workbench.cli.console import Console
from workbench.cli.display import Display
from workbench.runs.curve_history import History
from workbench.runs.curves import CURVE_METRICS, RunFollower, curve_of, follow_to_end
from workbench.runs.events import EpochDone, StageName, StageStarted
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter, Record
from workbench.runs.run_history import history_of
from workbench.runs.summary import summarise
from workbench.runs.sweeps import accuracy_until
from workbench.train.state import Best, RunState

Scores = Sequence[tuple[float, float]]
"""(accuracy, loss) of each epoch."""


def done(stage: StageName, round: int, epoch: int, score: tuple[float, float]) -> EpochDone:
    return EpochDone(stage, round, epoch, "val", score[1], score[0], 1e-3, 100.0, 1.0)


def of(epoch: EpochDone | None) -> Best | None:
    if epoch is None:
        return None
    return Best(epoch.stage, epoch.round, epoch.epoch, epoch.accuracy, epoch.loss, {})


def kept(events: Sequence[EpochDone]) -> EpochDone | None:
    """What the trainer's own rule keeps: the best of each stage, then of stages."""
    best: Best | None = None
    found: EpochDone | None = None
    for event in events:
        if best is None or not best.better_than(event.accuracy, event.loss):
            best = Best(event.stage, event.round, event.epoch, event.accuracy, event.loss, {})
            found = event
    return found


def record(run: RunDirectory, *attempts: Sequence[EpochDone | StageStarted]) -> None:
    for events in attempts:
        with MetricsWriter(run.metrics) as writer:
            for event in events:
                writer.event(event)


FIT = StageStarted("fit", 0, 6, 20, 0, True)
FIRST = [done("fit", 0, n, score) for n, score in enumerate([(0.8, 0.5), (0.9, 0.4), (0.7, 0.6)], 1)]
SECOND = [done("fit", 0, n, score) for n, score in enumerate([(0.7, 0.6), (0.9, 0.4), (0.9, 0.5)], 3)]


def test_a_resumed_run_with_ties_has_one_best_epoch_on_all_surfaces(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path, training={"epochs": 6})
    record(run, [FIT, *FIRST])
    with Display(Console(), run.metrics) as display:
        display.event(FIT)
        record(run, [FIT, *SECOND])
        for event in SECOND:
            display.event(event)
        display.finish()
    # Epochs 2 and 4 are equal in both numbers: the trainer keeps the later. Epoch 5 has the greater loss.
    expected = SECOND[1]
    assert kept([*FIRST[:2], *SECOND]) == expected
    assert "best validation accuracy 90.00 % at epoch 4 of 6" in capsys.readouterr().out
    assert summarise(run).val_accuracy == expected.accuracy
    following = follow_to_end(RunFollower(run))
    assert following.best == expected
    curve = curve_of(following, CURVE_METRICS["val.accuracy"], "epoch")
    assert curve.best(least=False) == (4.0, 0.9)
    assert curve.kept is not None
    assert curve.kept.words == "4"
    assert accuracy_until(run, 6) == expected.accuracy


def test_the_console_counts_the_epochs_of_earlier_attempts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path)
    record(run, [FIT, *FIRST])
    with Display(Console(), run.metrics) as display:
        display.event(FIT)
        display.event(done("fit", 0, 4, (0.1, 9.0)))
        display.finish()
    assert "best validation accuracy 90.00 % at epoch 2 of 6" in capsys.readouterr().out


def test_a_best_epoch_is_counted_within_its_stage_as_results_count_it(tmp_path: Path) -> None:
    run = make_run(tmp_path, training={"epochs": 1}, finetune={"probe_epochs": 3})
    probe = [done("probe", 0, n, (0.95, 0.1)) for n in (1, 2, 3)]
    fit = StageStarted("fit", 0, 1, 20, 0, True)
    record(run, [StageStarted("probe", 0, 3, 20, 0, True), *probe, fit, done("fit", 0, 1, (0.8, 0.5))])
    curve = curve_of(follow_to_end(RunFollower(run)), CURVE_METRICS["val.accuracy"], "epoch")
    assert curve.best(least=False) == (4.0, 0.8)
    assert curve.kept is not None
    assert curve.kept.words == "1"
    assert summarise(run).val_accuracy == 0.8


SCORES = st.lists(
    st.tuples(st.sampled_from([0.1, 0.5, 0.9]), st.sampled_from([0.2, 0.3])), min_size=1, max_size=5
)


@settings(deadline=None)
@given(teacher=SCORES, rounds=st.lists(SCORES, max_size=3), fit=SCORES, back=st.integers(0, 8), again=SCORES)
def test_all_rules_agree_also_where_a_resume_goes_back(
    teacher: Scores, rounds: Sequence[Scores], fit: Scores, back: int, again: Scores
) -> None:
    first = [done("teacher", 0, n, score) for n, score in enumerate(teacher, 1)]
    for number, scores in enumerate(rounds, 1):
        first += [done("student", number, n, score) for n, score in enumerate(scores, 1)]
    if len(rounds) == 1:  # the fit on the labels that ends an online run begins with its student
        student = kept([event for event in first if event.stage == "student"])
        assert student is not None
        first.append(done("fit", 1, 0, (student.accuracy, student.loss)))
        first += [done("fit", 1, n, score) for n, score in enumerate(fit, 1)]
    last = first[max(0, len(first) - 1 - back)]
    redone = [done(last.stage, last.round, last.epoch + n, score) for n, score in enumerate(again)]
    events = [*first, *redone]
    told = history_of(events)
    students = kept([e for e in told.epochs("val") if e.stage != "teacher" and e.epoch])
    teachers = kept([e for e in told.epochs("val") if e.stage == "teacher"])
    state = RunState(teacher=of(teachers), student=of(students))
    expected = students if state.best is not None and state.best is state.student else teachers
    assert told.bests.best == expected
    history = History()
    for place, event in enumerate(events):
        history.add([Record(float(place), event)])
    assert history.bests.best == expected


def test_a_finished_run_shows_the_epoch_that_its_results_name(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    teacher, student = done("teacher", 0, 4, (0.9, 0.3)), done("student", 2, 3, (0.8, 0.4))
    record(run, [StageStarted("teacher", 0, 4, 20, 0, True), teacher])
    record(run, [StageStarted("student", 2, 3, 20, 80, True), student])
    assert follow_to_end(RunFollower(run)).best == teacher
    finish(run, replace(make_results(teacher_accuracy=0.9), best_stage="student", best_round=2, best_epoch=3))
    assert follow_to_end(RunFollower(run)).best == student
