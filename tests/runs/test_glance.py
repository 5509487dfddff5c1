"""A run at a glance."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from tests.runs.making import epoch, finish, make_results, make_run
from workbench.runs.curves import RunFollower, follow_to_end
from workbench.runs.events import Message, StageStarted
from workbench.runs.glance import Glance, Glances, look_closer
from workbench.runs.layout import RunDirectory
from workbench.runs.metrics import MetricsWriter
from workbench.runs.process import write_process
from workbench.runs.summary import summarise


def trained(run: RunDirectory, epochs: int) -> None:
    """Record epochs of 2 s each, of 4."""
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 4, 10, 0, False))
        for number in range(1, epochs + 1):
            writer.event(epoch(number, number / 10))


def test_a_run_that_never_began_shows_nothing(tmp_path: Path) -> None:
    assert Glances().look(summarise(make_run(tmp_path))) == Glance((), None)


def test_a_going_run_shows_its_curve_and_what_is_left(tmp_path: Path) -> None:
    run = make_run(tmp_path, training={"epochs": 4})
    write_process(run, "cpu", pid=os.getpid())
    trained(run, 1)
    glances = Glances()
    first = glances.look(summarise(run))
    assert first.accuracies == (0.1,)
    assert first.going is not None
    assert (first.going.fraction, first.going.eta_seconds) == (0.25, 6.0)
    with MetricsWriter(run.metrics) as writer:
        writer.event(epoch(2, 0.2))
    second = glances.look(summarise(run))
    assert second.accuracies == (0.1, 0.2)
    assert second.going is not None
    assert (second.going.fraction, second.going.eta_seconds) == (0.5, 4.0)


def test_an_ended_run_is_read_once(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    trained(run, 3)
    summary = summarise(finish(run))
    glances = Glances()
    assert glances.look(summary) == Glance((0.1, 0.2, 0.3), None)
    run.metrics.unlink()
    assert glances.look(summary).accuracies == (0.1, 0.2, 0.3)


def test_warnings_are_those_of_results_and_messages_each_once(tmp_path: Path) -> None:
    run = finish(make_run(tmp_path), make_results(teacher_accuracy=0.9))
    with MetricsWriter(run.metrics) as writer:
        writer.event(Message("info", "not this"))
        writer.event(Message("warning", "a class has two images"))
        writer.event(Message("warning", "the student is below its teacher"))
    assert look_closer(summarise(run)).warnings == (
        "the student is below its teacher",
        "a class has two images",
    )


@pytest.mark.parametrize("text", ["= broken", "warnings = 3", ""])
def test_damaged_results_have_no_warnings(tmp_path: Path, text: str) -> None:
    run = make_run(tmp_path)
    run.results.write_text(text)
    assert look_closer(summarise(run)).warnings == ()


def test_a_row_and_the_run_followed_tell_the_same_time_left(tmp_path: Path) -> None:
    run = make_run(tmp_path, training={"epochs": 12})
    write_process(run, "cpu", pid=os.getpid())
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("fit", 0, 12, 10, 0, False))
        for number, seconds in enumerate((9.0, 2.0, 2.5, 4.0, 3.0, 3.5), start=1):
            ended = replace(epoch(number, 0.5), seconds=seconds)
            writer.event(replace(ended, split="train"))
            writer.event(ended)
    row, followed = Glances().look(summarise(run)).going, follow_to_end(RunFollower(run)).going
    assert row == followed
    assert row is not None
    assert row.eta_seconds == 6 * (3.0 + 3.0)
