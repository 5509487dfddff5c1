"""How Inspect looks, as text: every state at both sizes."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import NARROW, WIDE, opened, settle
from tests.tui.inspect.making import POOL, make_inspectable, place_of
from tests.tui.inspect.test_choosing import press
from workbench.dataset.review import Correction, Verdict, record, review_path
from workbench.runs.layout import RunDirectory
from workbench.tui.screens.inspect import image_panel

Snapshot = Callable[[Pilot[None], str], None]


@pytest.fixture(autouse=True)
def _same_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_panel, "_SETTLE_SECONDS", 0.0)
    monkeypatch.setattr("secrets.token_hex", lambda size: "a1" * size)


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize(
    ("state", "source", "keys"),
    [
        ("grid", "round:2", ["right"]),
        ("large", "round:2", ["enter"]),
        ("neighbours", "round:2", ["enter", "n", "right"]),
        ("filtered", "round:2", ["w", "t", "O"]),
        ("nothing-fits", "round:1", ["w"]),
        ("test-images", "test", ["down"]),
    ],
)
async def test_the_run_is_shown(
    run: RunDirectory, snapshot: Snapshot, size: tuple[int, int], state: str, source: str, keys: list[str]
) -> None:
    async with opened(run.path.parent, place=place_of(run, source), size=size) as pilot:
        await press(pilot, *keys)
        await settle(pilot)
        snapshot(pilot, f"inspect-{state}")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_reviewed_and_marked_images_stand_out(
    run: RunDirectory, snapshot: Snapshot, size: tuple[int, int]
) -> None:
    path = review_path(run.path.parent, "lite")
    record(path, Correction(POOL[0], Verdict.ACCEPT, "Bengal", said="Bengal"))
    record(path, Correction(POOL[1], Verdict.RELABEL, "beagle", said="Bengal"))
    record(path, Correction(POOL[2], Verdict.EXCLUDE, "", said="beagle"))
    async with opened(run.path.parent, place=place_of(run), size=size) as pilot:
        await press(pilot, "right", "right", "right", "space")
        snapshot(pilot, "inspect-review")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_run_without_anything_to_show(
    home: Path, data: Path, snapshot: Snapshot, size: tuple[int, int]
) -> None:
    run = make_inspectable(home, data, finished=False, rounds=0)
    async with opened(home, place=place_of(run), size=size) as pilot:
        await settle(pilot)
        snapshot(pilot, "inspect-empty")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_run_whose_images_are_elsewhere(
    home: Path, data: Path, snapshot: Snapshot, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(data.parent)
    run = make_inspectable(home, data)
    text = run.recipe.read_text().replace(str(data), "/pets/that/were/here")
    run.recipe.write_text(text)
    shutil.rmtree(data)
    async with opened(home, place=place_of(run), size=size) as pilot:
        await settle(pilot)
        snapshot(pilot, "inspect-no-images")
