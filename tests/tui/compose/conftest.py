"""The Compose screen on recipes and images of the test's own, helper processes answered here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from workbench.tui.helper import HelperResult
from workbench.tui.screens.compose import editors, fact_finder, networks

RESNET18 = {
    "backbone": "resnet18",
    "parameters": 11_195_493,
    "native_size": 224,
    "groups": [
        {"group": "stem", "parameters": 9_536, "batch_norms": 1, "layer_norms": 0},
        {"group": "layer1", "parameters": 147_968, "batch_norms": 4, "layer_norms": 0},
        {"group": "layer2", "parameters": 525_568, "batch_norms": 5, "layer_norms": 0},
        {"group": "layer3", "parameters": 2_099_712, "batch_norms": 5, "layer_norms": 0},
        {"group": "layer4", "parameters": 8_393_728, "batch_norms": 5, "layer_norms": 0},
        {"group": "head", "parameters": 18_981, "batch_norms": 0, "layer_norms": 0},
    ],
}
BACKBONES = [
    {"name": "resnet18", "parameters": 11_689_512, "accuracy": 0.69758, "source": "torchvision"},
    {"name": "resnet152", "parameters": 60_192_808, "accuracy": 0.82284, "source": "torchvision"},
]
RECIPE = """\
# A recipe of the test's own.
schema = 1
name = "mine"

[data]
dataset = "folder"
root = "../pets"
image_size = 64

[model]
backbone = "resnet18"

[finetune]
layers = ["layer4", "head"]   # the top

[training]
epochs = 3

[pseudo_label]
strategy = "iterative"
labelled_fraction = 0.5
"""


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Do not wait for pauses in typing."""
    monkeypatch.setattr(editors, "_TYPING_SECONDS", 0.01)
    monkeypatch.setattr(fact_finder, "_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(fact_finder, "_NAME_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """What was asked of helper processes; real ones load torch for seconds, `test_helpers` starts one."""
    asked: list[tuple[str, ...]] = []

    async def answer(*arguments: str) -> HelperResult:
        asked.append(arguments)
        if arguments[0] == "backbones":
            return HelperResult(0, json.dumps({"backbones": BACKBONES}), "")
        if arguments[-1] == "resnet18":
            return HelperResult(0, json.dumps(RESNET18), "")
        return HelperResult(2, "", f"no backbone is called {arguments[-1]!r}")

    monkeypatch.setattr(networks, "run_petbench", answer)
    return asked


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with `recipes/mine.toml` and a folder data set of three classes."""
    for number, name in enumerate(("cat", "dog", "newt")):
        folder = tmp_path / "pets" / name
        folder.mkdir(parents=True)
        for image in range(8):
            Image.new("RGB", (48, 48), (60 * number, 20 * image, 90)).save(folder / f"{name}_{image}.png")
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes" / "mine.toml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    return tmp_path
