"""The Label screen: strokes by key and mouse, what the file says then, and what others do meanwhile."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from textual import events

from tests.runs.making import make_run
from tests.tui.driving import bench, opened, said, screen_text, settle
from tests.tui.hostile import FORBIDDEN
from tests.tui.label.conftest import EngineOptions
from tests.tui.label.labelling import (
    journal,
    labelling,
    labels,
    press,
    screen_of,
    settled,
    shown,
    typed,
    until,
)
from workbench.jobs import Launched
from workbench.labels.journal import NAME, Row, append
from workbench.labels.strokes import Assign, make_stroke
from workbench.recipe import Recipe
from workbench.tui.app_session import Session
from workbench.tui.helper import HelperResult
from workbench.tui.places import LabelPlace, WatchPlace
from workbench.tui.screens.label import LabelScreen
from workbench.tui.screens.label.label_sheet import Kind

A = ["a0.png", "a1.png", "a2.png", "a3.png"]
B = ["b0.png", "b1.png", "b2.png", "b3.png"]


def group(letter: str, but: str = "") -> list[str]:
    return [f"{letter}{n}.png" for n in range(4) if f"{letter}{n}.png" != but]


async def test_a_group_is_labelled_at_a_stroke_and_the_next_one_lies_ready(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        assert len({name[0] for name in first}) == 1
        assert f"alike: they begin with {first[0][0]}" in screen_text(pilot)
        ready = screen_of(pilot).desk.ahead
        assert ready is not None
        await pilot.press("n")
        await settle(pilot)
        await typed(pilot, "dog")
        assert shown(pilot) == [image.path for image in ready.images]
        await settled(pilot)
        assert labels(photos) == dict.fromkeys(first, "dog")
        text = screen_text(pilot)
        assert f"1 dog{' ' * 12}" in text
        assert f"last: dog: {len(first)} images" in text
        second = shown(pilot)
        await press(pilot, "1")
        assert labels(photos) == dict.fromkeys([*first, *second], "dog")
        assert {row.by for row in journal(photos).rows} == {"ann"}


async def test_what_does_not_fit_is_ticked_off_and_can_be_given_a_class_of_its_own(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        await press(pilot, "right", "space")
        assert f"{len(first) - 1} of {len(first)} ticked" in screen_text(pilot)
        await pilot.press("p")
        await settle(pilot)
        await typed(pilot, "cow")
        await settled(pilot)
        left = [first[0], *first[2:]]
        assert labels(photos) == {first[1]: "cow"}
        assert shown(pilot) == left
        await press(pilot, "asterisk", "space")  # none, then the one under the cursor
        cursor = screen_of(pilot).grid.cursor
        await press(pilot, "1")
        assert labels(photos) == {first[1]: "cow", left[cursor]: "cow"}


async def test_everything_can_be_done_with_the_mouse(photos: Path) -> None:
    make_stroke(photos / NAME, Assign(["a0.png"], "dog"), "ann")
    async with labelling(photos) as pilot:
        first = shown(pilot)
        await pilot.click("#grid", offset=(screen_of(pilot).grid.tiling.tile_width + 3, 3))
        await settle(pilot)
        assert screen_of(pilot).sheet is not None
        assert shown(pilot)[1] not in screen_of(pilot).sheet.ticked  # type: ignore[union-attr]
        await pilot.click("#classes", offset=(4, 0))
        await settled(pilot)
        assert labels(photos) == dict.fromkeys(["a0.png", first[0], *first[2:]], "dog")
        await pilot.click("#classes", offset=(17, 0))  # the count
        await settled(pilot)
        assert screen_of(pilot).sheet.kind is Kind.CLASS  # type: ignore[union-attr]
        assert sorted(shown(pilot)) == sorted(labels(photos))


async def test_enter_accepts_the_guesses_and_the_file_says_that_a_model_had_them(photos: Path) -> None:
    make_stroke(photos / NAME, Assign(["a0.png", "b0.png", "c0.png"], "dog"), "ann")
    async with labelling(photos) as pilot:
        first = shown(pilot)
        assert ".71 " in screen_text(pilot)
        await press(pilot, "enter")
        rows = {row.path: row for row in journal(photos).rows[3:]}
        assert sorted(rows) == sorted(first)
        assert {(row.class_name, row.by, row.confidence) for row in rows.values()} == {
            ("dog", "model:ann", 0.71)
        }


async def test_not_usable_and_cannot_tell_are_kept_apart(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        await press(pilot, "x")
        second = shown(pilot)
        await press(pilot, "question_mark")
        assert journal(photos).unusable == first
        assert journal(photos).cannot_tell == second
        assert not labels(photos)
        await pilot.press("f1")
        await settle(pilot)
        assert "Label: what the keys do" in screen_text(pilot)


async def test_undo_goes_back_to_the_beginning_also_after_a_restart(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        await pilot.press("n")
        await settle(pilot)
        await typed(pilot, "dog")
        await settled(pilot)
        second = shown(pilot)
        await press(pilot, "1")
        await press(pilot, "u")
        assert labels(photos) == dict.fromkeys(first, "dog")
        assert shown(pilot) == second
        assert "taken back: was dog" in screen_text(pilot)
    async with labelling(photos) as pilot:
        await press(pilot, "backspace")
        assert not labels(photos)
        assert sorted(shown(pilot)) == sorted(first)
        await press(pilot, "u")
        assert "all your strokes are taken back already" in said(pilot)
        assert len(journal(photos).rows) == 2 * len(first + second)  # nothing was ever taken out


async def test_a_name_typed_at_once_behind_the_key_that_asks_for_it_is_whole(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        for letter in "nsnub":  # s skips, u takes back, where the question were not open yet
            pilot.app.post_message(events.Key(letter, letter))
        pilot.app.post_message(events.Key("enter", "\r"))
        await until(pilot, lambda: bool(labels(photos)))
        await settled(pilot)
        assert labels(photos) == dict.fromkeys(first, "snub")


@pytest.mark.parametrize("name", ["?", "!", " ", "x" * 81, "dog\u202e"])
async def test_a_name_that_no_class_can_have_gets_one_message_and_writes_nothing(
    photos: Path, name: str
) -> None:
    async with labelling(photos) as pilot:
        await pilot.press("n")
        await settle(pilot)
        line = pilot.app.screen.query_one("Input")
        line.value = name  # type: ignore[attr-defined]
        await settle(pilot)
        await pilot.press("enter")
        await settle(pilot)
        text = screen_text(pilot)
        assert "no class can be called" in text or "type a name" in text
        await pilot.press("escape")
        await settle(pilot)
        assert not (photos / NAME).exists()


async def test_typing_completes_a_class_that_there_is_and_makes_another_only_when_meant(photos: Path) -> None:
    make_stroke(photos / NAME, Assign(["a0.png"], "doghouse"), "ann")
    async with labelling(photos) as pilot:
        first = shown(pilot)
        await pilot.press("slash")
        await settle(pilot)
        await typed(pilot, "dog")
        await settled(pilot)
        assert labels(photos) == dict.fromkeys(["a0.png", *first], "doghouse")
        second = shown(pilot)
        await pilot.press("n")
        await settle(pilot)
        await typed(pilot, "dog")
        await settled(pilot)
        third = shown(pilot)
        await pilot.press("n")
        await settle(pilot)
        await typed(pilot, "DOG")  # the same class, however it is spelled
        await settled(pilot)
        assert {labels(photos)[path] for path in (*second, *third)} == {"dog"}


async def test_labelling_goes_on_when_the_engine_dies_and_a_key_starts_another(
    photos: Path, engine: EngineOptions
) -> None:
    engine(["--dies-at", "2"])
    async with labelling(photos, to_offer=False) as pilot:
        await until(pilot, lambda: screen_of(pilot).desk.ahead is not None)
        await pilot.press("s")
        await until(
            pilot, lambda: "^r restarts the chooser, it ended: no memory for this" in screen_text(pilot)
        )
        await pilot.press("n")
        await settle(pilot)
        await typed(pilot, "dog")
        await settled(pilot)
        (drawn,) = shown(pilot)
        assert "drawn at random: no chooser is there" in screen_text(pilot)
        await press(pilot, "1")
        assert labels(photos)[drawn] == "dog"
        engine([])
        (photos / "later.jpg").write_bytes((photos / drawn).read_bytes())
        await pilot.press("ctrl+r")
        await until(pilot, lambda: "later.jpg" in screen_of(pilot).desk.listing)
        await until(pilot, lambda: screen_of(pilot).desk.ahead is not None)
        assert "it ended" not in screen_text(pilot)


async def test_an_engine_that_says_nothing_keeps_nobody_waiting(photos: Path, engine: EngineOptions) -> None:
    engine(["--silent"])
    async with labelling(photos, to_offer=False) as pilot:
        for number in range(4):
            await until(pilot, lambda: len(shown(pilot)) == 1)
            (drawn,) = shown(pilot)
            if number == 0:
                await pilot.press("n")
                await settle(pilot)
                await typed(pilot, "dog")
            else:
                await pilot.press("1")
            await until(pilot, lambda drawn=drawn: drawn in labels(photos))  # type: ignore[misc]
        assert len(labels(photos)) == 4


async def test_what_another_pane_writes_is_seen_and_no_longer_ticked(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        make_stroke(photos / NAME, Assign([first[0]], "cow"), "bob")
        await until(pilot, lambda: "cow (bob)" in screen_text(pilot))
        assert first[0] not in screen_of(pilot).sheet.ticked  # type: ignore[union-attr]
        await press(pilot, "1")
        assert labels(photos) == dict.fromkeys(first, "cow")
        assert [row.by for row in journal(photos).history(first[0])] == ["bob"]
        await press(pilot, "u")
        assert labels(photos) == {first[0]: "cow"}  # of the own strokes only


async def test_a_class_is_looked_at_split_renamed_and_merged(photos: Path) -> None:
    make_stroke(photos / NAME, Assign(A, "dog"), "ann")
    make_stroke(photos / NAME, Assign(B, "cow"), "ann")
    async with labelling(photos) as pilot:
        offer = shown(pilot)
        await press(pilot, "tab", "enter")
        assert sorted(shown(pilot)) == A
        assert "class: all images of dog" in screen_text(pilot)
        await press(pilot, "space", "right", "space")
        picked = shown(pilot)[:2]
        await pilot.press("p")
        await settle(pilot)
        await typed(pilot, "puppy")
        await settled(pilot)
        assert [path for path, name in labels(photos).items() if name == "puppy"] == sorted(picked)
        await pilot.press("r")
        await settle(pilot)
        await typed(pilot, "puppy")  # narrows the list
        await settle(pilot)
        await pilot.press(*["backspace"] * 5)
        await typed(pilot, "whelp")
        await until(pilot, lambda: "whelp" in labels(photos).values())
        await pilot.press("r")
        await settle(pilot)
        await typed(pilot, "whelp")
        await pilot.press(*["backspace"] * 5, *"cow", "enter")
        await settle(pilot)
        assert "there is a class 'cow'" in screen_text(pilot)
        await pilot.press("escape")
        await settle(pilot)
        await pilot.press("m")
        await settle(pilot)
        await typed(pilot, "whelp")
        await typed(pilot, "cow")
        await until(pilot, lambda: "whelp" not in labels(photos).values())
        assert sorted(path for path, name in labels(photos).items() if name == "cow") == sorted([*picked, *B])
        await press(pilot, "escape")
        assert shown(pilot) == offer


async def test_a_second_look_shows_labels_that_the_model_does_not_believe(photos: Path) -> None:
    make_stroke(photos / NAME, Assign(["a0.png", "a1.png", "b0.png"], "dog"), "ann")
    async with labelling(photos) as pilot:
        await pilot.press("d")
        await until(pilot, lambda: screen_of(pilot).sheet.kind is Kind.SECOND_LOOK)  # type: ignore[union-attr]
        assert shown(pilot) == ["a1.png", "b0.png"]
        assert "→ .93 cow" in screen_text(pilot)
        await press(pilot, "1")  # it is a dog
        assert shown(pilot) == ["b0.png"]
        await press(pilot, "enter")  # and this is a cow
        assert labels(photos) == {"a0.png": "dog", "a1.png": "dog", "b0.png": "cow"}
        assert screen_of(pilot).sheet.kind is Kind.OFFER  # type: ignore[union-attr]


async def test_a_stroke_that_cannot_be_written_is_said_and_its_images_come_back(photos: Path) -> None:
    async with labelling(photos) as pilot:
        first = shown(pilot)
        (photos / NAME).write_text("a table of mine\n")
        await pilot.press("n")
        await settle(pilot)
        await typed(pilot, "dog")
        await until(pilot, lambda: any("no journal of labels" in words for words in said(pilot)))
        await settled(pilot)
        assert shown(pilot) == first
        assert (photos / NAME).read_text() == "a table of mine\n"


async def test_skipped_images_come_after_all_others_and_orders_take_turns(photos: Path) -> None:
    async with labelling(photos) as pilot:
        seen: list[str] = []
        for _ in range(2):
            seen += shown(pilot)
            await press(pilot, "s")
        assert not set(seen) & set(shown(pilot))
        assert not labels(photos)
        await press(pilot, "o")
        assert "typical first ▾" in screen_text(pilot)
        await press(pilot, "z")
        assert screen_of(pilot).grid.tiling.per_page < len(shown(pilot))
        assert "in sight" in screen_text(pilot)


async def test_when_every_image_has_its_word_the_screen_says_what_can_be_done(photos: Path) -> None:
    make_stroke(photos / NAME, Assign([*A, *B, "c0.png", "c1.png", "c2.png"], "dog"), "ann")
    async with labelling(photos, to_offer=False) as pilot:
        assert shown(pilot) == ["c3.png"]
        await press(pilot, "1")
        await until(pilot, lambda: "Every image here has its word" in screen_text(pilot))
        assert len(labels(photos)) == 12
        await press(pilot, "1")
        assert "no image is shown" in said(pilot)


async def test_a_folder_is_asked_for_completed_and_remembered(photos: Path, home: Path) -> None:
    (photos.parent / "phone").mkdir()
    session = Session(None)
    async with opened(home, session=session) as pilot:
        await pilot.press("L")
        await until(pilot, lambda: "Label the images of" in screen_text(pilot))
        await typed(pilot, str(photos.parent / "nothing"))
        assert "no such folder" in " ".join(screen_text(pilot).split())
        await pilot.press(*["backspace"] * len("nothing"), *"pho")
        await settle(pilot)
        text = screen_text(pilot)
        assert "phone/" in text
        assert "photos/" in text
        await pilot.press("down", "tab")
        await settle(pilot)
        await pilot.press("enter")
        await until(pilot, lambda: bool(shown(pilot)))
        assert screen_of(pilot).folder == photos
        assert bench(pilot)._places[-1] == LabelPlace(str(photos))
        assert session.section("label")["folder"] == str(photos)


@pytest.fixture
def proposals(monkeypatch: pytest.MonkeyPatch) -> list[asyncio.Future[HelperResult]]:
    """What is asked of `petbench label --recipe`, to be answered by the test."""
    asked: list[asyncio.Future[HelperResult]] = []

    async def ask(*arguments: str) -> HelperResult:
        assert arguments[0] == "label"
        assert arguments[2:] == ("--recipe", "--json")
        asked.append(asyncio.get_running_loop().create_future())
        return await asked[-1]

    monkeypatch.setattr(LabelScreen, "ask_helper", staticmethod(ask))
    return asked


def two_classes(photos: Path) -> None:
    make_stroke(photos / NAME, Assign(A, "dog"), "ann")
    make_stroke(photos / NAME, Assign(B[:3], "cow"), "ann")


async def test_a_recipe_that_cannot_be_is_refused_in_its_own_words(
    photos: Path, proposals: list[asyncio.Future[HelperResult]]
) -> None:
    two_classes(photos)
    async with labelling(photos) as pilot:
        await pilot.press("L")
        await until(pilot, lambda: len(proposals) == 1)
        proposals[0].set_result(HelperResult(2, "", "too few labels"))
        await until(pilot, lambda: "too few labels" in said(pilot))


async def test_the_recipe_is_shown_launched_and_watched(
    photos: Path, proposals: list[asyncio.Future[HelperResult]], monkeypatch: pytest.MonkeyPatch
) -> None:
    two_classes(photos)
    recipe = photos.parent / "recipe.toml"
    recipe.write_text('schema = 1\nname = "photos"\n[data]\ndataset = "sample"\n')
    launched: list[str] = []

    def launch(found: Recipe, home: Path, **_: object) -> Launched:
        launched.append(found.name)
        return Launched(make_run(home, found.name), 0)

    monkeypatch.setattr("workbench.jobs.launch", launch)
    async with labelling(photos) as pilot:
        await pilot.press("L")
        await until(pilot, lambda: len(proposals) == 1)
        told = json.dumps({"file": str(recipe), "reasons": ["small enough for a CPU"]})
        proposals[0].set_result(HelperResult(0, told, ""))
        await until(pilot, lambda: "· small enough for a CPU" in screen_text(pilot))
        await pilot.press("y")
        await until(pilot, lambda: isinstance(bench(pilot)._places[-1], WatchPlace))
        assert launched == ["photos"]


async def test_a_second_press_leaves_the_first_to_look(
    photos: Path, proposals: list[asyncio.Future[HelperResult]]
) -> None:
    two_classes(photos)
    async with labelling(photos) as pilot:
        await pilot.press("L")
        await until(pilot, lambda: len(proposals) == 1)
        await press(pilot, "L")
        await until(pilot, lambda: "the images are being looked at" in said(pilot))
        told = json.dumps({"file": str(photos.parent / "recipe.toml"), "reasons": ["why"]})
        proposals[0].set_result(HelperResult(0, told, ""))
        await until(pilot, lambda: "Train on these labels?" in screen_text(pilot))
        assert len(proposals) == 1
        await pilot.press("escape")


async def test_who_labels_on_is_not_asked_by_surprise(
    photos: Path, proposals: list[asyncio.Future[HelperResult]]
) -> None:
    two_classes(photos)
    recipe = photos.parent / "recipe.toml"
    async with labelling(photos) as pilot:
        await pilot.press("L")
        await until(pilot, lambda: len(proposals) == 1 and bool(shown(pilot)))
        before = len(labels(photos))
        await press(pilot, "1")
        await until(pilot, lambda: len(labels(photos)) > before)
        proposals[0].set_result(HelperResult(0, json.dumps({"file": str(recipe), "reasons": ["why"]}), ""))
        await until(pilot, lambda: any("L shows and launches it" in words for words in said(pilot)))
        assert "Train on these labels?" not in screen_text(pilot)
        await pilot.press("L")
        await until(pilot, lambda: "Train on these labels?" in screen_text(pilot))
        assert len(proposals) == 1
        await pilot.press("escape")


async def test_names_from_a_file_cannot_drive_the_terminal(photos: Path) -> None:
    poison = "\x1b]0;pwned\x07 \u202eEVIL"
    append(photos / NAME, [Row("a0.png", poison, poison), Row("b0.png", "[@click=app.quit]dog[/]", "eve")])
    async with labelling(photos, size=(160, 48)) as pilot:
        await press(pilot, "tab", "enter")
        text = screen_text(pilot)
        assert "pwned" in text
        assert "[@click" in text
        assert not any(bad.decode("latin-1") in text for bad in FORBIDDEN if bad.isascii())
        assert "\u202e" not in text


async def test_images_that_have_nothing_in_common_come_one_by_one(
    photos: Path, engine: EngineOptions
) -> None:
    engine(["--by-chance"])
    async with labelling(photos) as pilot:
        assert len(shown(pilot)) == 1
