"""What a dialog takes, by what was typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.tui.driving import bench, opened, settle
from workbench.tui.screens.dialogs import AskChoice


@pytest.mark.parametrize(
    ("typed", "taken"), [("hiba", "hiba_inu"), ("cat", "Cat"), ("ci", "ocicat"), ("inu s", "shiba_inu")]
)
async def test_what_begins_with_the_typed_words_comes_before_what_has_them_in_the_middle(
    tmp_path: Path, typed: str, taken: str
) -> None:
    answers: list[str | None] = []
    names = ["shiba_inu", "hiba_inu", "ocicat", "cattle", "Cat"]
    async with opened(tmp_path) as pilot:
        asked = AskChoice("Which", [(name, f"{name}  (3)") for name in names])
        bench(pilot).push_screen(asked, answers.append)
        await settle(pilot)
        await pilot.press(*(letter if letter != " " else "space" for letter in typed), "enter")
        await settle(pilot)
    assert answers == [taken]
