"""`petbench review`: verdicts from the command line, checked against the run."""

from __future__ import annotations

import json
import shlex
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import run_command
from tests.cli.conftest import World
from tests.cli.whole import Petbench
from workbench.cli.review import review
from workbench.dataset.review import Correction, Verdict, load_review, record, review_path
from workbench.recipe import load_recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.opinion_columns import Opinion
from workbench.runs.opinions import round_opinions
from workbench.support.errors import UserError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mine.toml"


@pytest.fixture
def pool(world: World) -> list[Opinion]:
    """What the newest round said of the unlabelled images."""
    return list(round_opinions(world.pseudo_labelled, 2).rows)


def _review(world: World, file: Path, *arguments: str) -> dict[str, Any]:
    result = run_command(review, str(world.pseudo_labelled.path), "--file", str(file), "--json", *arguments)
    said: dict[str, Any] = json.loads(result.stdout)
    return said


def test_verdicts_are_recorded_with_what_the_run_had_said(
    world: World, file: Path, pool: list[Opinion]
) -> None:
    first, second, third = pool[:3]
    classes = {row.true for row in pool}
    other = next(name for name in sorted(filter(None, classes)) if name != second.said)
    said = _review(
        world,
        file,
        "--accept",
        first.id,
        "--relabel",
        second.id,
        other,
        "--exclude",
        third.id,
        "--exclude",
        pool[3].id,
    )
    assert said["counts"] == {"accept": 1, "relabel": 1, "exclude": 2}
    run = world.pseudo_labelled.id
    assert load_review(file).corrections == (
        Correction(first.id, Verdict.ACCEPT, first.said, first.said, run),
        Correction(second.id, Verdict.RELABEL, other, second.said, run),
        Correction(third.id, Verdict.EXCLUDE, "", third.said, run),
        Correction(pool[3].id, Verdict.EXCLUDE, "", pool[3].said, run),
    )
    assert said == _review(world, file), "without a verdict it lists"


def test_undo_takes_the_newest_back_and_says_when_there_is_none(
    world: World, file: Path, pool: list[Opinion]
) -> None:
    _review(world, file, "--exclude", pool[0].id)
    _review(world, file, "--accept", pool[0].id)
    assert _review(world, file, "--undo")["undone"]["verdict"] == "accept"
    assert [c.verdict for c in load_review(file).corrections] == [Verdict.EXCLUDE]
    assert _review(world, file, "--undo")["corrections"] == []
    with pytest.raises(UserError, match="nothing to undo"):
        _review(world, file, "--undo")


@pytest.mark.parametrize("verdict", ["--accept", "--exclude"])
def test_an_image_that_is_not_there_is_refused_with_the_nearest_and_nothing_is_written(
    world: World, file: Path, pool: list[Opinion], verdict: str
) -> None:
    with pytest.raises(UserError, match=f"did you mean {pool[0].id}"):
        _review(world, file, "--exclude", pool[1].id, verdict, pool[0].id + "x")
    assert not file.exists()


def test_a_class_that_is_not_there_is_refused_with_the_nearest(
    world: World, file: Path, pool: list[Opinion]
) -> None:
    with pytest.raises(UserError) as raised:
        _review(world, file, "--relabel", pool[0].id, f"{pool[0].said}x")
    assert f"did you mean {pool[0].said}" in str(raised.value)
    assert not file.exists()


def test_what_the_run_never_judged_cannot_be_accepted_and_undo_goes_alone(
    world: World, file: Path, pool: list[Opinion]
) -> None:
    labelled = json.loads(world.pseudo_labelled.split.read_text())["labelled"][0]
    with pytest.raises(UserError, match="nothing to accept") as raised:
        _review(world, file, "--accept", labelled)
    assert f"--relabel {labelled} CLASS" in str(raised.value)
    with pytest.raises(UserError, match="goes alone"):
        _review(world, file, "--undo", "--exclude", pool[0].id)


def test_what_is_printed_is_harmless_whatever_the_file_says(world: World, file: Path) -> None:
    record(
        file, Correction("\x1b]52;c;cGF5\x07[/b]", Verdict.RELABEL, "\u202egpj", said="[red]", run="\x9b2J")
    )
    shown = run_command(review, world.pseudo_labelled.id, "--file", str(file)).stdout
    assert "[/b]" in shown
    assert not {"\x1b", "\x07", "\u202e", "\x9b"} & set(shown)


def test_the_default_file_is_named_for_the_recipe_beside_the_runs(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: list[Opinion]
) -> None:
    runs = tmp_path / "runs"
    shutil.copytree(world.pseudo_labelled.path, runs / world.pseudo_labelled.id)
    monkeypatch.setenv("PETBENCH_RUNS", str(runs))
    said = json.loads(run_command(review, "balanced", "--exclude", pool[0].id, "--json").stdout)
    assert said["file"] == str(review_path(runs, "balanced"))
    assert load_review(Path(said["file"])).corrections[0].id == pool[0].id


def test_the_lines_it_prints_work_as_they_stand(
    world: World, home: Path, petbench: Petbench, pool: list[Opinion], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The recipe line in a recipe, and the relaunch: a run that trains without the excluded image."""
    monkeypatch.setenv("PETBENCH_DATA", str(world.data))
    file = home / "my reviews" / "a.toml"
    file.parent.mkdir()
    said = _review(world, file, "--exclude", pool[0].id)
    assert _value_of(said["recipe_line"]) == str(file)
    program, *arguments = shlex.split(said["relaunch"])
    assert program == "petbench"
    ended = petbench(*arguments)
    assert ended.code == 0, ended.err
    assert "1 excluded" in ended.out
    (made,) = [RunDirectory(path) for path in (home / "runs").iterdir() if (path / "recipe.toml").exists()]
    assert pool[0].id not in json.loads(made.split.read_text())["unlabelled"]
    assert load_recipe(made.recipe).data.corrections == str(file)
    assert load_review(made.corrections) == load_review(file)


def _value_of(line: str) -> str:
    """The value of the `corrections = …` line."""
    value = tomllib.loads(line)["corrections"]
    assert isinstance(value, str)
    return value
