"""What is said about recipes: help for every knob, explanations, differences, fingerprints, scaffolds."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import annotated_types as at
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.recipe.generate import GROUP_NAMES
from workbench.recipe import (
    STRATEGIES,
    Augmentation,
    Data,
    Finetune,
    Model,
    Optimizer,
    Recipe,
    Training,
    allowed_values,
    diff_recipes,
    dump_recipe,
    explain,
    flat,
    flatten,
    knobs_of,
    load_recipe,
    new_recipe_text,
    parse_recipe,
    recipe_fingerprint,
    summary,
)
from workbench.recipe.fields import Table
from workbench.recipe.offline import Noise
from workbench.recipe.strategies.by_confidence import OneShot
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
TABLES: list[type[Table]] = [
    Recipe,
    Data,
    Model,
    Finetune,
    Optimizer,
    Augmentation,
    Training,
    Noise,
    *STRATEGIES.values(),
]


@pytest.mark.parametrize("table", TABLES)
def test_every_knob_has_help_and_says_what_is_allowed(table: type[Table]) -> None:
    for knob in knobs_of(table):
        assert len(knob.help) > 5, knob.key
        assert not knob.help.endswith("."), knob.key
        assert knob.allowed, knob.key
        if knob.default is None and not knob.required and knob.key != "pseudo_label":
            assert knob.unset, f"{knob.key} does not say what leaving it out means"


@pytest.mark.parametrize("table", TABLES)
def test_every_number_has_bounds_that_fit_into_toml(table: type[Table]) -> None:
    for name, field in table.model_fields.items():
        if field.annotation in (int, float, int | None):
            kinds = {type(rule) for rule in field.metadata}
            assert kinds & {at.Ge, at.Gt}, name
            assert kinds & {at.Le, at.Lt}, name


def test_every_strategy_names_itself_and_its_source() -> None:
    for name, strategy in STRATEGIES.items():
        assert strategy.model_fields["strategy"].default == name
        assert strategy.source
        assert knobs_of(strategy)[0].key == "strategy"


def test_allowed_values_of_choices_read_as_toml() -> None:
    assert allowed_values(Optimizer.model_fields["name"]) == '"adam", "adamw" or "sgd"'
    assert allowed_values(Augmentation.model_fields["rotation"]) == "a number from 0 to 180 (degrees)"
    assert allowed_values(Optimizer.model_fields["momentum"]) == "a number from 0 to below 1"
    assert knobs_of(Optimizer)[5].only_if == 'name = "sgd"'


def test_explain_tells_value_default_and_why_a_knob_does_not_count() -> None:
    told = {knob.key: knob for knob in explain(Recipe(name="x", optimizer=Optimizer(learning_rate=1e-3)))}
    rate = told["optimizer.learning_rate"]
    assert (rate.value, rate.default, rate.is_default) == (1e-3, 5e-5, False)
    assert told["optimizer.momentum"].no_effect == 'belongs to name = "sgd"'
    assert told["data.validation_fraction"].unset == "0.2, or 1/folds"
    assert told["schema"].is_default
    assert told["pseudo_label"].value is None


def test_differences_are_resolved_and_show_what_one_side_lacks() -> None:
    left = Recipe(name="a", optimizer=Optimizer(name="adam"))
    right = Recipe(name="a", optimizer=Optimizer(name="sgd"))
    assert [(d.key, d.left, d.right) for d in diff_recipes(left, right)] == [
        ("optimizer.name", "adam", "sgd"),
        ("optimizer.momentum", None, 0.9),
    ]
    assert diff_recipes(left, left) == []


def test_the_fingerprint_forgets_names_and_keeps_what_decides_the_outcome() -> None:
    plain = Recipe(name="a")
    renamed = Recipe(name="b", description="c", tags=("d",), training=Training(checkpoint_seconds=5.0))
    assert recipe_fingerprint(renamed) == recipe_fingerprint(plain)
    assert recipe_fingerprint(Recipe(name="a", seed=1)) != recipe_fingerprint(plain)
    assert recipe_fingerprint(Recipe(name="a", pseudo_label=OneShot(labels_per_class=4))) != (
        recipe_fingerprint(plain)
    )
    explicit = Recipe(name="a", optimizer=Optimizer(learning_rate=5e-5))
    assert recipe_fingerprint(explicit) == recipe_fingerprint(plain)


def test_flat_keys_are_dotted_down_to_the_last_table() -> None:
    recipe = Recipe(name="x", optimizer=Optimizer(layer_rates={"head": 0.1}), finetune=Finetune(layers="all"))
    assert flat(recipe)["optimizer.layer_rates.head"] == 0.1
    assert flat(recipe)["finetune.layers"] == "all"
    assert flatten({"a": {"b": {"c": 1}, "d": {}}, "e": [2]}) == {"a.b.c": 1, "e": [2]}


@pytest.mark.parametrize("strategy", [None, *STRATEGIES])
def test_a_new_recipe_is_valid_and_explains_every_knob(strategy: str | None) -> None:
    text = new_recipe_text("mine", "resnet18", "sample", strategy)
    recipe = parse_recipe(text)
    assert (recipe.name, recipe.model.backbone, recipe.data.dataset) == ("mine", "resnet18", "sample")
    assert (recipe.pseudo_label.strategy if recipe.pseudo_label else None) == strategy
    words = " ".join(text.replace("#", " ").split())
    for knob in explain(recipe):
        assert " ".join(knob.help.split()) in words
        if knob.value is None:
            assert " ".join(knob.unset.split()) in words
    assert max(map(len, text.splitlines())) <= 100


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=80))
def test_a_new_recipe_takes_any_name(name: str) -> None:
    assert parse_recipe(new_recipe_text(name)).name == name


def test_a_new_recipe_needs_known_words() -> None:
    with pytest.raises(UserError, match="did you mean iterative"):
        new_recipe_text("x", strategy="iteratve")
    with pytest.raises(UserError, match=r'data\.dataset cannot be "smple"'):
        new_recipe_text("x", dataset="smple")
    with pytest.raises(UserError, match="needs root"):
        new_recipe_text("x", dataset="folder")
    assert parse_recipe(new_recipe_text("x", dataset="folder", root="pets")).data.root == "pets"


def test_shipped_recipes_are_there() -> None:
    assert {path.stem for path in SHIPPED} >= {
        "quickstart",
        "paper_final",
        "binary",
        "pseudo_oneshot",
        "pseudo_iter",
        "lite_full",
        "lite_binary",
        "lite_pseudo_oneshot",
        "lite_pseudo_iter",
        "lite_pseudo_class_balanced",
    }


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_recipe_is_named_after_its_file_and_survives_dump_and_load(path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.description
    assert parse_recipe(dump_recipe(recipe)) == recipe
    assert recipe.model.backbone_words in summary(recipe)


HEAD = {"finetune": {"layers": "head"}, "augmentation": {"random_crop": False, "flip": False}}
FOUR = ("centre", "full", "squash", "close")


@pytest.mark.parametrize(
    ("changes", "views"),
    [
        ({}, ("centre",)),
        (HEAD, FOUR),
        (HEAD | {"data": {"evaluation_views": ["centre"]}}, ("centre",)),
        (HEAD | {"augmentation": {}}, ("centre",)),
        (HEAD | {"finetune": {"layers": ["layer4", "head"]}}, ("centre",)),
        (HEAD | {"data": {"head_crops": "add"}}, ("centre",)),
        (HEAD | {"pseudo_label": {"strategy": "one_shot", "labels_per_class": 4}}, FOUR),
        (HEAD | {"pseudo_label": {"strategy": "fixmatch", "labels_per_class": 4}}, ("centre",)),
        (
            {
                "augmentation": {"rotation": 5.0},
                "finetune": HEAD["finetune"],
                "data": {"augmented_copies": 2},
            },
            ("centre",),
        ),
    ],
)
def test_views_that_nobody_sets_are_four_where_their_features_are_kept(
    changes: dict[str, Any], views: tuple[str, ...]
) -> None:
    recipe = Recipe.model_validate({"name": "a", **changes})
    assert recipe.evaluation_views == views
    assert flat(recipe)["data.evaluation_views"] == list(views)
    assert parse_recipe(dump_recipe(recipe)) == recipe
    told = {knob.key: knob for knob in explain(recipe)}["data.evaluation_views"]
    assert told.is_default == ("evaluation_views" not in changes.get("data", {}) or views == told.default)


def test_a_run_older_than_the_views_keeps_its_one_view(tmp_path: Path) -> None:
    text = "\n".join(
        line
        for line in dump_recipe(Recipe.model_validate({"name": "a", **HEAD})).splitlines()
        if line not in ("evaluation_views = [", "]") and line.strip(' ",') not in FOUR
    )
    assert "evaluation_views" not in text
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "recipe.toml").write_text(text)
    assert load_recipe(tmp_path / "recipe.toml").evaluation_views == ("centre",)
    (tmp_path / "copy.toml").write_text(text)
    assert load_recipe(tmp_path / "copy.toml").evaluation_views == FOUR


def test_cpu_pseudo_label_recipes_train_the_head_on_fixed_views() -> None:
    for path in SHIPPED:
        if path.stem.startswith("lite_pseudo"):
            recipe = load_recipe(path)
            assert recipe.finetune.layers == ("head",)
            assert not recipe.augmentation.changes_images


@given(
    st.recursive(
        st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(codec="utf-8")) | st.dates(),
        lambda inner: st.lists(inner) | st.dictionaries(GROUP_NAMES, inner),
        max_leaves=5,
    )
)
def test_a_literal_parses_to_the_same_value(value: object) -> None:
    assert tomllib.loads(f"v = {toml_literal(value)}") == {"v": value}
