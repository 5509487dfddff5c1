"""[sweep]: what it expands to, and what is refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.recipe import Recipe, load_recipe, parse_recipe, recipe_fingerprint
from workbench.recipe.dump import dump_recipe
from workbench.recipe.load import SweepGiven
from workbench.recipe.sweep import Sweep, parse_sweep
from workbench.recipe.sweep_search import Prune, finer_values
from workbench.support.errors import UserError

BASE = """
name = "base"
[model]
backbone = "resnet18"
[training]
epochs = 8
"""
RATES = '"optimizer.learning_rate" = [1e-5, 1e-4, 1e-3]\n'


def _sweep(table: str, *changes: str, base: str = BASE) -> Sweep:
    return parse_sweep(f"{base}[sweep]\n{table}", "r.toml", changes)


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
        ("folds = 1", "sweep.folds cannot be 1"),
        ("cases = 3", "sweep.cases cannot be 3"),
        ('name = ["a", "b"]', "makes no run different"),
        ("", "nothing to vary"),
        (RATES + "prune = { epoch = 2 }", "did you mean epochs?"),
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


def test_a_wrong_value_is_placed_in_the_sweep_not_where_the_recipe_has_the_key() -> None:
    error = _refusal('seeds = 2\n"training.epochs" = [4, "many"]')
    assert error.where == "r.toml:9"


def test_a_swept_key_cannot_be_set_beside() -> None:
    assert "--set optimizer.learning_rate=1" in str(_refusal(RATES, "optimizer.learning_rate=1"))


def test_the_looks_of_halving_come_ever_later() -> None:
    assert Prune(2, 0.5).looks(20) == (2, 4, 8, 16)
    assert Prune(3, 1 / 3).looks(20) == (3, 9)
    assert [Prune(1, 0.5).survivors(points) for points in (5, 4, 2, 1)] == [3, 2, 1, 1]


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
