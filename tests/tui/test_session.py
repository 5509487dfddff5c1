"""What the app remembers: kept while it happens, and never in the way when it is damaged."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from workbench.tui.session import Session, session_path

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
