"""Low resolution first: which epoch sees which size, and where the knob would do nothing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.recipe import Recipe, parse_recipe
from workbench.recipe.problems import RecipeError
from workbench.recipe.training import SIDE_STEP, Training

HEAD = """
schema = 1
name = "head"
[finetune]
layers = ["head"]
[augmentation]
random_crop = false
flip = false
[training]
progressive = 0.5
"""
TRUNK = HEAD.replace('["head"]', '"all"')


def test_of_224_pixels_in_20_epochs_views_grow_by_32_until_three_quarters_of_them_are_over() -> None:
    training = Training(progressive=4 / 7)
    assert training.view_sides(224, 20) == {1: 128, 4: 160, 9: 192, 14: 224}


@given(
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_min=True, exclude_max=True),
    st.integers(1, 512),
    st.integers(1, 60),
)
def test_sides_only_grow_by_whole_steps_and_end_in_full(
    progressive: float, share: float, image_size: int, epochs: int
) -> None:
    training = Training(progressive=progressive).model_copy(update={"progressive_share": share})
    sides = [training.view_side(image_size, epoch, epochs) for epoch in range(1, epochs + 1)]
    assert sides == sorted(sides)
    assert sides[-1] == image_size
    assert all(side == image_size or side % SIDE_STEP == 0 for side in sides)
    small = sum(side < image_size for side in sides)
    assert small <= share * epochs
    changes = training.view_sides(image_size, epochs)
    assert [changes[max(e for e in changes if e <= epoch)] for epoch in range(1, epochs + 1)] == sides


def test_off_is_full_size_throughout() -> None:
    assert Training().view_sides(224, 100) == {1: 224}


def _recipe(text: str, *changes: str) -> Recipe:
    return parse_recipe(text, overrides=changes)


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("finetune.batch_norm='frozen'",),
        ("data.augmented_copies=2", "augmentation.flip=true"),
        ("pseudo_label.strategy='one_shot'", "pseudo_label.labelled_fraction=0.1"),
    ],
)
def test_on_cached_features_alone_it_is_refused(changes: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="training runs on its features"):
        _recipe(HEAD, *changes)


@pytest.mark.parametrize(
    "changes",
    [
        ("augmentation.flip=true",),
        ("augmentation.mixing='mixup'",),
        ("finetune.batch_norm='all'",),
        ("finetune.batch_norm_statistics='all'",),
        ("finetune.layers=['layer4', 'head']",),
        ("model.stochastic_depth=0.1",),
        ("pseudo_label.strategy='fixmatch'", "pseudo_label.labelled_fraction=0.1"),
        ("pseudo_label.strategy='noisy_student'", "pseudo_label.labelled_fraction=0.1"),
        (
            "pseudo_label.strategy='one_shot'",
            "pseudo_label.labelled_fraction=0.1",
            "pseudo_label.noise.policy='rand'",
        ),
    ],
)
def test_wherever_a_stage_goes_through_the_trunk_it_is_taken(changes: tuple[str, ...]) -> None:
    recipe = _recipe(HEAD, *changes)
    assert not recipe.sees_fixed_features
    assert min(recipe.view_sides) == 128  # 112 is half of 224, and 128 the next that 32 divides


@pytest.mark.parametrize(
    "changes", [("training.epochs=1",), ("data.image_size=32",), ("training.progressive=0.99",)]
)
def test_where_every_view_would_have_full_size_it_is_refused(changes: tuple[str, ...]) -> None:
    with pytest.raises(RecipeError, match="all views have full size"):
        _recipe(TRUNK, *changes)


def test_a_student_of_many_epochs_is_enough() -> None:
    recipe = _recipe(
        TRUNK,
        "training.epochs=1",
        "pseudo_label.strategy='one_shot'",
        "pseudo_label.labelled_fraction=0.1",
        "pseudo_label.epochs_per_round=8",
    )
    assert recipe.view_sides > {224}


def test_its_share_counts_only_beside_it() -> None:
    with pytest.raises(RecipeError, match=r"progressive_share has no effect while progressive = 0\.0"):
        _recipe(TRUNK, "training.progressive=0", "training.progressive_share=0.5")
