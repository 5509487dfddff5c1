"""Inspect on a run that learned from a labelled folder: verdicts are labels in the folder's journal."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from tests.runs.making import NOW
from tests.tui.driving import WIDE, opened, said, screen_text, settle
from tests.tui.inspect.making import POOL, TEST, make_inspectable, place_of
from tests.tui.inspect.test_choosing import press
from workbench.dataset.review import review_path
from workbench.labels.journal import Journal, Row, append, read
from workbench.labels.strokes import Assign, make_stroke, person
from workbench.runs.layout import RunDirectory
from workbench.tui.screens.inspect.material import read_material
from workbench.tui.screens.inspect.questions import relaunch_of


@pytest.fixture
def labels(data: Path) -> Path:
    """The journal: the test images were labelled before the run was made, nothing is said of the pool."""
    path, when = data / "labels.csv", NOW - timedelta(days=30)
    append(path, [Row(image, image.partition("/")[0], "bob", when) for image in TEST])
    return path


@pytest.fixture
def run(home: Path, data: Path, labels: Path) -> RunDirectory:
    """A run on it."""
    made = make_inspectable(home, data)
    text = made.recipe.read_text().replace('"folder"', '"table"').replace(str(data), str(labels))
    made.recipe.write_text(text)
    return made


def said_of(journal: Journal, image: str) -> tuple[str, str]:
    row = journal.current[image]
    return row.class_name, row.by


async def test_verdicts_are_labels_and_may_name_new_classes(run: RunDirectory, labels: Path) -> None:
    async with opened(run.path.parent, place=place_of(run), size=WIDE) as pilot:
        await press(pilot, "a")
        await pilot.press("r")
        await settle(pilot)
        await pilot.press(*"?")
        await settle(pilot)
        assert "no class can be called" in screen_text(pilot)
        await pilot.press("backspace", *"Manx")
        await settle(pilot)
        assert "new: Manx" in screen_text(pilot)
        await pilot.press("enter")
        await settle(pilot)
        await press(pilot, "x")
        text = screen_text(pilot)
        assert "1 relabelled" in text
        assert "1 excluded" in text
        assert "labels.csv" in text
    journal = read(labels)
    assert said_of(journal, POOL[0]) == ("Bengal", f"model:{person()}")
    assert journal.current[POOL[0]].confidence == pytest.approx(0.44, abs=0.01)
    assert said_of(journal, POOL[1]) == ("Manx", person())
    assert journal.unusable == [POOL[2]]
    assert not review_path(run.path.parent, "lite").exists()


async def test_undo_stops_at_what_was_said_before_the_run(run: RunDirectory, labels: Path) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        before = read(labels).labels
        await press(pilot, "a", "u")
        assert read(labels).labels == before
        await press(pilot, "u", "u")
        assert read(labels).labels == before
        assert any("taken back: accepted" in words for words in said(pilot))


def test_the_same_recipe_trains_with_them(run: RunDirectory, labels: Path) -> None:
    make_stroke(labels, Assign([POOL[0]], "Manx"), "ann")
    relaunch = relaunch_of(read_material(run, "", run.path.parent))
    assert relaunch.recipe.data.corrections == ""
    assert relaunch.command == f"petbench launch {run.recipe}"
    assert relaunch.corrections == 1
