"""The plan of a run: which stages, in which order, with which knobs."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings

from tests.recipe.generate import recipes
from tests.train.making import HEAD, PSEUDO, TRUNK, tiny
from workbench.recipe import Recipe, RecipeError
from workbench.recipe.dump import flat
from workbench.recipe.plan import Passes, Stage, epochs_words, passes, plan
from workbench.runs.summary import planned_rounds

HERE = Path("/nowhere")
FRESH = "pseudo_label.student='fresh'"
PROBE = "finetune.probe_epochs=3"


def _names(*stages: Stage) -> list[tuple[str, int]]:
    return [(stage.name, stage.round) for stage in stages]


def test_a_supervised_run_is_one_fit() -> None:
    (fit,) = plan(tiny(TRUNK, HERE))
    assert (fit.name, fit.epochs, fit.fresh, fit.falls_back) == ("fit", 2, True, False)


def test_a_probe_goes_before_the_fit_which_begins_from_it_and_falls_back_on_it() -> None:
    probe, fit = plan(tiny(TRUNK, HERE, PROBE, "finetune.probe_learning_rate=0.5"))
    assert (probe.name, probe.epochs, probe.fresh) == ("probe", 3, True)
    assert probe.finetune.layers == ("head",)
    assert (probe.optimizer.name, probe.optimizer.learning_rate) == ("adamw", 0.5)
    assert probe.dropout == 0
    assert probe.has_fixed_views
    assert (fit.name, fit.fresh, fit.falls_back) == ("fit", False, True)


def test_each_round_has_a_student_and_epochs_count_through_the_run() -> None:
    stages = plan(tiny(HEAD + PSEUDO, HERE))
    assert _names(*stages) == [("teacher", 0), ("student", 1), ("student", 2)]
    assert [stage.first_epoch for stage in stages] == [0, 3, 5]
    assert [stage.fresh for stage in stages] == [True, False, False]


def test_a_fresh_student_gets_a_probe_of_its_own_and_one_that_goes_on_does_not() -> None:
    fresh = plan(tiny(TRUNK + PSEUDO, HERE, PROBE, FRESH))
    assert _names(*fresh) == [
        ("probe", 0),
        ("teacher", 0),
        ("probe", 1),
        ("student", 1),
        ("probe", 2),
        ("student", 2),
    ]
    going_on = plan(tiny(TRUNK + PSEUDO, HERE, PROBE))
    assert _names(*going_on) == [("probe", 0), ("teacher", 0), ("student", 1), ("student", 2)]


def test_only_the_student_suffers_the_noise() -> None:
    noise = "pseudo_label.noise={policy='rand', dropout=0.5, stochastic_depth=0.2}"
    teacher, student, _ = plan(tiny(TRUNK + PSEUDO, HERE, noise))
    assert (teacher.augmentation.policy, teacher.dropout, teacher.stochastic_depth) == ("none", 0.3, 0.0)
    assert (student.augmentation.policy, student.dropout, student.stochastic_depth) == ("rand", 0.5, 0.2)
    assert student.augmentation.random_crop == teacher.augmentation.random_crop


def test_without_noise_of_its_own_the_student_has_the_recipes() -> None:
    teacher, student, _ = plan(tiny(TRUNK + PSEUDO, HERE))
    assert (student.augmentation, student.dropout) == (teacher.augmentation, teacher.dropout)


@pytest.mark.parametrize(
    ("changes", "plain"),
    [
        ((), True),
        (("augmentation.flip=true",), False),
        (("augmentation.flip=true", "data.augmented_copies=2"), True),
        (("augmentation.mixing='mixup'",), False),
        (("augmentation.flip=true", "augmentation.mixing='mixup'", "data.augmented_copies=2"), False),
    ],
)
def test_features_can_be_kept_where_an_image_looks_the_same_in_every_epoch(
    changes: tuple[str, ...], plain: bool
) -> None:
    (fit,) = plan(tiny(HEAD, HERE, *changes))
    assert fit.has_fixed_views is plain


def test_what_training_goes_through_follows_the_rounds_of_the_strategies() -> None:
    iterative = plan(tiny(HEAD + PSEUDO, HERE))  # three epochs, then twice two with 40 % more of the pool
    assert passes(iterative, 10, 100) == Passes(
        on_features=3 * 10 + 2 * (10 + 40) + 2 * (10 + 80), on_images=0
    )
    copies = plan(tiny(TRUNK, HERE, "data.augmented_copies=2", "data.head_crops=add"))
    assert passes(copies, 10, 0) == Passes(on_features=0, on_images=2 * (2 * 10 * 3))
    probed = plan(tiny(TRUNK, HERE, "data.augmented_copies=2", PROBE))
    assert passes(probed, 10, 0) == Passes(on_features=3 * 10, on_images=2 * 10 * 3)


def test_an_online_student_goes_through_the_pool_with_labelled_batches_beside_it() -> None:
    _, student = plan(tiny(HEAD, HERE, "pseudo_label={strategy='fixmatch', labelled_fraction=0.5}"))
    assert not student.is_on_features()
    # Batches of 8 with 56 of the pool beside each: 100 are one whole and the rest.
    assert student.steps_an_epoch(20, 100) == 2
    assert student.images_an_epoch(20, 100) == 2 * 8 + 100
    assert student.steps_an_epoch(3, 100) == 5  # three labelled images, so 21 of the pool a step


@pytest.mark.parametrize(
    ("changes", "is_fixed"),
    [
        ((), True),
        (("finetune.batch_norm=[]", "finetune.layer_norm=[]"), True),
        (("finetune.layers=['head', 'head']",), True),
        (("finetune.batch_norm=all",), False),
        (("finetune.batch_norm_statistics=all",), False),
        (("finetune.layers=['head', 'stage4']",), False),
        (("model.stochastic_depth=0.1",), False),
    ],
)
def test_a_head_alone_on_a_trunk_that_nothing_moves_trains_on_kept_features(
    changes: tuple[str, ...], is_fixed: bool
) -> None:
    recipe = tiny(HEAD, HERE, *changes)
    assert recipe.sees_fixed_features is is_fixed
    assert [stage.is_on_features() for stage in plan(recipe)] == [is_fixed]


def test_views_grow_in_those_stages_alone_that_see_images() -> None:
    grown = ("training.progressive=0.5", "data.image_size=128", "training.epochs=12")
    assert min(tiny(TRUNK, HERE, *grown).view_sides) == 64
    # The teacher's twelve epochs are on features, and the student's only one has full size.
    noise = (
        "pseudo_label={strategy='one_shot', labelled_fraction=0.5, noise={policy='rand'}, epochs_per_round=1}"
    )
    with pytest.raises(RecipeError, match=r"training\.progressive has no effect"):
        tiny(HEAD, HERE, *grown, noise)


@pytest.mark.parametrize(
    ("toml", "knobs", "words"),
    [
        (TRUNK, (), "2 ep"),
        (TRUNK, (PROBE,), "3+2 ep"),
        (HEAD + PSEUDO, (), "3 ep + 2×2"),
        (TRUNK + PSEUDO, (PROBE, FRESH), "3+2 ep + 2×(3+2)"),
    ],
)
def test_the_epochs_of_a_plan_are_told_in_a_few_words(toml: str, knobs: tuple[str, ...], words: str) -> None:
    assert epochs_words(plan(tiny(toml, HERE, *knobs))) == words


@settings(max_examples=50, deadline=None, suppress_health_check=list(HealthCheck))
@given(recipe=recipes())
def test_a_row_of_a_list_counts_the_rounds_of_the_plan(recipe: Recipe) -> None:
    assert planned_rounds(flat(recipe)) == max(stage.round for stage in plan(recipe))
