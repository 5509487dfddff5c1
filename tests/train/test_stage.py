"""The plan of a run: which stages, in which order, with which knobs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.train.making import HEAD, PSEUDO, TRUNK, tiny
from workbench.train.stage import Stage, plan

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
    assert probe.sees_plain_views
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
    assert fit.sees_plain_views is plain
