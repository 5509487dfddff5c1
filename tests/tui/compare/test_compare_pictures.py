"""The Compare screen as it looks in its states, at 80×24 and 160×48."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.runs.making import make_run
from tests.runs.test_curves import write_epochs
from tests.tui.compare.making import failed_run, live_run, two_recipes
from tests.tui.driving import NARROW, WIDE, opened, settle
from workbench.runs.layout import RunDirectory
from workbench.tui.places import ComparePlace

Snapshot = Callable[[Pilot[None], str], None]
State = tuple[Callable[[Path], list[RunDirectory]], str]


def _two(home: Path) -> list[RunDirectory]:
    runs = two_recipes(home)
    return [runs[0], runs[2]]


def _unfinished(home: Path) -> list[RunDirectory]:
    return [two_recipes(home)[0], live_run(home, "study_live"), failed_run(home, "study_failed")]


def _unpaired(home: Path) -> list[RunDirectory]:
    runs = _two(home)
    runs[1].predictions("test").unlink()
    return runs


def _twenty(home: Path) -> list[RunDirectory]:
    return [
        write_epochs(
            make_run(home, f"many_{number:02d}", age_seconds=number), 0.4 + number / 50, 0.5 + number / 50
        )
        for number in range(20)
    ]


def _none(home: Path) -> list[RunDirectory]:
    return []


STATES: dict[str, State] = {
    "two-curves": (_two, "1"),
    "two-recipe": (_two, "2"),
    "two-results": (_two, "3"),
    "two-confusion": (_two, "4"),
    "seeds-results": (two_recipes, "3 s"),
    "unfinished-curves": (_unfinished, "1"),
    "unfinished-results": (_unfinished, "3"),
    "unpaired-results": (_unpaired, "3"),
    "twenty-curves": (_twenty, "1"),
    "empty": (_none, "1"),
}


@pytest.mark.parametrize("size", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("state", STATES)
async def test_a_state_looks_as_it_was_approved(
    home: Path, snapshot: Snapshot, state: str, size: tuple[int, int]
) -> None:
    make, keys = STATES[state]
    place = ComparePlace(tuple(run.id for run in make(home)))
    async with opened(home, place=place, size=size) as pilot:
        for key in keys.split():
            await pilot.press(key)
            await settle(pilot)
        snapshot(pilot, f"compare-{state}")
