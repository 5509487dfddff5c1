"""Naming a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.runs.making import make_run
from workbench.runs.find import find_run
from workbench.runs.layout import RunDirectory
from workbench.support.errors import UserError


@pytest.fixture
def runs(tmp_path: Path) -> list[RunDirectory]:
    names = ("20261122-120000-teacher-aaaa", "20261121-120000-student-bbbb", "20261120-120000-student-ab12")
    made = []
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "recipe.toml").write_text('name = "x"\n')
        made.append(RunDirectory(tmp_path / name))
    return made


@pytest.mark.parametrize(
    ("query", "place"),
    [
        ("20261122-120000-teacher-aaaa", 0),
        ("aaaa", 0),
        ("BBBB", 1),
        ("teacher", 0),
        ("20261121", 1),
        ("ab12", 2),
        ("teach", 0),
        ("-120000-teacher", 0),
        ("latest", 0),
        ("@1", 0),
        ("@3", 2),
    ],
)
def test_a_run_is_found_by_any_unique_part(
    runs: list[RunDirectory], tmp_path: Path, query: str, place: int
) -> None:
    assert find_run(tmp_path, query) == runs[place]


def test_a_run_is_found_by_path(runs: list[RunDirectory], tmp_path: Path) -> None:
    assert find_run(tmp_path / "elsewhere", str(runs[1].path)).path == runs[1].path
    assert find_run(tmp_path / "elsewhere", f"{runs[1].path}/").path == runs[1].path


def test_an_ambiguous_part_lists_the_candidates(runs: list[RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        find_run(tmp_path, "student")
    assert runs[1].id in str(caught.value)
    assert runs[2].id in str(caught.value)
    assert runs[0].id not in str(caught.value)


def test_an_unknown_name_offers_the_nearest(runs: list[RunDirectory], tmp_path: Path) -> None:
    with pytest.raises(UserError, match=f"did you mean {runs[0].id}"):
        find_run(tmp_path, "techer")


@pytest.mark.parametrize(
    "query", ["", "  ", "@0", "@9", "..", "../../etc", "a\x1b[31mb", "a\x00/b", "\n", "[/b]", "x" * 9000]
)
def test_a_hostile_query_is_one_clear_message(runs: list[RunDirectory], tmp_path: Path, query: str) -> None:
    with pytest.raises(UserError) as caught:
        find_run(tmp_path, query)
    assert "\x1b" not in str(caught.value)
    assert "\x00" not in str(caught.value)


def test_a_home_without_runs_says_so(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no runs here"):
        find_run(tmp_path, "latest")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(query=st.text(max_size=30))
def test_no_query_makes_a_traceback(tmp_path: Path, query: str) -> None:
    home = tmp_path / "home"
    if not home.exists():
        make_run(home)
    try:
        found = find_run(home, query)
    except UserError:
        return
    assert found.recipe.is_file()
