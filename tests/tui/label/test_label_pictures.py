"""How Label looks, as text: every state at both sizes."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from textual.pilot import Pilot

from tests.tui.driving import NARROW, WIDE, opened, settle
from tests.tui.label.conftest import EngineOptions
from tests.tui.label.labelling import labelling, press, screen_of, until
from workbench.labels.journal import NAME, Row, append
from workbench.tui.places import LabelPlace
from workbench.tui.screens.label.label_sheet import Kind

Snapshot = Callable[[Pilot[None], str], None]


@pytest.fixture
def begun(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with two classes, an image that nobody can tell, and one that is not usable."""
    monkeypatch.chdir(photos.parent)
    words = {"a0.png": "fly agaric", "b0.png": "parasol", "b1.png": "parasol", "c0.png": "?", "c1.png": "!"}
    for minute, (path, name) in enumerate(words.items()):
        append(photos / NAME, [Row(path, name, "ann", datetime(2026, 11, 22, 11, minute, tzinfo=UTC))])
    return photos


@pytest.fixture(autouse=True)
def _short_title(monkeypatch: pytest.MonkeyPatch) -> None:
    """The folder of a test has another name each time."""
    monkeypatch.setattr("workbench.tui.screens.label.screen.short_path", lambda path: path.name)


async def know(pilot: Pilot[None]) -> None:
    """Wait for what the engine knows of the labels."""
    await until(pilot, lambda: screen_of(pilot).desk.learned is not None)
    await settle(pilot)


@pytest.mark.parametrize("size", [NARROW, WIDE])
@pytest.mark.parametrize(
    ("state", "keys"),
    [("group", ["right", "space"]), ("class", ["tab", "down", "enter"]), ("larger", ["z", "z"])],
)
async def test_images_before_a_labeller(
    begun: Path, snapshot: Snapshot, size: tuple[int, int], state: str, keys: list[str]
) -> None:
    async with labelling(begun, size=size) as pilot:
        await know(pilot)
        await press(pilot, *keys)
        snapshot(pilot, f"label-{state}")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_second_look(begun: Path, snapshot: Snapshot, size: tuple[int, int]) -> None:
    async with labelling(begun, size=size) as pilot:
        await know(pilot)
        await pilot.press("d")
        await until(pilot, lambda: screen_of(pilot).sheet.kind is Kind.SECOND_LOOK)  # type: ignore[union-attr]
        await settle(pilot)
        snapshot(pilot, "label-second-look")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_name_is_typed(begun: Path, snapshot: Snapshot, size: tuple[int, int]) -> None:
    async with labelling(begun, size=size) as pilot:
        await know(pilot)
        await pilot.press("n", *"para")
        await settle(pilot)
        snapshot(pilot, "label-name")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_one_image_by_chance_where_no_process_chooses(
    begun: Path, snapshot: Snapshot, size: tuple[int, int], engine: EngineOptions
) -> None:
    engine(["--dies-at", "1"])
    async with labelling(begun, size=size, to_offer=False) as pilot:
        await until(
            pilot, lambda: not screen_of(pilot).chooser.is_there and screen_of(pilot).chooser.trouble != ""
        )
        await press(pilot, "s")
        pilot.app.clear_notifications()
        await settle(pilot)
        snapshot(pilot, "label-alone")


@pytest.mark.parametrize("size", [NARROW, WIDE])
async def test_a_folder_without_an_image(
    tmp_path: Path, home: Path, snapshot: Snapshot, size: tuple[int, int]
) -> None:
    folder = tmp_path / "nothing"
    folder.mkdir()
    async with opened(home, place=LabelPlace(str(folder), by="ann"), size=size) as pilot:
        await until(
            pilot, lambda: screen_of(pilot).desk.is_done and screen_of(pilot).chooser.progress is not None
        )
        await settle(pilot)
        snapshot(pilot, "label-no-images")
