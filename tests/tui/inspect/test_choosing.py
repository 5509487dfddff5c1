"""Inspect's source, order and filters, by keys."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.runs.making import CLASSES
from tests.tui.driving import opened, said, screen_text, settle
from tests.tui.inspect.making import POOL, TEST, make_inspectable, place_of
from tests.tui.inspect.test_grid import screen_of
from workbench.runs.doubt import Doubt
from workbench.runs.layout import RunDirectory
from workbench.runs.sources import SplitSource
from workbench.tui.places import InspectPlace

_NAMED = ("enter", "left", "right", "less_than_sign", "comma")


def ids(pilot: Pilot[None]) -> list[str]:
    """What is shown, in order."""
    return [opinion.id for opinion in screen_of(pilot).queue.shown]


async def press(pilot: Pilot[None], *keys: str) -> None:
    """Press keys one after another, and let the screen follow; not after each letter that is typed."""
    for key in keys:
        await pilot.press(key)
        if len(keys) < 4 or key in _NAMED:
            await settle(pilot)
    await settle(pilot)


async def test_sources_go_from_the_rounds_to_the_splits_and_end_there(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run, "round:1")) as pilot:
        seen = []
        for _ in range(5):
            material = screen_of(pilot).queue.material
            assert material is not None
            assert material.source is not None
            seen.append(material.source.key)
            await press(pilot, "greater_than_sign")
        assert seen == ["round:1", "round:2", "val", "test", "teacher-test"]
        assert said(pilot) == ["this is the last there is to look at"]
        assert screen_of(pilot).place.source == "teacher-test"
        await press(pilot, "comma", "comma", "comma", "comma", "comma")
        assert said(pilot)[-1] == "this is the first there is to look at"


async def test_without_rounds_the_validation_images_come_first_as_on_the_command_line(
    home: Path, data: Path
) -> None:
    run = make_inspectable(home, data, rounds=0)
    async with opened(home, place=InspectPlace(run.id)) as pilot:
        material = screen_of(pilot).queue.material
        assert material is not None
        assert material.source == SplitSource("val")
        assert "‹  validation images  ›" in screen_text(pilot)


async def test_a_source_is_chosen_from_a_list(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "s")
        assert "teacher's test images" in screen_text(pilot)
        await press(pilot, *"teacher's", "enter")
        assert "teacher's test images" in screen_text(pilot)
        assert sorted(ids(pilot)) == sorted(TEST)


async def test_going_to_another_round_keeps_the_image(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "end", "less_than_sign")
        current = screen_of(pilot).current
        assert current is not None
        assert current.id == POOL[23]


@pytest.mark.parametrize("order", [order for order in Doubt if not order.judges_labels])
async def test_every_order_can_be_chosen_and_turned(run: RunDirectory, order: Doubt) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "o", *order.value, "enter")
        assert f"least sure first by {order.value}" in screen_text(pilot)
        doubts = [order.of(opinion) for opinion in screen_of(pilot).queue.shown]
        known = [value for value in doubts if value is not None]
        assert len(known) == len(POOL)
        assert known == sorted(known, reverse=True)
        await press(pilot, "O")
        assert f"surest first by {order.value}" in screen_text(pilot)
        assert [order.of(opinion) for opinion in screen_of(pilot).queue.shown] == sorted(known)


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("w", [POOL[i] for i in range(0, 24, 4)]),
        ("t", [POOL[i] for i in range(0, 24, 2)]),
        ("f", list(POOL[:6])),
    ],
)
async def test_a_flag_is_on_and_off_by_its_key(run: RunDirectory, key: str, expected: list[str]) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, key)
        assert ids(pilot) == expected
        assert "☑" in screen_text(pilot)
        await press(pilot, key)
        assert ids(pilot) == list(POOL)


async def test_a_class_and_a_cell_are_chosen_from_lists(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "c", *"beng", "enter")
        shown = screen_of(pilot).queue.shown
        assert shown
        assert all("Bengal" in (opinion.said, opinion.true) for opinion in shown)
        await press(pilot, "0", "p", "down", "enter")
        pairs = {(opinion.true, opinion.said) for opinion in screen_of(pilot).queue.shown}
        assert len(pairs) == 1
        true, says = pairs.pop()
        assert (screen_of(pilot).place.true, screen_of(pilot).place.said) == (true, says)
        await press(pilot, "p", "home", "enter")
        assert len(ids(pilot)) == len(POOL)


async def test_filters_that_nothing_fits_say_how_to_take_them_off(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run, "round:1")) as pilot:
        await press(pilot, "w")
        assert ids(pilot) == []
        assert "No image fits these filters" in screen_text(pilot)
        await press(pilot, "enter", "a")
        assert said(pilot)[-1] == "no image fits the filters: 0 takes them off"
        await press(pilot, "0")
        assert len(ids(pilot)) == len(POOL)
        await press(pilot, "0")
        assert said(pilot)[-1] == "no filter is on"


async def test_what_only_rounds_know_is_refused_for_splits(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run, "test")) as pilot:
        await press(pilot, "t", "f")
        assert said(pilot) == ["only the pool has pseudo-labels: s chooses a round"] * 2
        assert "selected" not in screen_text(pilot)
        await press(pilot, "o")
        assert "flips" not in screen_text(pilot)


async def test_a_round_filter_is_dropped_on_the_way_to_a_split(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await press(pilot, "f", "greater_than_sign")
        assert len(ids(pilot)) == len(TEST)


async def test_words_can_be_clicked(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run)) as pilot:
        await pilot.click("#filters", offset=(14, 0))
        await settle(pilot)
        assert screen_of(pilot).queue.query.wrong
        await pilot.click("#what", offset=(1, 0))
        await settle(pilot)
        assert "pool, round 1 of 2" in screen_text(pilot)


async def test_classes_of_a_run_are_offered_with_their_numbers(run: RunDirectory) -> None:
    async with opened(run.path.parent, place=place_of(run, "round:1")) as pilot:
        await press(pilot, "c")
        text = screen_text(pilot)
        assert all(f"{name}  (8)" in text for name in CLASSES)
