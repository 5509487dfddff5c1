"""The shipped recipes of the paper's experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.paper.numbers import FIGURES, FRACTIONS, TABLE1
from workbench.paper.recipes import paper_recipes, paper_sweep, table1_sweep
from workbench.recipe.sweep import load_sweep
from workbench.support.errors import UserError

RECIPES = list(paper_recipes().values())


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_expands_and_its_runs_differ(path: Path) -> None:
    sweep = load_sweep(path)
    assert sweep.name == path.stem
    assert len({run.recipe.name for run in sweep.runs}) == len(sweep.runs)


def test_there_is_a_recipe_for_every_experiment() -> None:
    names = {path.stem for path in RECIPES}
    assert names >= {figure.recipe for figure in FIGURES}
    assert names >= {"backbones", "augmentation", "binary", "final", "table1", "head_table1"}
    backbones = [run.recipe.model.backbone for run in paper_sweep("backbones", ["sweep.seeds=1"]).runs]
    assert backbones == ["resnet18", "resnet34", "resnet50", "resnet152"]


def test_table_1_has_the_papers_shares_and_strategies() -> None:
    sweep = table1_sweep(seeds=1)
    cells = {
        (run.recipe.pseudo_label.labelled_fraction, run.recipe.pseudo_label.strategy)
        for run in sweep.runs
        if run.recipe.pseudo_label is not None
    }
    assert cells == {(fraction, column) for fraction, column in TABLE1 if column != "teacher"}
    assert {fraction for fraction, _ in cells} == set(FRACTIONS)
    assert {run.recipe.model.backbone for run in sweep.runs} == {"resnet152"}


def test_another_backbone_trains_its_head_and_labels_may_be_stratified() -> None:
    sweep = table1_sweep("efficientnet_lite1", seeds=2, labels="stratified", beside=("class_balanced",))
    assert len(sweep.runs) == 3 * 3 * 2
    for run in sweep.runs:
        assert run.recipe.model.backbone == "efficientnet_lite1"
        assert run.recipe.finetune.layers == ("head",)
        assert run.recipe.pseudo_label is not None
        assert run.recipe.pseudo_label.policy == "stratified"


def test_an_unknown_strategy_beside_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="class_balanced"):
        table1_sweep("efficientnet_lite0", beside=("class_balance",))
