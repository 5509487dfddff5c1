"""The shipped recipes of the paper's experiments."""

from __future__ import annotations

from pathlib import Path

import pytest

from workbench.model import look_at_network
from workbench.paper.numbers import FIGURES, FRACTIONS, TABLE1
from workbench.paper.recipes import Plan, cell_of, figure_plans, paper_recipes, paper_sweep, table1_sweep
from workbench.recipe.layer_groups import choose_groups, rates_of
from workbench.recipe.source import Change, Unset
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
    sweep = table1_sweep(
        backbone="efficientnet_lite1", seeds=2, labels="stratified", beside=("class_balanced",)
    )
    assert len(sweep.runs) == 3 * 3 * 2
    for run in sweep.runs:
        assert run.recipe.model.backbone == "efficientnet_lite1"
        assert run.recipe.finetune.layers == ("head",)
        assert run.recipe.pseudo_label is not None
        assert run.recipe.pseudo_label.policy == "stratified"


def test_a_backbone_that_is_set_chooses_the_recipe_as_the_option_does() -> None:
    by_option = table1_sweep(backbone="efficientnet_lite0", seeds=1)
    by_set = table1_sweep(["model.backbone=efficientnet_lite0"], seeds=1)
    assert [run.recipe for run in by_set.runs] == [run.recipe for run in by_option.runs]


def test_changes_reach_every_run_and_unset_takes_a_key_out() -> None:
    changes: list[Change] = ["training.epochs=7", Unset("training.class_weights")]
    sweep = table1_sweep(changes, backbone="efficientnet_lite0", seeds=1)
    assert {run.recipe.training.epochs for run in sweep.runs} == {7}
    assert {run.recipe.training.class_weights for run in sweep.runs} == {"none"}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            [Unset("sweep.cases"), Unset("pseudo_label"), Unset('sweep."pseudo_label.labelled_fraction"')],
            "share",
        ),
        (['sweep."training.epochs"=[1, 2]'], "in one cell"),
    ],
)
def test_what_would_make_another_table_is_refused(changes: list[Change], words: str) -> None:
    with pytest.raises(UserError, match=words):
        table1_sweep(changes, seeds=1)


def test_an_unknown_strategy_beside_is_refused_by_name() -> None:
    with pytest.raises(UserError, match="class_balanced"):
        table1_sweep(backbone="efficientnet_lite0", beside=("class_balance",))


def _plan(number: str, backbone: str, *changes: Change) -> Plan:
    (figure,) = (figure for figure in FIGURES if figure.number == number)
    (plan,) = figure_plans([figure], changes, look_at_network, backbone=backbone)
    return plan


def _labels(plan: Plan) -> list[str]:
    return [plan.label(run) for run in plan.sweep.runs]


@pytest.mark.parametrize(
    "backbone", ["resnet18", "mobilenet_v2", "efficientnet_lite0", "vit_b_16", "convnext_tiny"]
)
def test_figures_1_to_3_fit_every_backbone_and_no_two_points_train_the_same(backbone: str) -> None:
    for number in ("1", "2", "3"):
        plan = _plan(number, backbone, "model.weights=none")
        groups = look_at_network(plan.sweep.runs[0].recipe)
        choices = [choose_groups(groups, run.recipe.finetune) for run in plan.sweep.runs]
        for run in plan.sweep.runs:
            assert rates_of(groups, run.recipe.optimizer, run.recipe.finetune)
        assert number == "1" or len(set(choices)) == len(choices)
        assert len(set(_labels(plan))) == len(choices) > 3
        assert bool(plan.note) == (backbone != "resnet18")


def test_a_resnet_keeps_the_papers_layers() -> None:
    plan = _plan("3", "resnet18")
    assert [run.recipe.finetune for run in plan.sweep.runs] == [
        run.recipe.finetune for run in paper_sweep("layers", []).runs
    ]
    assert _labels(plan)[:4] == ["head alone", "last: layer4", "last 2: layer3, layer4", "layer4, layer2"]


def test_the_layers_of_others_are_the_last_ones_by_their_own_names() -> None:
    plan = _plan("3", "efficientnet_lite0")
    assert _labels(plan) == [
        "head alone",
        "last: conv_head",
        "last 2: stage7, conv_head",
        "last 3: stage6 … conv_head",
        "last 4: stage5 … conv_head",
        "last 6: stage3 … conv_head",
        "last 8: stage1 … conv_head",
        "all",
    ]
    assert plan.sweep.runs[3].recipe.finetune.layers == ("conv_head", "stage7", "stage6", "head")


def test_a_network_of_layer_norms_varies_those() -> None:
    plan = _plan("2", "vit_b_16")
    assert plan.title == "Validation accuracy by layer norms that learn"
    assert _labels(plan)[:4] == ["none", "of the layers that learn", "last: norm", "last 2: block12, norm"]
    assert {key for run in plan.sweep.runs for key, _ in run.settings} == {"finetune.layer_norm"}
    assert plan.sweep.runs[2].recipe.finetune.layer_norm == ("norm",)


def test_a_network_without_norms_has_no_figure_2() -> None:
    with pytest.raises(UserError, match=r"vgg16 has no norms.*\n.*--only 1,3,5,6,7"):
        _plan("2", "vgg16")


def test_the_users_own_layers_go_before_the_translation() -> None:
    plan = _plan("2", "efficientnet_lite0", 'finetune.layers=["stage7", "head"]')
    assert {run.recipe.finetune.layers for run in plan.sweep.runs} == {("stage7", "head")}
    assert "of the layers that learn" in _labels(plan)
    own = _plan("3", "efficientnet_lite0", 'sweep."finetune.layers"=[["head"], ["stage7", "head"]]')
    assert _labels(own) == ["head alone", "stage7"]


def test_figures_5_to_7_share_a_sweep_of_their_shares() -> None:
    figures = [figure for figure in FIGURES if figure.number in ("5", "7")]
    first, second = figure_plans(figures, [], look_at_network, backbone="efficientnet_lite0", seeds=2)
    assert first.sweep is second.sweep
    assert len(first.sweep.runs) == 2 * 2 * 2
    assert {cell_of(run.recipe)[0] for run in second.shown(second.sweep.runs)} == {0.5}
