"""What past runs tell of the time and memory of the next one, and when they tell nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import pytest
import tomli_w

from tests.runs.making import finish, make_results
from workbench.recipe import Recipe, dump_recipe, parse_recipe
from workbench.runs import RunSummary, create_run, summarise
from workbench.runs.estimate import Estimate, Machine, estimate

HERE = Machine("box", "cpu")
TEXT = """
name = "a"
[model]
backbone = "resnet18"
[training]
epochs = 10
batch_size = 32
"""


def past(
    home: Path, recipe: Recipe, *, minute: int = 0, host: str = "box", device: str = "cpu"
) -> RunSummary:
    """A finished run of a recipe: 20 labelled images, 87.25 images a second, 120.5 seconds, 1 GiB."""
    run = create_run(home, recipe.name, dump_recipe(recipe), datetime(2026, 11, 22, 12, minute))
    run.provenance.write_text(tomli_w.dumps({"host": host, "device": device}))
    finish(run, replace(make_results(), unlabelled=0 if recipe.pseudo_label is None else 80))
    return summarise(run)


def told(recipe: Recipe, runs: Sequence[RunSummary], **more: tuple[int, int]) -> Estimate:
    """The estimate, which must be there."""
    found = estimate(recipe, runs, [HERE], **more)
    assert found is not None
    return found


def test_the_same_recipe_again_takes_the_same_time_and_memory(tmp_path: Path) -> None:
    recipe = parse_recipe(TEXT)
    found = told(recipe, [past(tmp_path, recipe)])
    assert found.step_seconds == pytest.approx(20 / 87.25)  # no batch holds more than the labelled images
    assert found.total_seconds == pytest.approx(120.5)
    assert found.memory_bytes == 2**30
    assert found.differences == ()


def test_twice_the_epochs_take_twice_the_time(tmp_path: Path) -> None:
    run = past(tmp_path, parse_recipe(TEXT))
    assert told(parse_recipe(TEXT, overrides=["training.epochs=20"]), [run]).total_seconds == pytest.approx(
        241
    )


def test_another_batch_size_is_told_and_its_memory_is_not_guessed(tmp_path: Path) -> None:
    run = past(tmp_path, parse_recipe(TEXT))
    found = told(parse_recipe(TEXT, overrides=["training.batch_size=64"]), [run], labels=(200, 0))
    assert found.step_seconds == pytest.approx(64 / 87.25)
    assert found.memory_bytes is None
    assert found.differences == ("batch size 32",)


@pytest.mark.parametrize(
    "change",
    [
        "model.backbone=resnet34",
        "data.image_size=128",
        "finetune.layers=all",
        "training.precision=fp32",
        "augmentation={random_crop=false, flip=false}",
    ],
)
def test_a_run_of_another_cost_tells_nothing(tmp_path: Path, change: str) -> None:
    run = past(tmp_path, parse_recipe(TEXT))
    assert estimate(parse_recipe(TEXT, overrides=[change]), [run], [HERE]) is None


def test_a_cpu_of_another_host_tells_nothing_but_the_same_gpu_does(tmp_path: Path) -> None:
    recipe = parse_recipe(TEXT)
    elsewhere = past(tmp_path, recipe, host="other")
    on_gpu = past(tmp_path, recipe, host="other", device="NVIDIA H200")
    assert estimate(recipe, [elsewhere, on_gpu], [HERE]) is None
    found = estimate(recipe, [elsewhere, on_gpu], [HERE, Machine("box", "NVIDIA H200")])
    assert found is not None
    assert found.run_id == on_gpu.id


def test_the_run_with_fewest_differences_tells_even_if_older(tmp_path: Path) -> None:
    recipe = parse_recipe(TEXT)
    older = past(tmp_path, recipe, minute=1)
    newer = past(tmp_path, parse_recipe(TEXT, overrides=["optimizer.name=sgd"]), minute=2)
    assert told(recipe, [newer, older]).run_id == older.id
    assert told(recipe, [newer]).differences == ("optimiser sgd",)


def test_with_other_labels_the_total_is_told_only_when_their_number_is_known(tmp_path: Path) -> None:
    run = past(tmp_path, parse_recipe(TEXT))
    few = parse_recipe(TEXT + "[pseudo_label]\nstrategy = 'one_shot'\nlabelled_fraction = 0.5\n")
    assert told(few, [run]).total_seconds is None
    found = told(few, [run], labels=(10, 10))
    expected = 120.5 * (10 * 10 + 5 * (10 + 10)) / (20 * 10)
    assert found.total_seconds == pytest.approx(expected)


def test_an_unfinished_run_and_one_without_provenance_tell_nothing(tmp_path: Path) -> None:
    recipe = parse_recipe(TEXT)
    unfinished = summarise(create_run(tmp_path, "a", dump_recipe(recipe), datetime(2026, 11, 22, 12, 0)))
    bare = past(tmp_path, recipe)
    bare.run.provenance.unlink()
    assert estimate(recipe, [unfinished, bare], [HERE]) is None
    bare.run.provenance.write_text("damaged [")
    assert estimate(recipe, [bare], [HERE]) is None


HEAD_ALONE = TEXT + "[augmentation]\nrandom_crop = false\nflip = false\n"


@pytest.mark.parametrize(
    "change",
    [
        "augmentation.mixing=mixup",
        "pseudo_label={strategy='fixmatch', labelled_fraction=0.5}",
        "pseudo_label={strategy='one_shot', labelled_fraction=0.5, noise={stochastic_depth=0.2}}",
        "pseudo_label={strategy='noisy_student', labelled_fraction=0.5}",
    ],
)
def test_a_run_on_kept_features_tells_nothing_of_one_on_images(tmp_path: Path, change: str) -> None:
    cached = parse_recipe(HEAD_ALONE)
    on_images = parse_recipe(HEAD_ALONE, overrides=[change])
    assert estimate(on_images, [past(tmp_path, cached)], [HERE]) is None
    assert estimate(cached, [past(tmp_path, on_images, minute=1)], [HERE]) is None


def test_head_only_runs_on_other_fixed_views_tell_of_one_another(tmp_path: Path) -> None:
    copies = past(tmp_path, parse_recipe(TEXT, overrides=["data.augmented_copies=2"]))
    found = told(parse_recipe(HEAD_ALONE, overrides=["data.evaluation_views=centre"]), [copies])
    assert found.total_seconds == pytest.approx(120.5 / 3)


def test_a_probe_of_every_fresh_student_costs_nothing_beside_epochs_on_images(tmp_path: Path) -> None:
    tuned = [
        "finetune={layers='all', probe_epochs=5}",
        "pseudo_label={strategy='class_balanced', labelled_fraction=0.5, rounds=2, epochs_per_round=1}",
    ]
    run = past(tmp_path, parse_recipe(TEXT, overrides=tuned))
    twice = parse_recipe(TEXT, overrides=[*tuned, "training.epochs=20"])
    # Of 20 labels and a pool of 80: the teacher's epochs, then a student on half the pool, then on all of it.
    expected = 120.5 * (20 * 20 + 60 + 100) / (10 * 20 + 60 + 100)
    assert told(twice, [run]).total_seconds == pytest.approx(expected)


def test_a_run_of_a_strategy_that_is_not_here_tells_nothing(tmp_path: Path) -> None:
    recipe = parse_recipe(TEXT)
    run = past(tmp_path, recipe)
    assert told(recipe, [run])
    run.run.recipe.write_text(dump_recipe(recipe) + '[pseudo_label]\nstrategy = "of_tomorrow"\n')
    assert estimate(recipe, [run], [HERE]) is None
