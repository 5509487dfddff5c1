"""Following a run: equal to its history, incremental, bounded."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.attempts import Interrupted, interrupted_runs
from tests.runs.making import make_run
from workbench.runs.curve_history import (
    ELAPSED,
    EPOCHS_A_STAGE,
    LOSS,
    PLACE,
    STEP,
    CurveTable,
    History,
    stage_of,
)
from workbench.runs.curves import Following, RunFollower
from workbench.runs.events import (
    ConfusionSeen,
    EpochDone,
    Event,
    PoolTaught,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageName,
    StageStarted,
    StepDone,
)
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter, Record
from workbench.runs.process import write_exit
from workbench.runs.run_history import STAGE_ORDER, history_of
from workbench.runs.status import RunStatus

ITERATIVE: dict[str, Any] = {
    "training": {"epochs": 2, "batch_size": 10},
    "pseudo_label": {
        "strategy": "iterative",
        "labelled_fraction": 0.1,
        "rounds": 2,
        "epochs_per_round": 2,
        "select": "top_fraction",
        "fraction": 0.5,
    },
}


def step(stage: StageName, round_: int, epoch: int, number: int, loss: float = 1.0) -> StepDone:
    return StepDone(stage, round_, epoch, number, loss, 1e-3, 200.0, 2**30)


def ended(stage: StageName, round_: int, epoch: int, split: str = "val", accuracy: float = 0.5) -> EpochDone:
    return EpochDone(stage, round_, epoch, split, 1.0 / epoch, accuracy, 1e-3, 100.0, 2.0)  # type: ignore[arg-type]


def labelled(round_: int) -> RoundLabelled:
    return RoundLabelled(round_, 90, 45, 0.9, 0.8, 3, 0.7, [20, 25], [0] * 20)


def stage_events(stage: StageName, round_: int, epochs: int = 2, steps: int = 3) -> list[Event]:
    """A whole stage of ten labelled images, as the trainer writes it."""
    begun: list[Event] = [labelled(round_)] if stage == "student" else []
    events = [*begun, StageStarted(stage, round_, epochs, 10, 45 * round_, False)]
    for epoch in range(1, epochs + 1):
        events += [step(stage, round_, epoch, (epoch - 1) * steps + i) for i in range(1, steps + 1)]
        events += [ended(stage, round_, epoch, "train", 0.9), ended(stage, round_, epoch)]
        events.append(ConfusionSeen(stage, round_, epoch, [[epoch, 1], [0, 5]]))
    return events


def write(run: RunDirectory, events: list[Event]) -> None:
    with MetricsWriter(run.metrics) as writer:
        for event in events:
            writer.event(event)


def test_a_run_is_laid_out_on_three_axes_through_its_stages(tmp_path: Path) -> None:
    run = make_run(tmp_path, **ITERATIVE)
    write(run, [*stage_events("teacher", 0), *stage_events("student", 1)])
    seen = RunFollower(run).refresh()
    assert seen.val.at.epoch.tolist() == [1, 2, 3, 4]
    assert seen.steps.at.step.tolist() == list(range(1, 13))
    assert seen.steps.at.epoch.tolist() == pytest.approx([i / 3 for i in range(1, 13)])
    assert [(mark.label, mark.epoch, mark.step) for mark in seen.stages] == [("teacher", 0, 0), ("r1", 2, 6)]
    assert (np.diff(seen.steps.at.seconds) >= 0).all()
    assert [confusion.epoch for confusion in seen.confusions] == [1, 2, 1, 2]
    assert seen.rounds == (labelled(1),)


def test_the_teachers_level_is_its_best_epoch_by_accuracy_then_loss(tmp_path: Path) -> None:
    run = make_run(tmp_path, **ITERATIVE)
    accuracies = (0.5, 0.8, 0.8, 0.7)
    events: list[Event] = [StageStarted("teacher", 0, 4, 10, 0, False)]
    write(run, events + [ended("teacher", 0, i, accuracy=a) for i, a in enumerate(accuracies, start=1)])
    teacher = RunFollower(run).refresh().teacher
    assert teacher is not None
    assert (teacher.epoch, teacher.accuracy) == (3, 0.8)


def test_nothing_new_gives_the_very_same_value_and_news_another(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    follower = RunFollower(run)
    first = follower.refresh()
    assert follower.refresh() is first
    write(run, stage_events("fit", 0))
    second = follower.refresh()
    assert second is not first
    assert follower.refresh() is second
    write_exit(run, code=1, reason="the disk is full")
    last = follower.refresh()
    assert (last.status, last.reason) == (RunStatus.FAILED, "the disk is full")
    assert len(second.val.loss) == len(last.val.loss) == 2


def test_a_value_that_was_given_out_never_changes(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    follower = RunFollower(run)
    write(run, stage_events("fit", 0, epochs=2))
    before = follower.refresh()
    losses = before.steps.loss.copy()
    write(run, [step("fit", 0, 1, 2, loss=9.0), *stage_events("fit", 0)[1:]])
    follower.refresh()
    assert np.array_equal(before.steps.loss, losses)


def test_a_line_that_is_still_being_written_waits(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run, stage_events("fit", 0, epochs=1))
    whole = run.metrics.read_bytes()
    follower = RunFollower(run)
    run.metrics.write_bytes(whole[:-20])
    assert len(follower.refresh().confusions) == 0
    with run.metrics.open("ab") as stream:
        stream.write(whole[-20:])
    assert len(follower.refresh().confusions) == 1


@pytest.mark.parametrize("longer", [False, True])
def test_a_file_that_was_replaced_is_read_anew(tmp_path: Path, longer: bool) -> None:
    run = make_run(tmp_path)
    write(run, stage_events("fit", 0, epochs=3))
    follower = RunFollower(run)
    assert len(follower.refresh().val.loss) == 3
    run.metrics.unlink()
    write(run, stage_events("teacher", 0, epochs=5 if longer else 1))
    seen = follower.refresh()
    assert len(seen.val.loss) == (5 if longer else 1)
    assert [mark.event.stage for mark in seen.stages] == ["teacher"]


def test_a_file_that_was_cut_off_in_place_is_read_anew(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write(run, stage_events("fit", 0, epochs=3))
    follower = RunFollower(run)
    follower.refresh()
    lines = run.metrics.read_bytes().splitlines(keepends=True)
    with run.metrics.open("r+b") as stream:
        stream.truncate(sum(map(len, lines[:7])))
    assert len(follower.refresh().val.loss) == 1


def test_a_long_file_is_taken_up_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runs.curves._READ_BYTES", 2000)
    run = make_run(tmp_path)
    write(run, stage_events("fit", 0, epochs=10))
    follower = RunFollower(run)
    shares = [follower.refresh().read_share]
    while shares[-1] < 1:
        shares.append(follower.refresh().read_share)
    assert shares == sorted(shares)
    assert len(shares) > 2
    while (seen := follower.refresh()) is not follower.refresh():
        pass
    assert len(seen.val.loss) == 10


def test_silence_between_attempts_is_no_time_of_the_run(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    lines = []
    for second, event in [(0, ended("fit", 0, 1)), (10, ended("fit", 0, 2)), (90_000, ended("fit", 0, 3))]:
        record = {"t": 1e9 + second, "kind": event.kind}
        record |= {name: getattr(event, name) for name in event.__slots__}
        lines.append(json.dumps(record) + "\n")
    run.metrics.write_text("".join(lines))
    assert RunFollower(run).refresh().val.at.seconds.tolist() == pytest.approx([0, 10, 10])


def test_progress_weighs_the_rounds_to_come_by_their_images(tmp_path: Path) -> None:
    run = make_run(tmp_path, **ITERATIVE)
    write(run, stage_events("teacher", 0))
    going = RunFollower(run).refresh().going
    assert going is not None
    # 2 epochs of 10 images are done; 2 of 10 + 45 and 2 of 10 + 90 are to come.
    assert going.fraction == pytest.approx(20 / (20 + 110 + 200))
    assert (going.rounds, going.epoch, going.epochs, going.is_rough) == (2, 2, 2, False)


def test_a_confident_round_of_unknown_size_makes_the_estimate_rough(tmp_path: Path) -> None:
    knobs = {key: value for key, value in ITERATIVE["pseudo_label"].items() if key != "fraction"}
    run = make_run(tmp_path, **{**ITERATIVE, "pseudo_label": {**knobs, "select": "threshold"}})
    write(run, stage_events("teacher", 0))
    going = RunFollower(run).refresh().going
    assert going is not None
    assert (going.rounds, going.is_rough) == (2, True)


def test_of_a_recipe_that_is_not_understood_the_stage_that_runs_is_told_and_no_more(tmp_path: Path) -> None:
    run = make_run(tmp_path, **{**ITERATIVE, "pseudo_label": {"strategy": "of_tomorrow", "rounds": 7}})
    write(run, stage_events("student", 1))
    going = RunFollower(run).refresh().going
    assert going is not None
    assert (going.stage, going.rounds, going.epochs, going.is_rough) == ("student", 1, 2, True)


def test_a_run_without_files_can_be_followed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.recipe.write_text("this is = no TOML [")
    seen = RunFollower(run).refresh()
    assert seen.recipe == {}
    assert (seen.going, seen.best, seen.teacher, seen.read_share) == (None, None, None, 1.0)


@settings(max_examples=200, deadline=None)
@given(interrupted_runs(says_so=True) | interrupted_runs(says_so=False), st.integers(1, 40))
def test_the_curves_of_interrupted_attempts_are_of_what_happened_in_the_end(
    run: Interrupted, chunk: int
) -> None:
    history = History()
    records = [Record(1e9 + i, event) for i, event in enumerate(run.told)]
    for i in range(0, len(records), chunk):
        history.add(records[i : i + chunk])
    told = history_of(run.told)
    steps = [(row(e), e.step, e.loss) for e in told.events if isinstance(e, StepDone)]
    assert history.steps.rows[:, [PLACE, STEP, LOSS]].tolist() == [list(map(float, row)) for row in steps]
    assert (np.diff(history.steps.rows[:, ELAPSED]) >= 0).all()
    for table, epochs in ((history.train, told.epochs("train")), (history.val, told.epochs("val"))):
        assert table.rows[:, [PLACE, LOSS]].tolist() == [[row(e), e.loss] for e in epochs]
    assert history.bests.best == told.bests.best
    confusions = [(row(e), e.matrix) for e in told.events if isinstance(e, ConfusionSeen)]
    assert [(at, seen.matrix.tolist()) for at, seen in history.confusions] == confusions
    assert history.pools == {row(e): e for e in told.events if isinstance(e, PoolTaught)}
    assert history.ranks == {row(e): e for e in told.events if isinstance(e, RanksSeen)}
    assert history.latest_ranks == told.ranks
    assert {key: seen.event for key, seen in history.stages.items()} == {
        stage_of(row(e)): e for e in told.stages
    }
    assert list(history.rounds.values()) == list(told.rounds)
    assert tuple(history.tests.values()) == told.tests


def row(event: StepDone | EpochDone | ConfusionSeen | PoolTaught | RanksSeen | StageStarted) -> int:
    epoch = 0 if isinstance(event, StageStarted) else event.epoch
    return (4 * event.round + 1 + STAGE_ORDER[event.stage]) * EPOCHS_A_STAGE + epoch


def test_the_time_between_two_attempts_is_none_of_the_runs_also_where_it_is_short() -> None:
    history = History()
    told = [(0, step("fit", 0, 1, 1)), (10, step("fit", 0, 1, 2))]
    history.add([Record(1e9 + at, event) for at, event in told])
    history.add([Record(1e9 + 60, Resumed("fit", 0, 0, 2)), Record(1e9 + 65, step("fit", 0, 1, 3))])
    assert history.steps.rows[:, ELAPSED].tolist() == [0, 10, 15]


def test_an_attempt_that_begins_with_an_epochs_end_keeps_no_step_twice(tmp_path: Path) -> None:
    """The second attempt repeats only the end of epoch 1, the third its first step."""
    history = History()
    first, *others = [e for e in stage_events("fit", 0) if isinstance(e, StepDone | EpochDone)]
    ends = next(e for e in others if isinstance(e, EpochDone))
    events = [first, *others, ends, first]
    for i, event in enumerate(events):
        history.add([Record(1e9 + i, event)])
    kept = [e.step for e in history_of(events).events if isinstance(e, StepDone)]
    assert history.steps.rows[:, STEP].tolist() == kept


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_a_thinned_table_keeps_its_extremes_its_order_and_its_bound(sizes: list[int]) -> None:
    table = CurveTable(2, extremes_of=1, most=64)
    rng = np.random.default_rng(sum(sizes))
    values = rng.normal(size=sum(sizes))
    start = 0
    for size in sizes:
        table.extend([(float(i), float(values[i])) for i in range(start, start + size)])
        start += size
    rows = table.rows
    assert (np.diff(rows[:, 0]) > 0).all()
    assert np.array_equal(values[rows[:, 0].astype(int)], rows[:, 1])
    assert rows[:, 1].min() == values.min()
    assert rows[:, 1].max() == values.max()
    assert rows[-1, 0] == start - 1 or start > 64
    assert len(rows) <= 64 + max(2, 4 * start // 64)


def test_memory_of_a_million_steps_has_a_bound() -> None:
    table = CurveTable(7, extremes_of=LOSS)
    block = np.ones((50_000, 7))
    for i in range(20):
        block[:, LOSS] = np.sin(np.arange(50_000) / 1000 + i)
        table.extend(block)
    assert len(table) < 40_000


def test_old_confusions_are_thinned_and_the_latest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workbench.runs.curve_history._MATRIX_BYTES", 10 * 16)
    history = History()
    for number in range(1, 60):
        history.add([Record(1e9 + number, ConfusionSeen("fit", 0, number, [[number, 0], [0, 1]]))])
        seen = [confusion.epoch for _, confusion in history.confusions]
        assert seen[-1] == number
        assert seen == sorted(set(seen))
        assert len(seen) <= 11
    assert seen[0] == 1


def test_a_following_tells_nothing_of_an_earlier_attempts_end(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    write_exit(run, code=130, reason="stopped by SIGTERM")
    seen: Following = RunFollower(run).refresh()
    assert seen.reason == "stopped by SIGTERM"
