"""The pictures of the user guide, drawn by the app itself from real runs.

    python docs/make_pictures.py --runs DIR --data DIR
    python docs/make_pictures.py --photos DIR

Runs in `DIR` must be finished ones of recipes/lite_pseudo_*.toml; they are only read. `--photos` draws Label
alone, on a folder whose labelling has begun: it is only read, too.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from pathlib import Path

from textual.pilot import Pilot

from workbench.runs.index import list_runs
from workbench.runs.summary import RunSummary
from workbench.tui.app import PetbenchApp
from workbench.tui.app_session import Session
from workbench.tui.places import (
    ComparePlace,
    ComposePlace,
    InspectPlace,
    LabelPlace,
    Place,
    RunsPlace,
    WatchPlace,
)

PICTURES = Path(__file__).parent / "pictures"
WIDE, NARROW = (160, 44), (80, 24)
_PATIENCE_SECONDS = 60.0


async def main(runs_home: Path, data_home: Path) -> None:
    """Draw every picture."""
    runs = list_runs(runs_home)
    iterative, balanced, one_shot = (
        _named(runs, f"lite_pseudo_{n}") for n in ("iter", "class_balanced", "oneshot")
    )
    PICTURES.mkdir(exist_ok=True)
    wanted: list[tuple[str, Place, tuple[int, int], tuple[str, ...]]] = [
        ("runs", RunsPlace(), WIDE, ("down", "down", "down")),
        ("runs-80x24", RunsPlace(), NARROW, ("down", "down", "down")),
        ("watch", WatchPlace(balanced.id), WIDE, ()),
        ("watch-80x24", WatchPlace(iterative.id), NARROW, ()),
        ("watch-confusion-80x24", WatchPlace(balanced.id), NARROW, ("2",)),
        ("compose", ComposePlace("recipes/lite_pseudo_class_balanced.toml"), WIDE, ()),
        ("compare", ComparePlace((one_shot.id, balanced.id, iterative.id)), WIDE, ()),
        ("inspect", InspectPlace(balanced.id, source="round:1"), WIDE, ()),
        ("inspect-80x24", InspectPlace(balanced.id, source="round:1"), NARROW, ()),
    ]
    for name, place, size, keys in wanted:
        await _draw(name, place, size, keys, runs_home, data_home)


async def labelling(photos: Path) -> None:
    """Draw Label as it stands before the next group."""
    PICTURES.mkdir(exist_ok=True)
    skips = ("s", "s", "s")  # what was drawn by chance while the chooser started
    for name, size in (("label", WIDE), ("label-80x24", NARROW)):
        await _draw(name, LabelPlace(str(photos)), size, skips, photos, photos, seconds=40.0, between=6.0)


async def _draw(
    name: str,
    place: Place,
    size: tuple[int, int],
    keys: tuple[str, ...],
    runs_home: Path,
    data_home: Path,
    seconds: float = 9.0,
    between: float = 0.0,
) -> None:
    app = PetbenchApp(runs_home, data_home, Session(None))
    async with app.run_test(size=size) as pilot:
        await _wait(pilot, lambda: app.view is not None and app.view.complete)
        if not isinstance(place, RunsPlace):
            app.go(place)
        await pilot.pause(seconds)  # pictures, counts and curves come from threads and helper processes
        for key in keys:
            await pilot.press(key)
            await pilot.pause(between)
        await pilot.pause(1.0)
        app.clear_notifications()
        await pilot.pause(0.2)
        print(app.save_screenshot(f"{name}.svg", path=str(PICTURES)))


async def _wait(pilot: Pilot[None], happened: Callable[[], bool]) -> None:
    for _ in range(int(_PATIENCE_SECONDS / 0.1)):
        if happened():
            return
        await pilot.pause(0.1)
    raise TimeoutError


def _named(runs: list[RunSummary], name: str) -> RunSummary:
    return next(run for run in runs if run.name == name and run.test_accuracy is not None)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--photos", type=Path)
    places = parser.parse_args()
    if places.photos is not None:
        asyncio.run(labelling(places.photos.absolute()))
    elif places.runs is None or places.data is None:
        parser.error("--runs and --data, or --photos")
    else:
        asyncio.run(main(places.runs.absolute(), places.data.absolute()))
