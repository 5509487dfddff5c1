"""One history from the records of several attempts."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.attempts import Interrupted, interrupted_runs, whole_run
from tests.runs.making import epoch
from workbench.recipe import load_recipe
from workbench.recipe.plan import plan
from workbench.runs.events import (
    EpochDone,
    Event,
    Message,
    RanksSeen,
    Resumed,
    RoundLabelled,
    StageStarted,
    StepDone,
)
from workbench.runs.metrics import MetricsWriter
from workbench.runs.run_history import STAGE_ORDER, HistoryReader, history_of, place_of, read_history

RECIPES = [
    path
    for path in sorted((Path(__file__).parents[2] / "recipes").rglob("*.toml"))
    if "[sweep" not in path.read_text()
]
FIT = StageStarted("fit", 0, 5, 10, 0, False)


def step(epoch_number: int, number: int) -> StepDone:
    return StepDone("fit", 0, epoch_number, number, 1.0, 1e-3, 1.0, 0)


def labelled(round: int, selected: int) -> RoundLabelled:
    return RoundLabelled(round, 10, selected, None, None, 0, 0.9, [], [])


def in_training(events: list[Event]) -> tuple[Event, ...]:
    return tuple(e for e in events if not (isinstance(e, EpochDone) and e.split == "test"))


def the_tests(events: list[Event]) -> tuple[Event, ...]:
    return tuple(e for e in events if isinstance(e, EpochDone) and e.split == "test")


@settings(max_examples=300, deadline=None)
@given(interrupted_runs(says_so=True))
def test_the_history_of_interrupted_attempts_is_what_happened_in_the_end(run: Interrupted) -> None:
    history = history_of(run.told)
    assert history.events == in_training(run.happened)
    assert history.tests == the_tests(run.happened)
    assert list(history.messages) == [event for event in run.told if isinstance(event, Message)]


@settings(max_examples=300, deadline=None)
@given(interrupted_runs(says_so=False))
def test_so_it_is_of_attempts_of_0_1_0_which_did_not_say_where_they_went_on(run: Interrupted) -> None:
    assert history_of(run.told).events == in_training(run.happened)


@settings(max_examples=50, deadline=None)
@given(interrupted_runs(says_so=True, until_the_end=True), st.integers(1, 30))
def test_a_run_that_was_interrupted_and_one_that_was_not_tell_the_same_epochs(
    run: Interrupted, chunk: int
) -> None:
    def places(events: tuple[Event, ...]) -> list[object]:
        return [place_of(event) for event in events]

    assert places(history_of(run.told).events) == places(history_of(whole_run_like(run)).events)


def test_ranks_are_told_of_the_last_epoch_alone() -> None:
    seen = RanksSeen("fit", 0, 1, [9.0, 8.0], [5, 6])
    one: list[Event] = [epoch(1, 0.5, split="train"), seen, epoch(1, 0.5)]
    assert history_of([FIT, *one]).ranks == seen
    assert history_of([FIT, *one, epoch(2, 0.5, split="train")]).ranks is None  # one process went on


def whole_run_like(run: Interrupted) -> list[Event]:
    kinds = {event.kind for event in run.told}
    return whole_run(online="pool" in kinds, together="ranks" in kinds)


@settings(max_examples=50, deadline=None)
@given(run=interrupted_runs(says_so=True), chunks=st.lists(st.integers(1, 30), min_size=1))
def test_a_reader_that_reads_on_tells_what_one_tells_that_reads_all(
    run: Interrupted, chunks: list[int], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("run") / "metrics.jsonl"
    reader, left = HistoryReader(path), list(run.told)
    with MetricsWriter(path) as writer:
        while left:
            for event in left[: chunks[0]]:
                writer.event(event)
            left = left[chunks[0] :]
            chunks = [*chunks[1:], chunks[0]]
            seen = reader.read()
            assert reader.read() is seen
    assert reader.read() == read_history(path)
    assert reader.read().epochs("val") == history_of(run.told).epochs("val")


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_stages_of_a_plan_follow_one_another_as_their_places_do(path: Path) -> None:
    stages = [StageStarted(s.name, s.round, s.epochs, 1, 0, False) for s in plan(load_recipe(path))]
    places = [(s.round, STAGE_ORDER[s.stage]) for s in stages]
    assert places == sorted(set(places))


def test_a_run_without_interruption_is_its_own_history() -> None:
    events: list[Event] = [
        *whole_run(online=True)[:-2],
        Message("info", "same"),
        Message("info", "same"),
    ]
    history = history_of(events)
    assert [*history.events, *history.messages] == events


def test_an_epoch_recorded_twice_keeps_the_later_record() -> None:
    events: list[Event] = [epoch(1, 0.1), epoch(2, 0.2), epoch(2, 0.25), epoch(3, 0.3)]
    assert history_of(events).epochs("val") == (epoch(1, 0.1), epoch(2, 0.25), epoch(3, 0.3))


def test_what_lies_behind_the_resume_point_is_gone_before_it_is_reached_again() -> None:
    before: list[Event] = [
        *(FIT, step(1, 5), epoch(1, 0.1)),
        *(step(2, 10), epoch(2, 0.2), step(3, 15), epoch(3, 0.3)),
    ]
    kept = (FIT, step(1, 5), epoch(1, 0.1))
    assert history_of([*before, Resumed("fit", 0, 1, 5)]).events == kept
    assert history_of([*before, Resumed("fit", 0, 1, 7), FIT]).events == kept
    assert history_of([*before, FIT, step(2, 8)]).events == (*kept, step(2, 8))


def test_steps_of_an_epoch_begun_again_are_dropped() -> None:
    events: list[Event] = [step(2, 10), step(2, 20), step(2, 30), step(2, 15), step(2, 20)]
    assert history_of(events).events == (step(2, 10), step(2, 15), step(2, 20))


def test_a_stage_said_again_on_resume_takes_nothing_back() -> None:
    again = StageStarted("fit", 0, 7, 10, 0, False)
    assert history_of([FIT, epoch(1), again, epoch(2)]).events == (again, epoch(1), epoch(2))


def test_going_back_a_round_takes_back_its_labels_its_stage_and_the_tests() -> None:
    events: list[Event] = [
        epoch(1, stage="student", round=1),
        labelled(2, 8),
        StageStarted("student", 2, 1, 10, 8, False),
        epoch(1, stage="student", round=2),
        epoch(1, stage="student", round=2, split="test"),
        epoch(1, 0.6, stage="student", round=1),
    ]
    history = history_of(events)
    assert history.events == (epoch(1, 0.6, stage="student", round=1),)
    assert (history.tests, history.rounds, history.stages) == ((), (), ())


def test_a_round_labelled_again_keeps_the_last_labelling() -> None:
    events: list[Event] = [labelled(1, 5), epoch(1, stage="student", round=1), labelled(1, 6)]
    assert history_of(events).events == (labelled(1, 6), epoch(1, stage="student", round=1))


def test_a_warning_said_by_every_attempt_is_told_once() -> None:
    said = [Message("warning", "odd"), Message("info", "even"), Message("warning", "odd")]
    assert history_of(said).warnings == ("odd",)
