"""What helper processes say of backbones and previews: kept in the cache, told in words when they fail."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from tests.tui.compose.conftest import RECIPE
from workbench.recipe import dump_recipe
from workbench.support.errors import UserError
from workbench.support.paths import state_home
from workbench.tui.helper import HelperResult, run_petbench, told_problem
from workbench.tui.screens.compose import augmentation_preview, networks
from workbench.tui.screens.compose.augmentation_preview import PreviewProblem, draw_preview
from workbench.tui.screens.compose.draft import draft_of
from workbench.tui.screens.compose.networks import (
    cached_backbones,
    cached_network,
    fetch_backbones,
    fetch_network,
)


def test_a_backbone_is_asked_for_once_and_then_known(asked: list[tuple[str, ...]]) -> None:
    assert cached_network("resnet18") is None
    network = asyncio.run(fetch_network("resnet18"))
    assert network.group_names == ["stem", "layer1", "layer2", "layer3", "layer4", "head"]
    assert cached_network("resnet18") == network
    assert asyncio.run(fetch_backbones()) == cached_backbones()
    assert len(asked) == 2


def test_groups_that_learn_follow_the_networks_order_and_know_the_words() -> None:
    network = asyncio.run(fetch_network("resnet18"))
    assert network.learning(["head", "layer4"]) == ["layer4", "head"]
    assert network.learning("head") == ["head"]
    assert network.learning("all") == network.group_names
    assert network.learning(3) == []


def test_a_damaged_cache_is_as_good_as_none() -> None:
    asyncio.run(fetch_network("resnet18"))
    file = networks._file("network", "resnet18")
    for damage in ("", "[]", '{"groups": 3}', "{"):
        file.write_text(damage)
        assert cached_network("resnet18") is None


def test_a_backbone_that_there_is_not_is_the_users_mistake_in_full() -> None:
    with pytest.raises(UserError, match="no backbone is called 'resnet19'"):
        asyncio.run(fetch_network("resnet19"))
    assert cached_network("resnet19") is None


def test_a_traceback_goes_to_the_log_and_its_last_line_to_the_screen() -> None:
    result = HelperResult(1, "", "Traceback (most recent call last):\n  File x\nImportError: no torch")
    said = told_problem(result, "preview")
    assert "Traceback" not in said
    assert said.startswith("petbench preview failed: ImportError: no torch\n")
    assert "File x" in (state_home() / "app.log").read_text()


def test_a_preview_is_drawn_once_for_the_same_request(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, ...]] = []

    async def answer(*arguments: str) -> HelperResult:
        asked.append(arguments)
        rows = [{"id": "a", "label": "cat", "plain": "p.png", "views": ["v.png"]}]
        return HelperResult(0, json.dumps({"images": rows}), "")

    monkeypatch.setattr(augmentation_preview, "run_petbench", answer)
    for seed in (0, 0, 1):
        (image,) = asyncio.run(draw_preview("x = 1", desk, images=1, views=1, seed=seed))
        assert image.views == (Path("v.png"),)
    assert len(asked) == 2


def test_old_previews_leave_the_cache(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: str) -> HelperResult:
        return HelperResult(0, '{"images": []}', "")

    monkeypatch.setattr(augmentation_preview, "run_petbench", answer)
    for seed in range(12):
        asyncio.run(draw_preview("x = 1", desk, images=1, views=1, seed=seed))
    assert len(list((desk / "cache" / "preview").iterdir())) == augmentation_preview._KEPT


def test_a_preview_that_petbench_refuses_says_why(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def answer(*_: str) -> HelperResult:
        return HelperResult(2, "", "the data set is not there")

    monkeypatch.setattr(augmentation_preview, "run_petbench", answer)
    with pytest.raises(PreviewProblem, match="not there"):
        asyncio.run(draw_preview("x = 1", desk, images=1, views=1, seed=0))


@pytest.mark.slow
def test_the_real_petbench_answers_what_the_screen_asks(desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks, "run_petbench", run_petbench)
    network = asyncio.run(fetch_network("resnet18"))
    assert network.group_names[-1] == "head"
    assert any(row.name == "resnet18" for row in asyncio.run(fetch_backbones()))
    recipe = draft_of(RECIPE, "mine", Path("recipes/mine.toml")).recipe  # its paths count from recipes/
    assert recipe is not None
    toml = dump_recipe(recipe)
    images = asyncio.run(draw_preview(toml, desk, images=2, views=3, seed=1))
    assert len(images) == 2
    assert all(path.is_file() for image in images for path in (image.plain, *image.views))
