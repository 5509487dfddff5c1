"""[sweep]: what it expands to, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.recipe import (
    Recipe,
    RecipeError,
    load_recipe,
    new_recipe_text,
    parse_recipe,
    recipe_fingerprint,
)
from workbench.recipe.dump import dump_recipe
from workbench.recipe.load import SweepGiven
from workbench.recipe.source import Change, Grid, parse_grid, split_values
from workbench.recipe.sweep import MOST_RUNS, Sweep, load_sweep, parse_sweep
from workbench.recipe.sweep_table import Prune, SweepTable, finer_values
from workbench.support.errors import UserError
from workbench.support.toml_text import toml_literal

BASE = """
name = "base"
[model]
backbone = "resnet18"
[training]
epochs = 8
"""
RATES = '"optimizer.learning_rate" = [1e-5, 1e-4, 1e-3]\n'


def _sweep(table: str, *changes: Change, base: str = BASE) -> Sweep:
    return parse_sweep(f"{base}[sweep]\n{table}", "r.toml", changes)


def _numbers(count: int) -> str:
    return ",".join(map(str, range(count)))


def _grid(*words: str, base: str = BASE, changes: tuple[Change, ...] = ()) -> Sweep:
    return parse_sweep(base, "r.toml", [*changes, *parse_grid(words)])


def _refusal(table: str, *changes: str) -> UserError:
    with pytest.raises(UserError) as caught:
        _sweep(table, *changes)
    return caught.value


def test_every_combination_becomes_a_run_and_the_runs_of_a_point_stand_together() -> None:
    sweep = _sweep("seeds = 2\n" + RATES)
    assert [(run.point, run.repeat) for run in sweep.runs[:3]] == [
        ("learning_rate=1e-05", "seed=0"),
        ("learning_rate=1e-05", "seed=1"),
        ("learning_rate=0.0001", "seed=0"),
    ]
    assert len(sweep.runs) == 6
    assert sweep.points == ("learning_rate=1e-05", "learning_rate=0.0001", "learning_rate=0.001")
    assert sweep.runs[0].recipe.name == "base/learning_rate=1e-05,seed=0"
    assert dict(sweep.runs[2].settings) == {"optimizer.learning_rate": 1e-4}


def test_a_seed_is_the_runs_and_the_splits() -> None:
    recipes = [run.recipe for run in _sweep("seeds = [3, 7]").runs]
    assert [(recipe.seed, recipe.data.split_seed) for recipe in recipes] == [(3, 3), (7, 7)]


def test_folds_make_a_run_a_fold_and_one_point() -> None:
    sweep = _sweep("folds = 4")
    assert [(run.recipe.data.folds, run.recipe.data.fold) for run in sweep.runs] == [
        (4, 0),
        (4, 1),
        (4, 2),
        (4, 3),
    ]
    assert sweep.points == ("",)


def test_cases_set_several_keys_under_one_name() -> None:
    sweep = _sweep(
        "[sweep.cases.plain]\naugmentation.random_crop = false\naugmentation.flip = false\n"
        '[sweep.cases.turned]\n"augmentation.rotation" = 20.0\n'
    )
    plain, turned = (run.recipe.augmentation for run in sweep.runs)
    assert sweep.points == ("plain", "turned")
    assert (plain.random_crop, plain.flip, plain.rotation) == (False, False, 0.0)
    assert (turned.random_crop, turned.flip, turned.rotation) == ((0.5, 1.0), True, 20.0)


def test_a_run_of_a_sweep_is_the_recipe_that_set_would_make() -> None:
    by_sweep = _sweep(RATES).runs[1].recipe
    by_set = parse_recipe(BASE, overrides=["optimizer.learning_rate=1e-4"])
    assert recipe_fingerprint(by_sweep) == recipe_fingerprint(by_set)
    assert "sweep" not in dump_recipe(by_sweep)
    assert parse_recipe(dump_recipe(by_sweep)) == by_sweep


def test_keys_may_be_written_as_tables_and_changed_by_set() -> None:
    assert (
        _sweep("optimizer.learning_rate = [1e-3, 1e-2]").points
        == _sweep('"optimizer.learning_rate" = [1e-3, 1e-2]').points
    )
    assert len(_sweep(RATES + "seeds = 2", "sweep.seeds=5").runs) == 15
    assert parse_sweep(BASE, "r.toml", ["sweep.seeds=2"]).points == ("",)


def test_one_run_is_refused_as_a_sweep_and_a_sweep_as_one_run(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="petbench run") as caught:
        parse_sweep(BASE, "r.toml")
    assert "no [sweep]" in str(caught.value)
    path = tmp_path / "s.toml"
    path.write_text(f"{BASE}[sweep]\nseeds = 2\n")
    with pytest.raises(SweepGiven, match="petbench sweep") as given:
        load_recipe(path)
    assert given.value.where.endswith("s.toml:7")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ('"optimizer.learning_rat" = [1.0]', "did you mean optimizer.learning_rate"),
        ('"optimizer.learning_rate" = [1e-4, "fast"]', 'optimizer.learning_rate cannot be "fast"'),
        ('"optimizer.learning_rate" = 1e-4', "a list of values"),
        ('"optimizer.learning_rate" = []', "a list of values"),
        ('"optimizer.learning_rate" = [1e-4, 0.0001]', "is there twice"),
        ("seds = 3", "did you mean sweep.seeds?"),
        ("seeds = 0", "sweep.seeds cannot be 0"),
        ("seeds = true", "sweep.seeds cannot be true"),
        ("seeds = [1, 1]", "names a seed twice"),
        ("seeds = []", "allowed: a whole number from 1 to 100 or a list of seeds"),
        ("seeds = [-1]", "sweep.seeds cannot be [-1]"),
        ("folds = 2.0", "sweep.folds cannot be 2.0 (a number)"),
        ("cases = {}", "tables of settings, such as [sweep.cases.plain]"),
        ("cases = { plain = 3 }", "sweep.cases.plain cannot be 3"),
        ("prune = 3", "a table, [sweep.prune]"),
        (RATES + 'refine = { key = "optimizer.learning_rate", steps = 0 }', "from 1 to 20"),
        ("folds = 1", "sweep.folds cannot be 1"),
        ("cases = 3", "sweep.cases cannot be 3"),
        ('name = ["a", "b"]', "makes no run different"),
        ("", "nothing to vary"),
        (RATES + "prune = { epoch = 2 }", "did you mean sweep.prune.epochs?"),
        (RATES + "prune = { epochs = 8 }", "sweep.prune.epochs from 1 to 7"),
        (RATES + "prune = { keep = 1.5 }", "sweep.prune.keep cannot be 1.5"),
        ("seeds = 2\nprune = { epochs = 2 }", "there is one point"),
        (RATES + 'refine = { key = "seed" }', 'allowed: "optimizer.learning_rate"'),
        (RATES + "refine = { steps = 2 }", "sweep.refine.key is missing"),
        ("seeds = 2\nseed = [0, 1]", "seed is set by sweep.seed too"),
        ("seed = [" + ", ".join(map(str, range(501))) + "]", "at most 500 runs"),
    ],
)
def test_what_cannot_be_is_named(table: str, said: str) -> None:
    assert said in str(_refusal(table))


def test_all_that_is_wrong_in_a_table_is_told_at_once_each_with_its_line() -> None:
    error = _refusal("seeds = 0\nfolds = 1\nprune = { epoch = 2 }")
    assert isinstance(error, RecipeError)
    assert [(one.line, one.key) for one in error.problems] == [
        (8, "sweep.seeds"),
        (9, "sweep.folds"),
        (10, "sweep.prune.epoch"),
    ]


def test_a_sweep_that_is_no_table_is_refused() -> None:
    with pytest.raises(RecipeError, match=r"sweep cannot be 3\nallowed: a table, \[sweep\]"):
        parse_sweep("sweep = 3\n" + BASE)


def test_a_mistyped_sweep_is_told_what_was_meant() -> None:
    with pytest.raises(RecipeError, match=r"did you mean sweep\?"):
        parse_recipe(f"{BASE}[sweap]\nseeds = 2\n")


def test_a_new_recipe_explains_the_table_and_has_none() -> None:
    text = new_recipe_text("mine", dataset="sample")
    assert parse_recipe(text).name == "mine"
    for key in SweepTable.model_fields:
        assert f"\n# {key} = …" in text


def test_a_wrong_value_is_placed_in_the_sweep_not_where_the_recipe_has_the_key() -> None:
    error = _refusal('seeds = 2\n"training.epochs" = [4, "many"]')
    assert error.where == "r.toml:9"


def test_a_swept_key_cannot_be_set_beside() -> None:
    assert "--set optimizer.learning_rate=1" in str(_refusal(RATES, "optimizer.learning_rate=1"))


def test_the_looks_of_halving_come_ever_later() -> None:
    assert Prune(epochs=2, keep=0.5).looks(20) == (2, 4, 8, 16)
    assert Prune(epochs=3, keep=1 / 3).looks(20) == (3, 9)
    assert [Prune(epochs=1, keep=0.5).survivors(points) for points in (5, 4, 2, 1)] == [3, 2, 1, 1]


def test_the_finer_search_lies_between_the_best_and_its_neighbours() -> None:
    finer = finer_values([1e-5, 1e-4, 1e-3], 1e-4, 2)
    assert finer == [2.2e-05, 4.6e-05, 0.00022, 0.00046]
    assert finer_values([1e-5, 1e-4], 1e-5, 1) == [3.2e-06, 3.2e-05]  # past the end of the grid


def test_the_finer_search_keeps_the_best_points_other_settings_and_every_seed() -> None:
    sweep = _sweep(
        "seeds = 2\n" + RATES + 'refine = { key = "optimizer.learning_rate", steps = 1 }\n'
        "[sweep.cases.plain]\naugmentation.flip = false\n[sweep.cases.flipped]\naugmentation.flip = true\n"
    )
    finer = sweep.around("flipped,learning_rate=0.0001")
    assert [run.point for run in finer[::2]] == [
        "flipped,learning_rate=3.2e-05",
        "flipped,learning_rate=0.00032",
    ]
    assert {run.recipe.seed for run in finer} == {0, 1}
    assert all(isinstance(run.recipe, Recipe) and run.recipe.augmentation.flip for run in finer)
    assert _sweep(RATES).around("learning_rate=0.0001") == ()


def test_a_grid_is_a_sweep_that_the_command_line_makes() -> None:
    by_grid = _grid("optimizer.learning_rate=1e-5,1e-4,1e-3", "seed=0,1").runs
    by_table = _sweep(RATES + "seed = [0, 1]").runs
    assert [run.recipe for run in by_grid] == [run.recipe for run in by_table]
    assert [(run.point, run.repeat) for run in by_grid] == [(run.point, run.repeat) for run in by_table]


def test_a_grid_adds_to_the_sweep_of_a_file_and_changes_its_keys(tmp_path: Path) -> None:
    path = tmp_path / "s.toml"
    path.write_text(f"{BASE}[sweep]\n{RATES}")
    sweep = load_sweep(path, [Grid("seed", ("0", "1")), Grid("optimizer.learning_rate", ("0.5",))])
    assert [(run.point, run.repeat) for run in sweep.runs] == [
        ("learning_rate=0.5", "seed=0"),
        ("learning_rate=0.5", "seed=1"),
    ]


def test_a_last_part_that_is_not_the_only_one_or_a_recipes_own_key_is_told_in_full() -> None:
    (run,) = _grid("optimizer.name=adam", "model.dropout=0.1").runs
    assert run.recipe.name == "base/optimizer.name=adam,dropout=0.1"
    noisy = f'{BASE}[pseudo_label]\nstrategy = "one_shot"\nlabelled_fraction = 0.5\n'
    (run,) = _grid("model.dropout=0.1", "pseudo_label.noise.dropout=0.2", base=noisy).runs
    assert run.recipe.name == "base/model.dropout=0.1,pseudo_label.noise.dropout=0.2"


def test_long_names_keep_within_the_schemas_limit_and_stay_apart() -> None:
    base = f'name = "{"n" * 80}"\n'
    runs = _grid("seed=0,1", base=base).runs
    assert [run.recipe.name[-7:] for run in runs] == ["/seed=0", "/seed=1"]
    layers = 'finetune.layers=["layer4", "layer3", "layer2", "layer1", "stem", "head"],["layer4", "head"]'
    long = _grid(layers, "optimizer.learning_rate=0.000012345,0.000054321", base=base).runs
    names = [run.recipe.name for run in [*runs, *long]]
    assert len(set(names)) == len(names)
    assert all(len(name) <= 80 for name in names)
    assert all(parse_recipe(f"name = {toml_literal(name)}").name == name for name in names)


@pytest.mark.parametrize(
    ("words", "changes", "said"),
    [
        (("seed=",), (), "--grid seed=: no values"),
        (("seed=1,1",), (), "1 is there twice"),
        (("optimizer.learning_rate=1e-3,0.001",), (), "0.001 is there twice"),
        (("name=a,b",), (), "makes no run different"),
        (("seed=1,2",), ("seed=3",), "seed is set by --set seed=3 too"),
        (("model.dropout=0.1", "model={}"), (), "is set by sweep.model"),
        ((f"seed={_numbers(26)}", f"data.fold={_numbers(20)}"), (), "520 runs"),
        (("seed=1,true",), (), "seed cannot be true"),
        (("optimizer.momentum=0.9,2.0",), ('optimizer.name="sgd"',), "optimizer.momentum cannot be 2"),
        (("optimizer.lr=1e-3",), (), "no such key: optimizer.lr"),
    ],
)
def test_a_grid_that_cannot_be_meant_is_refused(
    words: tuple[str, ...], changes: tuple[str, ...], said: str
) -> None:
    with pytest.raises(UserError) as caught:
        _grid(*words, changes=changes)
    assert said in str(caught.value)


def test_a_value_of_a_grid_that_the_schema_refuses_is_placed_at_the_option() -> None:
    with pytest.raises(RecipeError) as caught:
        _grid("training.epochs=3,none")
    assert caught.value.where == "--grid training.epochs=3,none"


def test_a_sweep_may_have_five_hundred_runs_and_no_more() -> None:
    assert len(_grid(f"seed={_numbers(MOST_RUNS)}").runs) == MOST_RUNS


def test_a_path_in_a_grid_counts_from_the_working_directory_and_one_in_the_file_from_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "there" / "s.toml"
    path.parent.mkdir()
    path.write_text(f'{BASE}[sweep]\n"data.root" = ["a"]\n')
    monkeypatch.chdir(tmp_path)
    assert load_sweep(path).runs[0].recipe.data.root == str(path.parent / "a")
    assert load_sweep(path, [Grid("data.root", ("a",))]).runs[0].recipe.data.root == str(tmp_path / "a")


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
    words = ["optimizer.learning_rate=1e-5,5e-5", 'finetune.layers=["head"],["layer4","head"]']
    assert parse_grid(words) == [
        Grid("optimizer.learning_rate", ("1e-5", "5e-5")),
        Grid("finetune.layers", ('["head"]', '["layer4","head"]')),
    ]


@pytest.mark.parametrize("words", [["seed"], ["=1,2"], ["seed=1", "seed=2"]])
def test_words_that_are_no_grid_are_refused_with_an_example(words: list[str]) -> None:
    with pytest.raises(UserError):
        parse_grid(words)
