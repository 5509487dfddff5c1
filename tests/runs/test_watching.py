"""Following a runs directory."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

from tests.runs.making import epoch, finish, make_results, make_run, sleeping
from tests.runs.test_index import settle
from workbench.runs import watching
from workbench.runs.events import StageStarted
from workbench.runs.index import INDEX, list_runs
from workbench.runs.layout import RunDirectory
from workbench.runs.leftovers import move_to_trash
from workbench.runs.metrics import MetricsWriter
from workbench.runs.notes import change_notes
from workbench.runs.process import write_process
from workbench.runs.run_history import HistoryReader
from workbench.runs.status import RunStatus
from workbench.runs.summary import RunSummary, summarise
from workbench.runs.watching import RunsView, RunsWatch


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The ids of runs whose files were really read."""
    read: list[str] = []

    def spy(run: RunDirectory, reader: HistoryReader | None = None) -> RunSummary:
        read.append(run.id)
        return summarise(run, reader)

    monkeypatch.setattr(watching, "summarise", spy)
    return read


def whole(watch: RunsWatch) -> RunsView:
    """The first view that is complete."""
    view = watch.refresh()
    for _ in range(1000):
        if view.complete:
            return view
        view = watch.refresh()
    raise AssertionError("never complete")


def make_settled(home: Path, count: int) -> list[RunDirectory]:
    """Finished runs of yesterday, newest first."""
    runs = [finish(make_run(home, f"run{i}", age_seconds=i)) for i in range(count)]
    for run in runs:
        settle(run)
    return runs


def test_a_view_holds_what_a_listing_does(tmp_path: Path) -> None:
    make_settled(tmp_path, 5)
    finish(make_run(tmp_path, "just now"), make_results(0.9))
    make_run(tmp_path, "never started")
    (tmp_path / "no run").mkdir()
    view = whole(RunsWatch(tmp_path))
    assert list(view.summaries) == list_runs(tmp_path)
    assert view.total == 7
    assert set(view.by_id) == {summary.id for summary in view.summaries}


def test_a_home_that_is_not_there_has_no_runs_until_it_is_made(tmp_path: Path) -> None:
    watch = RunsWatch(tmp_path / "runs")
    assert whole(watch).summaries == ()
    run = make_run(tmp_path / "runs")
    assert [summary.id for summary in whole(watch).summaries] == [run.id]


def test_a_file_in_place_of_the_home_is_told_and_not_raised(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    view = RunsWatch(tmp_path / "runs").refresh()
    assert "Not a directory" in view.problem
    assert view.summaries == ()


def test_nothing_changed_is_the_same_view_and_reads_nothing(tmp_path: Path, looked_at: list[str]) -> None:
    make_settled(tmp_path, 5)
    watch = RunsWatch(tmp_path)
    view = whole(watch)
    before = len(looked_at)
    assert watch.refresh() is view
    assert watch.refresh() is view
    assert len(looked_at) == before == 5


def test_runs_come_from_the_cache_and_go_into_it(tmp_path: Path, looked_at: list[str]) -> None:
    make_settled(tmp_path, 5)
    first = whole(RunsWatch(tmp_path))
    again = whole(RunsWatch(tmp_path))
    assert again.summaries == first.summaries
    assert len(looked_at) == 5


def test_the_first_view_shows_the_newest_as_they_were_and_the_next_makes_sure(tmp_path: Path) -> None:
    newest, *_ = make_settled(tmp_path, 3)
    whole(RunsWatch(tmp_path))
    change_notes(newest, note="later")
    watch = RunsWatch(tmp_path)
    first = watch.refresh()
    assert (len(first.summaries), first.summaries[0].note, first.complete) == (3, "", False)
    assert whole(watch).summaries[0].note == "later"


def test_a_long_list_comes_in_slices_newest_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = make_settled(tmp_path, 6)
    monkeypatch.setattr(watching, "_SLICE_SECONDS", -1.0)
    monkeypatch.setattr(watching, "_FIRST_SECONDS", -1.0)
    watch = RunsWatch(tmp_path)
    counts = [len(watch.refresh().summaries) for _ in range(8)]
    assert counts == [0, 1, 2, 3, 4, 5, 6, 6]
    assert watch.refresh().complete
    assert [summary.id for summary in watch.refresh().summaries] == [run.id for run in runs]


def test_a_new_run_and_a_removed_one_are_told(tmp_path: Path) -> None:
    old, other = make_settled(tmp_path, 2)
    watch = RunsWatch(tmp_path)
    before = whole(watch)
    new = make_run(tmp_path, "new", age_seconds=-5)
    view = whole(watch)
    assert (set(view.changed), set(view.gone)) == ({new.id}, set())
    assert view.summaries[0].id == new.id
    assert view.generation > before.generation
    move_to_trash([old])
    view = whole(watch)
    assert (set(view.changed), set(view.gone)) == (set(), {old.id})
    assert [summary.id for summary in view.summaries] == [new.id, other.id]


def test_a_directory_becomes_a_run_when_its_recipe_is_there(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    text = run.recipe.read_text()
    run.recipe.unlink()
    watch = RunsWatch(tmp_path)
    assert whole(watch).summaries == ()
    run.recipe.write_text(text)
    assert [summary.id for summary in whole(watch).summaries] == [run.id]


def test_a_note_written_elsewhere_is_seen_within_a_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_TURN", 3)
    runs = make_settled(tmp_path, 10)
    watch = RunsWatch(tmp_path)
    whole(watch)
    change_notes(runs[-1], note="from elsewhere")
    views = [watch.refresh() for _ in range(4)]
    assert views[-1].by_id[runs[-1].id].note == "from elsewhere"
    assert runs[-1].id in frozenset().union(*(view.changed for view in views))


def test_a_run_asked_for_is_looked_at_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "_TURN", 0)
    runs = make_settled(tmp_path, 3)
    watch = RunsWatch(tmp_path)
    whole(watch)
    change_notes(runs[1], archived=True)
    assert not watch.refresh().by_id[runs[1].id].archived
    watch.look_again([runs[1].id, "no such run"])
    assert watch.refresh().by_id[runs[1].id].archived


def test_waiting_ends_when_something_is_asked(tmp_path: Path) -> None:
    watch = RunsWatch(tmp_path)
    watch.look_again(["x"])
    began = time.monotonic()
    watch.wait(600)
    assert time.monotonic() - began < 300


def test_a_going_run_is_followed_and_its_death_is_seen(tmp_path: Path, looked_at: list[str]) -> None:
    make_settled(tmp_path, 2)
    run = make_run(tmp_path, "going", age_seconds=-9)
    sleeper = subprocess.Popen(sleeping(run))
    try:
        write_process(run, "cpu", pid=sleeper.pid)
        watch = RunsWatch(tmp_path)
        assert whole(watch).summaries[0].status is RunStatus.LIVE
        with MetricsWriter(run.metrics) as writer:
            writer.event(StageStarted("fit", 0, 3, 10, 0, False))
            writer.event(epoch(1, 0.7))
            view = watch.refresh()
            assert (set(view.changed), view.summaries[0].val_accuracy) == ({run.id}, 0.7)
            writer.event(epoch(2, 0.8))
        assert watch.refresh().summaries[0].val_accuracy == 0.8
        settle(run)
        watch.refresh()
    finally:
        sleeper.kill()
        sleeper.wait()
    before = len(looked_at)
    view = watch.refresh()
    assert view.summaries[0].status is RunStatus.LOST
    assert len(looked_at) == before
    finish(run)
    assert watch.refresh().summaries[0].status is RunStatus.FINISHED


def test_metrics_are_read_on_from_where_they_ended(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    reader = HistoryReader(path)
    assert reader.read().epochs("val") == ()
    with MetricsWriter(path) as writer:
        writer.event(epoch(1, 0.5))
        assert reader.read().epochs("val") == (epoch(1, 0.5),)
        writer.event(epoch(2, 0.6))
    torn = path.read_bytes()
    path.write_bytes(torn + b'{"t":1,"kind":"epoch","stage"')
    assert reader.read().epochs("val") == (epoch(1, 0.5), epoch(2, 0.6))
    path.write_bytes(torn[: torn.index(b"\n") + 1])
    assert reader.read().epochs("val") == (epoch(1, 0.5),)


def test_settled_runs_are_stored_once(tmp_path: Path) -> None:
    runs = make_settled(tmp_path, 3)
    lost = make_run(tmp_path, "lost", age_seconds=99)
    settle(lost)
    watch = RunsWatch(tmp_path)
    whole(watch)
    stored = (tmp_path / INDEX).stat().st_mtime_ns
    for _ in range(3):
        watch.refresh()
    assert (tmp_path / INDEX).stat().st_mtime_ns == stored
    shutil.rmtree(runs[0].path)
    whole(watch)
    database = sqlite3.connect(tmp_path / INDEX)
    ids = {row[0] for row in database.execute("SELECT id FROM runs")}
    database.close()
    assert ids == {runs[1].id, runs[2].id, lost.id}


def test_a_run_that_changed_a_moment_ago_is_stored_when_it_has_settled(
    tmp_path: Path, looked_at: list[str]
) -> None:
    run = finish(make_run(tmp_path))
    watch = RunsWatch(tmp_path)
    whole(watch)
    settle(run)
    watch.refresh()
    before = len(looked_at)
    assert [summary.id for summary in whole(RunsWatch(tmp_path)).summaries] == [run.id]
    assert len(looked_at) == before
