"""Summaries and their cache."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.runs.making import epoch, finish, make_results, make_run, sleeping
from workbench.runs import index
from workbench.runs import index as cache
from workbench.runs.events import Message, StageStarted
from workbench.runs.index import INDEX, list_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import move_to_trash
from workbench.runs.metrics import MetricsWriter
from workbench.runs.notes import change_notes
from workbench.runs.process import beat, write_process
from workbench.runs.status import RunStatus
from workbench.runs.summary import Progress, RunSummary, summarise


def settle(run: RunDirectory) -> None:
    """Make the run's files look as old as those of a run of yesterday, so that it may be cached."""
    then = time.time_ns() - 86_400 * 10**9
    for path in (*run.path.iterdir(), run.path):
        os.utime(path, ns=(then, then))


@pytest.fixture
def summarised(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of runs whose files were really read."""
    read: list[str] = []

    def spy(run: RunDirectory) -> RunSummary:
        read.append(run.id)
        return summarise(run)

    monkeypatch.setattr(index, "summarise", spy)
    return read


def test_a_finished_run_is_told_from_its_results(tmp_path: Path) -> None:
    run = finish(
        make_run(tmp_path, tags=["table1"], pseudo_label={"labelled_fraction": 0.1, "rounds": 2}),
        make_results(0.85, teacher_accuracy=0.8),
    )
    change_notes(run, add=["good"], note="keep")
    [summary] = list_runs(tmp_path)
    assert (summary.id, summary.name, summary.status) == (run.id, "lite", RunStatus.FINISHED)
    assert summary.recipe["model.backbone"] == "resnet18"
    assert summary.recipe["pseudo_label.labelled_fraction"] == 0.1
    assert (summary.test_accuracy, summary.teacher_test_accuracy) == (0.85, 0.8)
    assert summary.val_accuracy == pytest.approx(0.87)
    assert summary.metrics["round.coverage"] == 1.0
    assert summary.metrics["test.macro_f1"] == 0.79
    assert (summary.tags, summary.note, summary.progress) == (("table1", "good"), "keep", None)


def test_a_going_run_is_told_from_its_metrics(tmp_path: Path) -> None:
    run = make_run(tmp_path, pseudo_label={"strategy": "iterative", "rounds": 5})
    write_process(run, "cpu")
    with MetricsWriter(run.metrics) as writer:
        writer.event(StageStarted("teacher", 0, 2, 10, 0, False))
        writer.event(epoch(1, 0.9, stage="teacher"))
        writer.event(StageStarted("student", 1, 3, 10, 5, False))
        writer.event(epoch(1, 0.7, stage="student", round=1))
        writer.event(epoch(2, 0.6, stage="student", round=1))
        writer.event(epoch(3, 0.1, stage="student", round=1, split="train"))
    [summary] = list_runs(tmp_path)
    assert summary.status is RunStatus.LIVE
    assert summary.progress == Progress("student", 1, 5, 2, 3)
    assert (summary.val_accuracy, summary.metrics["val.last_accuracy"]) == (
        0.9,
        0.6,
    )  # it would keep the teacher
    assert summary.test_accuracy is None


def test_runs_are_read_once_and_then_come_from_the_cache(tmp_path: Path, summarised: list[str]) -> None:
    runs = [finish(make_run(tmp_path, f"run{i}", age_seconds=i)) for i in range(3)]
    settle(runs[0])
    settle(runs[1])
    settle(runs[2])
    first = list_runs(tmp_path)
    assert len(summarised) == 3
    assert list_runs(tmp_path) == first
    assert len(summarised) == 3
    assert [summary.id for summary in first] == [run.id for run in runs]


def test_a_change_to_any_file_that_matters_is_seen(tmp_path: Path, summarised: list[str]) -> None:
    run = finish(make_run(tmp_path))
    settle(run)
    list_runs(tmp_path)
    change_notes(run, note="new")
    assert list_runs(tmp_path)[0].note == "new"
    settle(run)
    list_runs(tmp_path)
    run.recipe.write_text('name = "renamed in place"\n')
    assert list_runs(tmp_path)[0].name == "renamed in place"
    settle(run)
    list_runs(tmp_path)
    with MetricsWriter(run.metrics) as writer:
        writer.event(Message("info", "more"))
    before = len(summarised)
    list_runs(tmp_path)
    assert len(summarised) == before + 1


def test_a_run_changed_a_moment_ago_is_not_cached(tmp_path: Path, summarised: list[str]) -> None:
    finish(make_run(tmp_path))
    list_runs(tmp_path)
    list_runs(tmp_path)
    assert len(summarised) == 2


def test_the_state_of_a_cached_run_is_that_of_the_moment(tmp_path: Path, summarised: list[str]) -> None:
    run = make_run(tmp_path)
    sleeper = subprocess.Popen(sleeping(run))
    try:
        write_process(run, "cpu", pid=sleeper.pid)
        settle(run)
        assert list_runs(tmp_path)[0].status is RunStatus.STALLED
        beat(run)
        assert list_runs(tmp_path)[0].status is RunStatus.LIVE
    finally:
        sleeper.kill()
        sleeper.wait()
    assert list_runs(tmp_path)[0].status is RunStatus.LOST
    assert len(summarised) == 1


def test_removed_runs_leave_the_cache(tmp_path: Path) -> None:
    run, other = finish(make_run(tmp_path)), finish(make_run(tmp_path, "other"))
    settle(run)
    settle(other)
    list_runs(tmp_path)
    move_to_trash([run])
    assert [summary.id for summary in list_runs(tmp_path)] == [other.id]
    with sqlite3.connect(tmp_path / INDEX) as database:
        assert database.execute("SELECT id FROM runs").fetchall() == [(other.id,)]
    database.close()


@pytest.mark.parametrize(
    "content", [b"", b"not a database at all, by far" * 100, b"SQLite format 3\x00" + b"\xff" * 5000]
)
def test_a_damaged_cache_is_made_anew(tmp_path: Path, content: bytes, summarised: list[str]) -> None:
    run = finish(make_run(tmp_path))
    settle(run)
    (tmp_path / INDEX).write_bytes(content)
    for _ in range(3):
        assert len(list_runs(tmp_path)) == 1
    before = len(summarised)
    list_runs(tmp_path)
    assert len(summarised) == before


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE runs SET summary = '{'",
        "UPDATE runs SET summary = '[]'",
        'UPDATE runs SET summary = \'{"process": {"x": 1}}\'',
        "UPDATE runs SET summary = NULL",
        "PRAGMA user_version = 99",
        "ALTER TABLE runs RENAME TO walks",
    ],
)
def test_a_damaged_or_foreign_entry_is_read_anew(tmp_path: Path, statement: str) -> None:
    run = finish(make_run(tmp_path))
    settle(run)
    expected = list_runs(tmp_path)
    database = sqlite3.connect(tmp_path / INDEX, isolation_level=None)
    database.execute(statement)
    database.close()
    assert list_runs(tmp_path) == expected


def test_a_home_that_cannot_hold_a_cache_is_listed_all_the_same(tmp_path: Path) -> None:
    run = finish(make_run(tmp_path))
    settle(run)
    (tmp_path / INDEX).mkdir()
    assert [summary.id for summary in list_runs(tmp_path)] == [run.id]


def test_a_locked_cache_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "_LOCK_SECONDS", 0.05)
    run = finish(make_run(tmp_path))
    settle(run)
    holder = sqlite3.connect(tmp_path / INDEX, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    assert [summary.id for summary in list_runs(tmp_path)] == [run.id]
    holder.execute("ROLLBACK")
    holder.close()
    assert (tmp_path / INDEX).exists()


def test_many_listings_at_once_agree(tmp_path: Path) -> None:
    runs = [finish(make_run(tmp_path, f"run{i}", age_seconds=i)) for i in range(20)]
    for run in runs:
        settle(run)
    answers: list[list[str]] = []
    failures: list[BaseException] = []

    def read() -> None:
        try:
            for _ in range(5):
                answers.append([summary.id for summary in list_runs(tmp_path)])
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=read) for _ in range(6)]
    for thread in threads:
        thread.start()
    (tmp_path / INDEX).write_bytes(b"damaged while in use" * 50)
    for thread in threads:
        thread.join()
    assert failures == []
    assert answers == [[run.id for run in runs]] * 30


def test_runs_of_any_schema_and_in_any_state_of_damage_are_listed(tmp_path: Path) -> None:
    for number, text in enumerate(
        [
            'name = "old"\nlr = 0.1\n[teacher]\nx = 1979-05-27\n',
            "= broken",
            "",
            "\x00",
            'name = 3\ntags = "no list"\n',
        ]
    ):
        run = make_run(tmp_path, f"run{number}", age_seconds=number)
        run.recipe.write_text(text)
        run.results.write_text("test = 3")
        run.metrics.write_text("torn")
        settle(run)
    listed = list_runs(tmp_path)
    assert listed[0].recipe == {"name": "old", "lr": 0.1, "teacher.x": "1979-05-27"}
    assert "recipe.toml" in listed[1].problem
    assert all(summary.problem for summary in listed)
    assert list_runs(tmp_path) == listed


def test_tables_cut_inside_a_string_or_list_are_read_as_one(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.recipe.write_text(
        'description = """\n[data]\nx = 1\n"""\n[model]\nrates = [\n[1, 2],\n[3]]\nbackbone = "b"\n'
    )
    assert summarise(run).recipe == {
        "description": "[data]\nx = 1\n",
        "model.rates": [[1, 2], [3]],
        "model.backbone": "b",
    }
