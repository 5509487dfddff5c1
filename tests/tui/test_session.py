"""What the app remembers: kept while it happens, and never in the way when it is damaged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.tui.app_session import Session, session_path
from workbench.tui.places import (
    ComparePlace,
    ComposePlace,
    InspectPlace,
    Place,
    RunsPlace,
    WatchPlace,
    pack_place,
    surviving,
    unpack_place,
)

texts = st.text(max_size=20)
places = st.one_of(
    st.just(RunsPlace()),
    st.builds(ComposePlace, texts),
    st.builds(WatchPlace, texts),
    st.builds(ComparePlace, st.lists(texts, max_size=4).map(tuple)),
    st.builds(InspectPlace, texts, texts, texts, texts),
)


def test_what_is_kept_is_there_in_the_next_session(tmp_path: Path) -> None:
    path = tmp_path / "state" / "app.json"
    first = Session(path)
    first.keep("runs", {"filter": "seed=1", "columns": ["name", "val"]})
    first.save()
    assert Session(path).section("runs") == {"filter": "seed=1", "columns": ["name", "val"]}
    assert Session(path).section("watch") == {}


def test_a_section_changes_only_by_keeping_it(tmp_path: Path) -> None:
    session = Session(tmp_path / "app.json")
    session.keep("runs", {"sort": "name"})
    session.section("runs")["sort"] = "created"
    assert session.section("runs") == {"sort": "name"}


def test_nothing_new_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    session = Session(path)
    session.keep("runs", {"sort": "name"})
    session.save()
    path.unlink()
    session.keep("runs", {"sort": "name"})
    session.save()
    assert not path.exists()


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"version": 99, "runs": {"a": 1}}', '{"version": 1, "runs": [1]}', "[" * 5000]
)
def test_a_damaged_file_starts_an_empty_session(tmp_path: Path, text: str) -> None:
    path = tmp_path / "app.json"
    path.write_text(text)
    session = Session(path)
    assert session.section("runs") == {}
    session.keep("runs", {"a": 1})
    session.save()
    assert json.loads(path.read_text())["runs"] == {"a": 1}


def test_a_session_that_is_no_file_or_nested_too_deep_is_not_waited_for(tmp_path: Path) -> None:
    pipe, deep = tmp_path / "pipe.json", tmp_path / "deep.json"
    os.mkfifo(pipe)
    deep.write_text('{"version": 1, "app": {"a": ' + "[" * 100 + "]" * 100 + "}}")
    assert Session(pipe).section("app") == {}
    assert Session(deep).section("app") == {}


def test_a_place_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.write_text("")
    session = Session(blocker / "app.json")
    session.keep("runs", {"a": 1})
    session.save()
    assert session.section("runs") == {"a": 1}


def test_each_runs_directory_has_a_session_of_its_own(tmp_path: Path) -> None:
    assert session_path(tmp_path / "a") != session_path(tmp_path / "b")
    assert session_path(tmp_path / "a") == session_path(tmp_path / "a")


def windows(path: Path, count: int) -> list[Session]:
    """As many processes would open; a lock is a file's, not a process's, so one may hold several."""
    opened = [Session(path) for _ in range(count)]
    for session in opened:
        session.claim()
    assert [session.window for session in opened] == list(range(1, count + 1))
    return opened


def closed(session: Session) -> None:
    """What the end of its process does."""
    session.save()
    assert session._claim is not None
    os.close(session._claim)


def test_windows_write_over_nothing_of_each_other(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    first, second = windows(path, 2)
    for number in range(3):
        first.keep("compose", {"draft": f"first {number}"})
        second.keep("compose", {"draft": f"second {number}"})
        first.keep("watch", {"tab": number})
        second.save()
        first.save()
    assert first.elsewhere("compose") == [{"draft": "second 2"}]
    assert second.elsewhere("compose") == [{"draft": "first 2"}]
    again = Session(path)
    assert again.section("compose") == {"draft": "first 2"}
    assert again.section("watch") == {"tab": 2}


def test_sections_that_another_process_keeps_are_written_back_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    one, other = Session(path), Session(path)
    one.keep("runs", {"sort": "name"})
    one.save()
    other.keep("compose", {"draft": "x"})
    other.save()
    assert Session(path).section("runs") == {"sort": "name"}
    assert Session(path).section("compose") == {"draft": "x"}


def test_what_a_closed_window_left_is_taken_once_and_what_an_open_one_has_is_not(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    first, second, third = windows(path, 3)
    for session in (second, third):
        session.keep("compose", {"draft": f"of {session.window}"})
        session.save()
    assert first.take_left("compose") == []
    closed(second)
    assert first.take_left("compose") == [{"draft": "of 2"}]
    first.save()
    assert first.take_left("compose") == []
    assert first.elsewhere("compose") == [{"draft": "of 3"}]
    again = Session(path)
    again.claim()
    assert again.window == 2
    assert again.section("compose") == {}


def test_a_further_window_looks_as_the_first_and_works_on_its_own(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    first = Session(path)
    first.claim()
    first.keep("app", {"theme": "petbench-light"})
    first.keep("compose", {"draft": "x"})
    first.save()
    second = Session(path)
    second.claim()
    assert second.section("app") == {"theme": "petbench-light"}
    assert second.section("compose") == {}


def test_beginning_afresh_leaves_other_windows_what_they_have(tmp_path: Path) -> None:
    path = tmp_path / "app.json"
    first, second = windows(path, 2)
    first.keep("compose", {"draft": "first"})
    first.save()
    second.keep("compose", {"draft": "second"})
    closed(second)
    fresh = Session(path)
    fresh.claim()
    fresh.forget()
    fresh.save()
    assert fresh.section("app") == {}
    assert set(json.loads(path.read_text())) == {"version", "compose"}


def test_a_save_that_a_signal_handler_makes_within_a_save_does_not_wait_for_it(tmp_path: Path) -> None:
    session = Session(tmp_path / "app.json")
    session.keep("runs", {"a": 1})
    with session._turn():
        session.save()
    assert Session(tmp_path / "app.json").section("runs") == {"a": 1}


@given(places)
def test_a_place_survives_json(place: Place) -> None:
    assert unpack_place(json.loads(json.dumps(pack_place(place)))) == place


@pytest.mark.parametrize(
    "values",
    [
        None,
        3,
        {},
        {"kind": "elsewhere"},
        {"kind": "watch", "run": 3},
        {"kind": "watch", "run": ["a"]},
        {"kind": "compare", "runs": "ab"},
        {"kind": "compare", "runs": [1]},
    ],
)
def test_what_is_no_place_is_refused(values: object) -> None:
    assert unpack_place(values) is None


def test_places_of_runs_that_are_gone_are_left_out(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    assert surviving(WatchPlace("a"), tmp_path) == WatchPlace("a")
    assert surviving(WatchPlace("gone"), tmp_path) is None
    assert surviving(InspectPlace("gone"), tmp_path) is None
    assert surviving(ComparePlace(("a", "gone", "b")), tmp_path) == ComparePlace(("a", "b"))
    assert surviving(ComparePlace(("a", "gone")), tmp_path) is None
    assert surviving(ComposePlace("x.toml"), tmp_path) == ComposePlace("x.toml")
