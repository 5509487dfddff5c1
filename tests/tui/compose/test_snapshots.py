"""The Compose screen as it looks, at both sizes, in the states that a person meets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.compose.conftest import RECIPE
from tests.tui.compose.test_screen import MINE, composing, on_field, press, typed
from tests.tui.driving import NARROW, WIDE, opened, settle
from workbench.tui.places import ComposePlace

Snapshot = Callable[[Pilot[None], str], None]
pytestmark = [pytest.mark.asyncio, pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])]


async def test_a_fresh_recipe_without_its_data_set(
    home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(home, place=ComposePlace(), size=size, data_home=Path("/no-data")) as pilot:
        await settle(pilot)
        snapshot(pilot, "compose-fresh")


async def test_from_a_recipe_file(home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        await settle(pilot)
        snapshot(pilot, "compose-recipe")


async def test_the_layer_picker(home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        composing(pilot).show_groups(frozenset({"finetune"}))
        composing(pilot)._form.move_to("layer:layer3")
        await press(pilot, "space")
        await settle(pilot)
        snapshot(pilot, "compose-layers")


async def test_a_value_that_is_refused(
    home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        composing(pilot).show_groups(frozenset({"training"}))
        composing(pilot).set_field("training.epochs", '"many"')
        composing(pilot)._form.move_to("training.epochs")
        await settle(pilot)
        snapshot(pilot, "compose-error")


async def test_a_text_that_is_no_toml(
    home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        composing(pilot).model.set_text(RECIPE + "rounds = = 3\n")
        composing(pilot).show_draft()
        await press(pilot, "n")
        await settle(pilot)
        snapshot(pilot, "compose-broken")


async def test_a_sweep_about_to_be_launched(
    home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        await on_field(pilot, "seed")
        await press(pilot, "w")
        await typed(pilot, "0,1,2")
        await press(pilot, "enter")
        await settle(pilot)
        await press(pilot, "L")
        snapshot(pilot, "compose-sweep")


async def test_the_text_beside_the_form(
    home: Path, desk: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    async with opened(home, place=MINE, size=size) as pilot:
        await on_field(pilot, "finetune.layers")
        await press(pilot, "tab")
        await settle(pilot)
        snapshot(pilot, "compose-toml")
