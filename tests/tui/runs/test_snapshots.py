"""How the Runs screen looks, in every state and at both sizes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import NARROW, WIDE, opened, settle
from tests.tui.runs.states import PSEUDO, a_few, going, made, queued, sleeper
from workbench.runs.notes import change_notes

Snapshot = Callable[[Pilot[None], str], None]
SIZES = pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])


async def typed(pilot: Pilot[None], text: str) -> None:
    """Type a filter."""
    await pilot.press("slash", *text)
    await settle(pilot)


@SIZES
async def test_without_runs(
    home: Path, size: tuple[int, int], snapshot: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(home.parent)
    async with opened(Path("runs"), size=size) as pilot:
        snapshot(pilot, "runs-empty")


@SIZES
async def test_with_a_run_going_and_two_queued(home: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    a_few(home)
    trained = made(home, "pseudo_iter", "bbb1", age_seconds=120, pseudo_label=PSEUDO)
    first = made(home, "pseudo_iter", "bbb2", age_seconds=20, seed=1)
    second = made(home, "pseudo_iter", "bbb3", age_seconds=10, seed=2)
    with sleeper(trained, first, second) as process:
        going(trained, process)
        queued(first, process)
        queued(second, process)
        async with opened(home, size=size) as pilot:
            snapshot(pilot, "runs-live")


@SIZES
async def test_with_a_finished_run_under_the_cursor(
    home: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    newest, *_ = a_few(home)
    change_notes(newest, add=["good"], note="the one for the talk")
    async with opened(home, size=size) as pilot:
        snapshot(pilot, "runs-finished")


@SIZES
async def test_with_a_failed_run_under_the_cursor(
    home: Path, size: tuple[int, int], snapshot: Snapshot
) -> None:
    a_few(home)
    async with opened(home, size=size) as pilot:
        await pilot.press("down", "space")
        await pilot.press("up")
        await settle(pilot)
        snapshot(pilot, "runs-failed")


@SIZES
async def test_with_a_filter(home: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    a_few(home)
    async with opened(home, size=size) as pilot:
        await typed(pilot, "test.accuracy>0.8")
        await pilot.press("enter")
        await settle(pilot)
        snapshot(pilot, "runs-filtered")


@SIZES
async def test_with_a_filter_that_is_wrong(home: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    a_few(home)
    async with opened(home, size=size) as pilot:
        await typed(pilot, "test.acuracy>0.8")
        snapshot(pilot, "runs-filter-error")


@SIZES
async def test_with_a_filter_that_nothing_fits(home: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    a_few(home)
    async with opened(home, size=size) as pilot:
        await typed(pilot, "tag:nobody")
        await pilot.press("enter")
        await settle(pilot)
        snapshot(pilot, "runs-nothing-fits")


@SIZES
async def test_while_columns_are_chosen(home: Path, size: tuple[int, int], snapshot: Snapshot) -> None:
    a_few(home)
    async with opened(home, size=size) as pilot:
        await pilot.press("C", *"macro", "enter")
        await settle(pilot)
        snapshot(pilot, "runs-columns")
