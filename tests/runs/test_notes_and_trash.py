"""What people do to runs: tag, note, archive, remove, restore."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from tests.runs.making import finish, make_run
from workbench.runs.layout import run_directories
from workbench.runs.leftovers import empty_trash, move_to_trash, restore_run, trashed_runs
from workbench.runs.notes import Notes, change_notes, read_notes
from workbench.runs.process import write_process
from workbench.support.errors import UserError
from workbench.support.toml_text import comments


def test_changes_add_up_and_keep_the_rest(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    assert read_notes(run) == Notes()
    change_notes(run, add=["good", "table1", "good"])
    change_notes(run, note="the \x1b[31mone\n[/b]")
    change_notes(run, archived=True)
    change_notes(run, remove=["good"])
    assert read_notes(run) == Notes(("table1",), "the \x1b[31mone\n[/b]", True)


def test_two_front_ends_at_once_lose_no_tag(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    threads = [
        threading.Thread(target=change_notes, args=(run,), kwargs={"add": [f"t{i}"]}) for i in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(read_notes(run).tags) == {f"t{i}" for i in range(12)}


@pytest.mark.parametrize("tag", ["", "  ", "x" * 61, "bad\udcffbytes"])
def test_a_tag_that_is_none_is_refused(tmp_path: Path, tag: str) -> None:
    run = make_run(tmp_path)
    with pytest.raises(UserError):
        change_notes(run, add=[tag])
    assert not run.notes.exists()


def test_a_tag_that_is_not_there_cannot_be_removed(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    change_notes(run, add=["good"])
    with pytest.raises(UserError, match="good"):
        change_notes(run, remove=["god"])


def test_damaged_notes_are_read_as_none_and_never_overwritten(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    run.notes.write_text("tags = [1, 2]")
    assert read_notes(run) == Notes()
    with pytest.raises(UserError, match="damaged notes"):
        change_notes(run, add=["x"])
    assert run.notes.read_text() == "tags = [1, 2]"


def test_a_changed_note_keeps_the_comments_and_keys_that_others_wrote(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    written = '# mine\ntags = ["a", # why\n  "b"] # tags\nnote = "x" # on it\n# end\n'
    run.notes.write_text(written)
    change_notes(run, note="y", archived=True)
    text = run.notes.read_text()
    assert read_notes(run) == Notes(("a", "b"), "y", True)
    assert comments(text) == comments(written)
    change_notes(run, add=["c"])
    assert read_notes(run) == Notes(("a", "b", "c"), "y", True)
    assert "# mine" in run.notes.read_text()
    assert "# on it" in run.notes.read_text()


def test_a_removed_run_is_out_of_sight_until_it_is_restored(tmp_path: Path) -> None:
    run, other = finish(make_run(tmp_path)), finish(make_run(tmp_path, "other"))
    files = sorted(path.name for path in run.path.iterdir())
    move_to_trash([run, run])
    assert run_directories(tmp_path) == [other]
    assert [trashed.id for trashed in trashed_runs(tmp_path)] == [run.id]
    assert restore_run(tmp_path, "lite") == run
    assert sorted(path.name for path in run.path.iterdir()) == files
    assert trashed_runs(tmp_path) == []


def test_a_running_run_is_not_removed_nor_are_those_named_with_it(tmp_path: Path) -> None:
    live, other = make_run(tmp_path), finish(make_run(tmp_path, "other"))
    write_process(live, "cpu")
    with pytest.raises(UserError, match="running"):
        move_to_trash([other, live])
    assert len(run_directories(tmp_path)) == 2


def test_a_restored_run_never_replaces_another(tmp_path: Path) -> None:
    run = finish(make_run(tmp_path))
    move_to_trash([run])
    run.path.mkdir()
    with pytest.raises(UserError, match="already"):
        restore_run(tmp_path, run.id)
    with pytest.raises(UserError, match="no run 'nothing'"):
        restore_run(tmp_path, "nothing")


def test_what_is_in_the_trash_cannot_be_removed_again(tmp_path: Path) -> None:
    [moved] = move_to_trash([finish(make_run(tmp_path))])
    with pytest.raises(UserError, match="already"):
        move_to_trash([moved])


def test_emptying_the_trash_deletes_what_it_holds_and_follows_no_link(tmp_path: Path) -> None:
    home, outside = tmp_path / "runs", tmp_path / "precious"
    outside.mkdir()
    (outside / "file").write_text("keep")
    move_to_trash([finish(make_run(home))])
    (home / ".trash" / "link").symlink_to(outside)
    assert empty_trash(home) == 2
    assert (outside / "file").read_text() == "keep"
    assert list((home / ".trash").iterdir()) == []
    assert empty_trash(home) == 0


def test_a_trash_that_is_a_link_is_not_emptied(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("keep")
    (tmp_path / ".trash").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="link"):
        empty_trash(tmp_path)
    assert (tmp_path / "elsewhere" / "file").exists()


def test_a_note_clears_what_a_killed_writer_of_notes_left(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    left = run.path / ".notes.toml.4194000-0123abcd.tmp"
    left.touch()
    change_notes(run, note="a")
    assert not left.exists()
