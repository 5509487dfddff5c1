"""A folder of twelve pictures in three groups, and an engine that knows them by their names."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from workbench.tui.screens.label import LabelScreen

FAKE_ENGINE = Path(__file__).with_name("fake_engine.py")
COLOURS = {"a": (200, 60, 40), "b": (60, 160, 70), "c": (60, 90, 200)}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """`a0.png` … `a3.png`, `b0.png` … `c3.png`."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for letter, colour in COLOURS.items():
        for number in range(4):
            image = Image.new("RGB", (64, 48), colour)
            ImageDraw.Draw(image).ellipse((8 + 4 * number, 8, 40, 40), fill=(230, 220, 200))
            image.save(folder / f"{letter}{number}.png")
    return folder


EngineOptions = Callable[[Sequence[str]], None]


@pytest.fixture(autouse=True)
def engine(monkeypatch: pytest.MonkeyPatch) -> EngineOptions:
    """No test of the screen needs torch. Called, it has engines started from then on with other options."""

    def use(options: Sequence[str]) -> None:
        command = (sys.executable, str(FAKE_ENGINE))
        monkeypatch.setattr(
            LabelScreen, "engine", staticmethod(lambda folder, _: (*command, str(folder), *options))
        )

    use(())
    return use
