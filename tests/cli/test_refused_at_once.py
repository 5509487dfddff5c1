"""What a run would refuse a second later is refused by every command that looks ahead: nothing is begun."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.whole import Petbench
from tests.jobs.background import cpu_taken
from tests.runs.making import finish, make_run
from tests.train.making import HEAD, PSEUDO, recipe_text
from workbench.runs.layout import RunDirectory, run_directories

COMMANDS = {
    "recipe check": (),
    "launch": (),
    "sweep": ("--set", "sweep.seeds=2"),
    "sweep --background": ("--set", "sweep.seeds=2"),
    "run": (),
}


@pytest.fixture
def recipe(home: Path, sample: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Pseudo-labels on the tiny sample, in a home whose CPU is taken: what is launched all the same waits."""
    monkeypatch.setenv("PETBENCH_STATE", str(home / "state"))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    path = home / "recipe.toml"
    path.write_text(recipe_text(HEAD + PSEUDO, sample))
    with cpu_taken(make_run(home / "elsewhere", "holder")):
        yield path


def finished(home: Path, name: str) -> RunDirectory:
    return finish(make_run(home / "runs", name))


def refused(petbench: Petbench, command: str, recipe: Path, *sets: str) -> str:
    """What is said by a command that has begun nothing."""
    before = run_directories(recipe.parent / "runs")
    changes = [word for change in sets for word in ("--set", change)]
    said = petbench(*command.split(), recipe, *COMMANDS[command], *changes)
    assert said.code == 2, said.out + said.err
    assert run_directories(recipe.parent / "runs") == before
    return " ".join((said.out + said.err).split())


@pytest.mark.parametrize("command", COMMANDS)
def test_folds_of_single_labels(petbench: Petbench, recipe: Path, command: str) -> None:
    sets = ("data.label_folds=2", "pseudo_label.labelled_fraction=0.2")
    told = refused(petbench, command, recipe, *sets)
    assert "data.label_folds" in told
    assert "has one labelled image, as have 9 more classes" in told
    assert "two labels or more of every class" in told


@pytest.mark.parametrize("command", COMMANDS)
def test_teachers_that_are_missing_unfinished_or_named_twice(
    petbench: Petbench, recipe: Path, command: str
) -> None:
    home = recipe.parent
    done, begun = finished(home, "done"), make_run(home / "runs", "begun")

    def told(*names: str) -> str:
        return refused(petbench, command, recipe, f"pseudo_label.teacher={json.dumps(names)}")

    missing = told("done", "nobody")
    assert "pseudo_label.teacher" in missing
    assert "no run 'nobody'" in missing
    unfinished = told("begun")
    assert f"{begun.id} is not finished: it is" in unfinished
    assert f"petbench resume {begun.handle}" in unfinished
    twice = told("done", done.handle)
    assert f"{done.id} is named twice: it would count double" in twice


def test_without_data_a_recipe_is_checked_for_itself_alone(petbench: Petbench, recipe: Path) -> None:
    teacher = 'pseudo_label.teacher=["nobody"]'
    assert petbench("recipe", "check", recipe, "--no-data", "--set", teacher).code == 0


def test_a_recipe_whose_teachers_are_finished_is_valid(petbench: Petbench, recipe: Path) -> None:
    finished(recipe.parent, "done")
    assert petbench("recipe", "check", recipe, "--set", 'pseudo_label.teacher=["done"]').code == 0
