"""The recipes for a GPU box as whole runs: random weights, few pixels, drawn pets; then exported."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.making import CPU, make_sample, places, train
from workbench.dataset.run_data import open_catalogue
from workbench.export import export_run
from workbench.recipe import load_recipe
from workbench.recipe.cookbook import shipped_recipes
from workbench.support.progress import QUIET
from workbench.train.predict import load_predictor

SIDES = {"dinov2": 42, "siglip": 32, "convnext": 32}
GPU = {name: file for name, file in shipped_recipes().items() if name.startswith("gpu/")}


def test_each_family_has_a_recipe_for_one_a_class_ten_percent_and_all_labels() -> None:
    kinds = ("one_a_class", "10_percent", "full")
    assert set(GPU) == {f"gpu/{family}_{kind}" for family in SIDES for kind in kinds}


@pytest.mark.slow
@pytest.mark.parametrize("name", GPU)
def test_it_trains_and_its_model_is_exported(name: str, tmp_path: Path) -> None:
    family = name.removeprefix("gpu/").split("_")[0]
    changes = [
        "data.dataset=sample",
        f"data.root={make_sample(tmp_path / 'sample')}",
        f"data.image_size={SIDES[family]}",
        "model.weights=none",
        "training.epochs=1",
        "training.batch_size=8",
        "training.precision=fp32",
    ]
    if name.endswith("full"):
        changes += ["finetune.probe_epochs=1", "optimizer.warmup_epochs=0"]
    else:
        changes += ["pseudo_label.rounds=1", "pseudo_label.epochs_per_round=1"]
        changes += ["pseudo_label.similarity=features"] if family == "convnext" else []
    if name.endswith("10_percent"):
        changes += ["pseudo_label.labelled_fraction=0.3"]
    recipe = load_recipe(GPU[name], changes)
    trained = train(recipe, tmp_path)
    assert trained.outcome.code == 0, trained.outcome.reason
    bundle = export_run(
        trained.directory,
        recipe,
        load_predictor(trained.directory, recipe, CPU),
        ["timm"] if name.endswith("full") else ["safetensors"],
        tmp_path / "model",
        open_catalogue(recipe.data, data_home=places(tmp_path).data_home),
        QUIET,
    )
    assert all(one.difference <= 1e-4 for one in bundle.checked)
