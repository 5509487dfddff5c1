"""One history from the records of several attempts."""

from __future__ import annotations

from tests.runs.making import epoch
from workbench.runs.events import ConfusionSeen, Event, Message, RoundLabelled, StageStarted, StepDone
from workbench.runs.timeline import epochs, timeline


def step(epoch_number: int, number: int) -> StepDone:
    return StepDone("fit", 0, epoch_number, number, 1.0, 1e-3, 1.0, 0)


def labelled(round: int, selected: int) -> RoundLabelled:
    return RoundLabelled(round, 10, selected, None, None, 0, 0.9, [], [])


FIT = StageStarted("fit", 0, 5, 10, 0, False)


def test_a_run_without_interruption_is_its_own_timeline() -> None:
    events: list[Event] = [
        StageStarted("probe", 0, 2, 10, 0, True),
        epoch(1, stage="probe"),
        epoch(2, stage="probe"),
        StageStarted("teacher", 0, 1, 10, 0, False),
        step(1, 10).__class__("teacher", 0, 1, 10, 1.0, 1e-3, 1.0, 0),
        epoch(1, stage="teacher", split="train"),
        epoch(1, stage="teacher"),
        ConfusionSeen("teacher", 0, 1, [[1]]),
        labelled(1, 5),
        StageStarted("student", 1, 1, 10, 5, False),
        epoch(1, stage="student", round=1),
        Message("info", "same"),
        Message("info", "same"),
        epoch(1, stage="teacher", split="test"),
        epoch(1, stage="student", round=1, split="test"),
    ]
    assert timeline(events) == events


def test_an_epoch_recorded_twice_keeps_the_later_record() -> None:
    events: list[Event] = [epoch(1, 0.1), epoch(2, 0.2), epoch(2, 0.25), epoch(3, 0.3)]
    assert epochs(events) == [epoch(1, 0.1), epoch(2, 0.25), epoch(3, 0.3)]


def test_what_lies_behind_the_resume_point_is_dropped_before_it_is_reached_again() -> None:
    before: list[Event] = [
        FIT,
        step(1, 5),
        epoch(1, 0.1),
        step(2, 10),
        epoch(2, 0.2),
        step(3, 15),
        epoch(3, 0.3),
    ]
    resumed: list[Event] = [FIT, step(2, 8), epoch(2, 0.22)]
    assert timeline(before + resumed) == [FIT, step(1, 5), epoch(1, 0.1), step(2, 8), epoch(2, 0.22)]


def test_steps_of_an_epoch_begun_again_are_dropped() -> None:
    events: list[Event] = [step(2, 10), step(2, 20), step(2, 30), step(2, 15), step(2, 20)]
    assert timeline(events) == [step(2, 10), step(2, 15), step(2, 20)]


def test_a_stage_said_again_on_resume_takes_nothing_back() -> None:
    again = StageStarted("fit", 0, 7, 10, 0, False)
    assert timeline([FIT, epoch(1), again, epoch(2)]) == [again, epoch(1), epoch(2)]


def test_going_back_a_round_takes_back_its_labels_and_stage() -> None:
    events: list[Event] = [
        epoch(1, stage="student", round=1),
        labelled(2, 8),
        StageStarted("student", 2, 1, 10, 8, False),
        epoch(1, stage="student", round=2),
        epoch(1, 0.6, stage="student", round=1),
    ]
    assert timeline(events) == [epoch(1, 0.6, stage="student", round=1)]


def test_a_round_labelled_again_keeps_the_last_labelling() -> None:
    events: list[Event] = [labelled(1, 5), epoch(1, stage="student", round=1), labelled(1, 6)]
    assert timeline(events) == [labelled(1, 6), epoch(1, stage="student", round=1)]
