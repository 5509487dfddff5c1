"""Run directories and their names."""

from __future__ import annotations

import os
import re
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.runs.making import NOW, make_run
from workbench.runs.layout import RunDirectory, create_run, run_directories
from workbench.support.clean import slug
from workbench.support.errors import UserError


def test_a_run_directory_is_named_by_time_name_and_four_hex_digits(tmp_path: Path) -> None:
    run = create_run(tmp_path / "runs", "pseudo_iter", 'name = "pseudo_iter"\n', NOW)
    assert re.fullmatch(r"20261122-120000-pseudo_iter-[0-9a-f]{4}", run.id)
    assert run.recipe.read_text() == 'name = "pseudo_iter"\n'
    assert (run.slug, run.created) == ("pseudo_iter", NOW)
    assert run.id.endswith(run.handle)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("../../etc/passwd", "etc-passwd"),
        ("two\nlines", "two-lines"),
        ("\x1b[31mred\x1b[0m", "31mred-0m"),
        ("a[/b][bold]", "a-b-bold"),
        ("Résumé", "Resume"),
        ("🐈", "run"),
        (".hidden", "hidden"),
        ("-rf", "rf"),
        ("x" * 300, "x" * 40),
        ("猫\u202ekcab", "kcab"),
    ],
)
def test_a_hostile_name_makes_a_harmless_directory(tmp_path: Path, name: str, expected: str) -> None:
    run = create_run(tmp_path, name, "", NOW)
    assert run.slug == expected
    assert run.path.parent == tmp_path
    assert run_directories(tmp_path) == [run]


@given(st.text())
def test_a_slug_is_a_safe_part_of_a_file_name(name: str) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,39}", slug(name))


def test_runs_made_in_the_same_second_never_share_a_directory(tmp_path: Path) -> None:
    runs = {create_run(tmp_path, "same", "", NOW).path for _ in range(50)}
    assert len(runs) == 50


@pytest.mark.parametrize("names", [("a", "z"), ("z", "a")])
def test_of_runs_made_in_the_same_second_the_last_one_is_the_newest(
    tmp_path: Path, names: tuple[str, str]
) -> None:
    first, second = (create_run(tmp_path, name, "", NOW) for name in names)
    before = second.recipe.stat().st_mtime_ns - 10_000_000  # a file's clock may tick only every 4 ms
    os.utime(first.recipe, ns=(before, before))
    later = create_run(tmp_path, "m", "", NOW + timedelta(seconds=1))
    assert run_directories(tmp_path) == [later, second, first]


def test_a_runs_home_that_is_a_file_is_the_users_mistake(tmp_path: Path) -> None:
    home = tmp_path / "runs"
    home.write_text("")
    with pytest.raises(UserError, match="is a file"):
        create_run(home, "x", "", NOW)
    with pytest.raises(UserError, match="is a file"):
        create_run(home / "deeper", "x", "", NOW)
    with pytest.raises(UserError, match="is a file"):
        run_directories(home)


def test_a_runs_home_that_cannot_be_written_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match="--runs-dir"):
        create_run(Path("/proc/runs"), "x", "", NOW)


def test_only_visible_directories_with_a_recipe_are_runs(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    (tmp_path / "notes").mkdir()
    (tmp_path / "file.txt").write_text("")
    hidden = tmp_path / ".trash" / "x"
    hidden.mkdir(parents=True)
    (hidden / "recipe.toml").write_text("")
    assert run_directories(tmp_path) == [run]
    assert run_directories(tmp_path / "missing") == []


def test_a_directory_renamed_by_hand_still_has_a_name() -> None:
    run = RunDirectory(Path("/x/my best run"))
    assert (run.id, run.handle, run.slug, run.created) == ("my best run",) * 3 + (None,)
    assert RunDirectory(Path("/x/20269999-999999-x-abcd")).created is None


def test_ledgers_are_found_in_the_order_of_rounds(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    for name in ("round-02.csv", "round-10.csv", "round-01.csv", "round-xx.csv"):
        (run.path / "pseudo" / name).write_text("")
    assert [number for number, _ in run.ledgers()] == [1, 2, 10]
    assert run.ledgers()[2][1] == run.ledger(10)


def test_ids_carry_local_time_for_an_aware_moment(tmp_path: Path) -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5).astimezone()
    assert create_run(tmp_path, "x", "", moment).created == datetime(2026, 1, 2, 3, 4, 5)
