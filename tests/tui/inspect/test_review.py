"""Verdicts: into the review file, on the screen, taken back, and trained with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.tui.driving import bench, opened, said, screen_text, settle
from tests.tui.inspect.making import POOL, place_of
from tests.tui.inspect.test_choosing import ids, press
from tests.tui.inspect.test_grid import screen_of
from workbench import jobs
from workbench.dataset.review import Review, Verdict, load_review, review_path
from workbench.jobs.submission import Submission
from workbench.recipe import Recipe, load_recipe
from workbench.runs.layout import RunDirectory
from workbench.runs.ticket import Ticket, write_ticket
from workbench.tui.places import ComposePlace, Place, WatchPlace


def review_of(run: RunDirectory) -> Review:
    """What the file says."""
    return load_review(review_path(run.path.parent, "lite"))


async def test_accept_writes_what_was_said_and_goes_on_to_the_next(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "a")
        (correction,) = review_of(run).corrections
        assert (correction.id, correction.verdict, correction.label) == (POOL[0], Verdict.ACCEPT, "Bengal")
        assert (correction.said, correction.run) == ("Bengal", run.id)
        assert screen_of(pilot).grid.cursor == 1
        text = screen_text(pilot)
        assert "✔ Bengal" in text
        assert "1 accepted → reviews/lite.toml" in text


async def test_relabel_offers_the_most_probable_classes_first_and_narrows_by_typing(
    run: RunDirectory,
) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "r")
        lines = screen_text(pilot).splitlines()
        offered = [line for line in lines if any(f" {name}  ." in line for name in ("Bengal", "Abyssinian"))]
        assert "Bengal" in offered[0]
        await press(pilot, *"beag", "enter")
        (correction,) = review_of(run).corrections
        assert (correction.verdict, correction.label, correction.said) == (
            Verdict.RELABEL,
            "beagle",
            "Bengal",
        )
        assert "✎ beagle" in screen_text(pilot)


async def test_exclude_and_leaving_the_question(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "x", "r", "escape")
        (correction,) = review_of(run).corrections
        assert (correction.id, correction.verdict, correction.label) == (POOL[0], Verdict.EXCLUDE, "")
        assert "⊘" in screen_text(pilot)


async def test_undo_takes_back_one_after_another_and_goes_to_the_image(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "a", "x", "right", "u")
        assert [c.id for c in review_of(run).corrections] == [POOL[0]]
        assert screen_of(pilot).grid.cursor == 1
        await press(pilot, "u", "u")
        assert review_of(run).corrections == ()
        assert said(pilot)[-1] == "nothing to take back: the review is empty"


async def test_a_verdict_is_given_to_all_marked_images_at_once(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "space", "space", "right", "space")
        assert "◆ 3 marked" in screen_text(pilot)
        await press(pilot, "x")
        assert [c.id for c in review_of(run).corrections] == [POOL[0], POOL[1], POOL[3]]
        assert "3 images excluded" in said(pilot)
        assert "◆" not in screen_text(pilot)
        await press(pilot, "space", "U")
        assert not screen_of(pilot).queue.marked


async def test_verdicts_can_be_given_on_the_large_image(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "enter", "x", "a")
        assert [c.id for c in review_of(run).corrections] == [POOL[0], POOL[1]]
        await press(pilot, "left")
        assert "✔ accepted" in screen_text(pilot)


async def test_a_verdict_on_the_large_image_leaves_marked_ones_that_it_hides_alone(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "space", "space", "enter", "x")
        assert [c.id for c in review_of(run).corrections] == [POOL[2]]
        await press(pilot, "escape", "x")
        assert {c.id for c in review_of(run).corrections} == set(POOL[:3])


async def test_images_with_and_without_a_verdict_are_told_apart(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "a", "a", "v")
        assert ids(pilot) == list(POOL[2:])
        await press(pilot, "x")  # it leaves the list, and the cursor is on the next
        assert ids(pilot) == list(POOL[3:])
        assert screen_of(pilot).grid.cursor == 0
        await press(pilot, "v")
        assert ids(pilot) == list(POOL[:3])


async def test_test_images_are_not_reviewed(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run, "test")) as pilot:
        await press(pilot, "a", "r", "x")
        assert len(said(pilot)) == 3
        assert all("test images measure the run and never train it" in words for words in said(pilot))
        assert review_of(run).corrections == ()


async def test_a_damaged_review_is_told_and_not_overwritten(run: RunDirectory) -> None:
    path = review_path(run.path.parent, "lite")
    path.parent.mkdir()
    path.write_text("schema = 1\n[[correction]]\nid = 3\n")
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        assert "lite.toml" in "".join(screen_text(pilot).split())
        await press(pilot, "a")
        assert "lite.toml" in said(pilot)[-1]
    assert path.read_text() == "schema = 1\n[[correction]]\nid = 3\n"


async def test_relaunch_launches_the_recipe_with_the_corrections(
    run: RunDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    launched: list[Recipe] = []

    def launch(recipe: Recipe, runs_home: Path, **_more: object) -> jobs.Launched:
        launched.append(recipe)
        return jobs.Launched(run, 2)

    monkeypatch.setattr(jobs, "launch", launch)
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        gone: list[Place] = []
        monkeypatch.setattr(bench(pilot), "go", gone.append)
        await press(pilot, "R")
        assert said(pilot) == ["nothing to train with: a accepts, r relabels, x excludes an image"]
        await press(pilot, "a", "R")
        text = " ".join(screen_text(pilot).split())
        assert "Train again with 1 correction?" in text
        assert "petbench launch" in text
        await press(pilot, "n")
        assert launched == []
        await press(pilot, "R", "y")
    (recipe,) = launched
    assert recipe.data.corrections == str(review_path(run.path.parent, "lite"))
    assert recipe.model_copy(update={"data": load_recipe(run.recipe).data}) == load_recipe(run.recipe)
    assert gone == [WatchPlace(run=run.id)]
    assert "waits, 2 in the queue" in said(pilot)[-1]


async def test_a_run_that_slurm_had_is_trained_anew_by_slurm(
    run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_ticket(run, Ticket("lite-1", -1, "played", "me", 0.0, 0, job="7", closed="finished"))
    Path(os.environ["PETBENCH_CONFIG"]).write_text('[cluster]\npartition = "gpu"\n')
    given: list[Submission] = []

    def launch(recipe: Recipe, runs_home: Path, *, slurm: Submission, **_more: object) -> jobs.Launched:
        given.append(slurm)
        return jobs.Launched(run, 0, "40")

    monkeypatch.setattr(jobs, "launch", launch)
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        monkeypatch.setattr(bench(pilot), "go", lambda place: None)
        await press(pilot, "a", "R")
        assert "--engine slurm" in " ".join(screen_text(pilot).split())
        await press(pilot, "y")
        assert "is with Slurm as job 40" in said(pilot)[-1]
    (how,) = given
    assert how.cluster.partition == "gpu"
    assert how.command_line[-2:] == ("--engine", "slurm")


async def test_relaunch_can_go_through_compose(run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        gone: list[Place] = []
        monkeypatch.setattr(bench(pilot), "go", gone.append)
        await press(pilot, "x", "R", "c")
    (place,) = gone
    assert isinstance(place, ComposePlace)
    draft = load_recipe(Path(place.source))
    assert draft.data.corrections == str(review_path(run.path.parent, "lite"))
    assert draft.name == "lite"


async def test_keys_may_come_faster_than_the_disk(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await pilot.press("a", "x", "a", "x")
        assert screen_of(pilot).grid.cursor == 4
        await settle(pilot)
        assert [c.id for c in review_of(run).corrections] == list(POOL[:4])
