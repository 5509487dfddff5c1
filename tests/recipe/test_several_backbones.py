"""`model.backbone` as a list: how it is written, what does not go with it, how it is told."""

from __future__ import annotations

import pytest

from workbench.recipe import Recipe, parse_recipe, recipe_fingerprint
from workbench.recipe.dump import dump_recipe, flat
from workbench.recipe.explain import summary
from workbench.recipe.problems import RecipeError
from workbench.recipe.source import parse_grid
from workbench.recipe.sweep import parse_sweep

TEXT = """\
schema = 1
name = "several"
[model]
backbone = ["resnet18", "resnet34"]
[pseudo_label]
labelled_fraction = 0.1
"""
NAMES = ("resnet18", "resnet34")


def test_a_list_of_names_survives_dump_and_load() -> None:
    recipe = parse_recipe(TEXT)
    assert recipe.model.backbones == NAMES
    assert parse_recipe(dump_recipe(recipe)) == recipe
    assert flat(recipe)["model.backbone"] == list(NAMES)
    assert "resnet18+resnet34" in summary(recipe)


def test_the_order_of_trunks_makes_another_recipe() -> None:
    turned = parse_recipe(TEXT, overrides=['model.backbone=["resnet34", "resnet18"]'])
    assert recipe_fingerprint(turned) != recipe_fingerprint(parse_recipe(TEXT))


@pytest.mark.parametrize(
    ("typed", "backbone"),
    [
        ("resnet50", "resnet50"),
        ('"resnet50"', "resnet50"),
        ("resnet50,resnet34", ("resnet50", "resnet34")),
        ('["resnet50", "resnet34"]', ("resnet50", "resnet34")),
    ],
)
def test_set_takes_a_name_or_several(typed: str, backbone: str | tuple[str, ...]) -> None:
    assert parse_recipe(TEXT, overrides=[f"model.backbone={typed}"]).model.backbone == backbone


@pytest.mark.parametrize(
    ("change", "key", "said"),
    [
        ('model.backbone=["resnet18", "resnet18"]', "model.backbone", "twice"),
        ('model.backbone=["resnet18"]', "model.backbone", "a list of 2 to 8 different names"),
        ("model.backbone=7", "model.backbone", "text of 1 to 120 characters or a list"),
        ('model.weights="IMAGENET1K_V1"', "model.weights", 'must be "default" or "none"'),
        ('model.weights="mine.pth"', "model.weights", 'must be "default" or "none"'),
        ("model.stochastic_depth=0.2", "model.stochastic_depth", "stay frozen"),
        ('finetune.layers="all"', "finetune.layers", 'must be "head"'),
        ('finetune.layers=["resnet18", "head"]', "finetune.layers", 'must be "head"'),
        ('finetune.batch_norm="all"', "finetune.batch_norm", 'must be "tuned" or "frozen"'),
        ('finetune.batch_norm_statistics="all"', "finetune.batch_norm_statistics", '"tuned" or "frozen"'),
        (
            "pseudo_label.noise={stochastic_depth = 0.1}",
            "pseudo_label.noise.stochastic_depth",
            "must be 0",
        ),
    ],
)
def test_what_does_not_go_with_several_is_told(change: str, key: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TEXT, overrides=[change])
    (problem,) = caught.value.problems
    assert key.startswith(problem.key) and problem.key  # noqa: PT018
    assert said in str(problem)


def test_a_sweep_sets_one_trunk_beside_several() -> None:
    text = TEXT + '[sweep]\n"model.backbone" = ["resnet18", ["resnet18", "resnet34"]]\n'
    assert [run.recipe.model.backbones for run in parse_sweep(text).runs] == [("resnet18",), NAMES]


def test_a_grid_sets_one_trunk_beside_several() -> None:
    grid = parse_grid(['model.backbone=resnet18,["resnet18", "resnet34"]'])
    points = parse_sweep(TEXT, "recipe", grid).runs
    assert [point.recipe.model.backbones for point in points] == [("resnet18",), NAMES]


def test_norms_that_learn_beside_the_head_leave_no_features_fixed() -> None:
    plain = ["augmentation.random_crop=false", "augmentation.flip=false"]

    def is_fixed(*changes: str) -> bool:
        recipe: Recipe = parse_recipe(TEXT, overrides=['model.backbone="vit_b_16"', *plain, *changes])
        return recipe.sees_fixed_features

    assert is_fixed()
    assert not is_fixed("finetune.layer_norm='all'")
