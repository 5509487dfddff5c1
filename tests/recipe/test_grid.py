"""A grid: every combination once, each named after what sets it apart."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.recipe import RecipeError, expand_grid, expand_grid_text, parse_grid, parse_recipe
from workbench.recipe.grid import MOST_POINTS, split_values
from workbench.recipe.literals import toml_literal
from workbench.support.errors import UserError

TEXT = 'name = "base"\n[optimizer]\nname = "sgd"\n'


def test_a_grid_holds_every_combination_and_the_last_key_varies_fastest(tmp_path: Path) -> None:
    path = tmp_path / "base.toml"
    path.write_text(TEXT)
    points = expand_grid(path, {"optimizer.learning_rate": ["1e-5", "5e-5"], "seed": ["0", "1"]})
    assert [(p.recipe.optimizer.learning_rate, p.recipe.seed) for p in points] == [
        (1e-5, 0),
        (1e-5, 1),
        (5e-5, 0),
        (5e-5, 1),
    ]
    assert points[1].changes == ("optimizer.learning_rate=1e-5", "seed=1")


def test_each_point_is_named_after_what_sets_it_apart(tmp_path: Path) -> None:
    path = tmp_path / "base.toml"
    path.write_text(TEXT)
    points = expand_grid(path, {"optimizer.learning_rate": ["1e-5"], "seed": ["0", "1"]})
    assert [p.recipe.name for p in points] == [
        "base/learning_rate=1e-05,seed=0",
        "base/learning_rate=1e-05,seed=1",
    ]


def test_a_last_part_that_is_also_a_recipes_own_key_is_told_in_full() -> None:
    points = expand_grid_text(TEXT, "x", {"optimizer.name": ["adam", "sgd"], "model.dropout": ["0.1"]})
    assert points[0].recipe.name == "base/optimizer.name=adam,dropout=0.1"


def test_a_points_changes_laid_over_the_recipe_give_the_points_recipe() -> None:
    grid = {"finetune.layers": ['["head"]', '["layer4", "head"]'], "optimizer.momentum": ["0.5", "0.9"]}
    for point in expand_grid_text(TEXT, "x", grid, ["seed=7"]):
        again = parse_recipe(TEXT, "x", ["seed=7", *point.changes])
        assert again.model_copy(update={"name": point.recipe.name}) == point.recipe
        assert point.recipe.seed == 7


def test_long_names_keep_within_the_schemas_limit_and_stay_apart() -> None:
    text = f'name = "{"n" * 80}"\n'
    points = expand_grid_text(text, "x", {"seed": ["0", "1"]})
    assert [p.recipe.name[-7:] for p in points] == ["/seed=0", "/seed=1"]
    layers = ['["layer4", "layer3", "layer2", "layer1", "stem", "head"]', '["layer4", "layer3", "head"]']
    grid = {"finetune.layers": layers, "optimizer.learning_rate": ["0.000012345", "0.000054321"]}
    long = expand_grid_text(text, "x", grid)
    names = [p.recipe.name for p in [*points, *long]]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 80 for name in names)
    assert all(parse_recipe(f"name = {toml_literal(name)}").name == name for name in names)


@pytest.mark.parametrize(
    ("grid", "changes", "said"),
    [
        ({"seed": []}, [], "no values"),
        ({"seed": ["1", "1"]}, [], "1 is there twice"),
        ({"optimizer.learning_rate": ["1e-3", "0.001"]}, [], "0.001 is there twice"),
        ({"name": ["a", "b"]}, [], "makes no run different"),
        ({"seed": ["1", "2"]}, ["seed=3"], "seed is in the grid too"),
        ({"pseudo_label.noise": ["{}"], "pseudo_label.noise.dropout": ["0.1"]}, [], "is in the grid too"),
        ({"seed": [str(i) for i in range(26)], "data.fold": [str(i) for i in range(20)]}, [], "520 runs"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused(
    grid: dict[str, list[str]], changes: list[str], said: str
) -> None:
    with pytest.raises(UserError, match=said):
        expand_grid_text(TEXT, "x", grid, changes)


def test_a_grid_may_have_five_hundred_points_and_no_more() -> None:
    grid = {"seed": [str(i) for i in range(MOST_POINTS)]}
    assert len(expand_grid_text(TEXT, "x", grid)) == MOST_POINTS


def test_a_value_that_the_schema_refuses_names_its_key() -> None:
    with pytest.raises(RecipeError, match=r"optimizer\.momentum cannot be 2"):
        expand_grid_text(TEXT, "x", {"optimizer.momentum": ["0.9", "2.0"]})
    with pytest.raises(RecipeError, match=r"no such key: optimizer\.lr"):
        expand_grid_text(TEXT, "x", {"optimizer.lr": ["1e-3"]})


def test_true_and_one_are_two_values_though_python_calls_them_equal() -> None:
    with pytest.raises(RecipeError, match="seed cannot be true"):
        expand_grid_text(TEXT, "x", {"seed": ["1", "true"]})


def test_commas_part_values_but_not_inside_lists_tables_and_quotes() -> None:
    assert split_values("1e-5, 5e-5 ,1e-4") == ("1e-5", "5e-5", "1e-4")
    assert split_values('["a", "b"], "all",{a = 1, b = 2}') == ('["a", "b"]', '"all"', "{a = 1, b = 2}")
    assert split_values("'a,b',c") == ("'a,b'", "c")
    assert split_values(" , ") == ()


@given(
    st.lists(
        st.one_of(st.integers(0, 99), st.text("ab,[{\"'\\", max_size=6), st.lists(st.integers())), max_size=5
    )
)
def test_values_written_as_toml_come_apart_as_they_were(values: list[object]) -> None:
    written = [toml_literal(value) for value in values]
    assert split_values(", ".join(written)) == tuple(written)


def test_words_of_the_command_line_make_the_grid() -> None:
    grid = parse_grid(["optimizer.learning_rate=1e-5,5e-5", 'finetune.layers=["head"],["layer4","head"]'])
    assert grid == {
        "optimizer.learning_rate": ("1e-5", "5e-5"),
        "finetune.layers": ('["head"]', '["layer4","head"]'),
    }


@pytest.mark.parametrize("words", [["seed"], ["=1,2"], ["seed=1", "seed=2"]])
def test_words_that_are_no_grid_are_refused_with_an_example(words: list[str]) -> None:
    with pytest.raises(UserError):
        parse_grid(words)
