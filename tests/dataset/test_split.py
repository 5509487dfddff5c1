from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.dataset.pictures import paper_catalogue
from workbench.dataset.catalogue import Catalogue, shuffled_ranks
from workbench.dataset.split import _KEEPS, Split, make_split, split_summary
from workbench.recipe import Data
from workbench.recipe.pseudo_label import LABEL_POLICIES
from workbench.recipe.strategies.by_confidence import Iterative
from workbench.support.errors import UserError

PETS = paper_catalogue([(100, 50)] * 37)
counts = st.lists(st.tuples(st.integers(2, 40), st.integers(1, 3)), min_size=2, max_size=8)
fractions = st.floats(0.05, 0.9)
seeds = st.integers(0, 2**40)


def divide(catalogue: Catalogue, labels: dict[str, Any] | None = None, **data: Any) -> Split:
    return make_split(catalogue, Data(**data), None if labels is None else Iterative(**labels))


def per_class(catalogue: Catalogue, positions: np.ndarray[Any, Any]) -> list[int]:
    found = np.bincount(catalogue.labels("breed")[positions], minlength=len(catalogue.breeds))
    return [int(count) for count in found]


@given(counts=counts, fraction=fractions, seed=seeds, stratified=st.booleans(), labelled=fractions)
def test_parts_are_disjoint_ascending_and_cover_the_catalogue(
    counts: list[tuple[int, int]], fraction: float, seed: int, stratified: bool, labelled: float
) -> None:
    catalogue = paper_catalogue(counts)
    data = {"validation_fraction": fraction, "split_seed": seed, "stratified_validation": stratified}
    try:
        split = divide(catalogue, {"labelled_fraction": labelled, "stratified": False}, **data)
    except UserError as error:
        assert "leave" in error.what or "is none" in error.what  # noqa: PT017, only these two may happen
        return
    parts = [split.labelled, split.unlabelled, split.validation, split.test]
    assert sorted(np.concatenate(parts).tolist()) == list(range(len(catalogue)))
    for part in parts:
        assert part.dtype == np.int64
        assert (np.diff(part) > 0).all()
    assert split.test.tolist() == catalogue.positions("test").tolist()
    assert (
        split.fingerprint
        == divide(catalogue, {"labelled_fraction": labelled, "stratified": False}, **data).fingerprint
    )


@given(counts=counts, fraction=fractions, seed=seeds)
def test_stratified_validation_takes_its_share_of_every_class_to_within_one(
    counts: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    catalogue = paper_catalogue(counts)
    try:
        split = divide(catalogue, validation_fraction=fraction, split_seed=seed)
    except UserError:
        assert fraction * sum(train for train, _ in counts) < 0.5
        return
    for taken, (train, _) in zip(per_class(catalogue, split.validation), counts, strict=True):
        assert abs(taken - fraction * train) <= 1 + 1e-9
        assert taken < train


def test_stratified_validation_of_the_pets_is_exactly_a_fifth() -> None:
    split = divide(PETS)
    assert per_class(PETS, split.validation) == [20] * 37
    assert per_class(PETS, split.labelled) == [80] * 37
    assert len(split.unlabelled) == 0


@pytest.mark.parametrize("images", [1, 36, 37, 46, 740])
def test_so_many_validation_images_are_held_out_as_evenly_as_they_are(images: int) -> None:
    split = divide(PETS, validation_images=images)
    counts = per_class(PETS, split.validation)
    assert sum(counts) == images
    assert max(counts) - min(counts) <= 1
    assert len(split.labelled) == 3700 - images


def test_more_validation_images_than_there_are_is_refused() -> None:
    with pytest.raises(UserError, match="validation_images = 10 leaves none of 10 training images"):
        divide(paper_catalogue([(5, 1), (5, 1)]), validation_images=10)


def test_label_folds_hold_nothing_out() -> None:
    split = divide(PETS, {"labels_per_class": 5}, label_folds=5)
    assert len(split.validation) == 0
    assert per_class(PETS, split.labelled) == [5] * 37
    assert len(split.labelled) + len(split.unlabelled) == 3700


def test_plain_validation_has_the_right_size_and_uneven_classes() -> None:
    split = divide(PETS, stratified_validation=False)
    assert len(split.validation) == 740
    assert len(set(per_class(PETS, split.validation))) > 3


@given(counts=counts, folds=st.integers(2, 6), seed=seeds, stratified=st.booleans())
def test_folds_partition_the_training_images(
    counts: list[tuple[int, int]], folds: int, seed: int, stratified: bool
) -> None:
    catalogue = paper_catalogue(counts)
    if sum(train for train, _ in counts) < folds:
        return
    splits = [
        divide(catalogue, folds=folds, fold=fold, split_seed=seed, stratified_validation=stratified)
        for fold in range(folds)
    ]
    together = np.concatenate([split.validation for split in splits])
    assert sorted(together.tolist()) == catalogue.positions("train").tolist()
    sizes = [len(split.validation) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    if stratified:
        by_fold = np.array([per_class(catalogue, split.validation) for split in splits])
        assert (by_fold.max(axis=0) - by_fold.min(axis=0) <= 1).all()


@settings(max_examples=50)
@given(small=st.floats(0.06, 0.5), more=st.floats(0, 0.4), seed=seeds, stratified=st.booleans())
def test_smaller_share_of_labels_is_among_the_larger_and_validation_stays(
    small: float, more: float, seed: int, stratified: bool
) -> None:
    few = divide(PETS, {"labelled_fraction": small, "stratified": stratified}, split_seed=seed)
    many = divide(PETS, {"labelled_fraction": small + more, "stratified": stratified}, split_seed=seed)
    assert set(few.labelled.tolist()) <= set(many.labelled.tolist())
    assert few.validation.tolist() == many.validation.tolist()
    assert few.validation.tolist() == divide(PETS, split_seed=seed).validation.tolist()


@given(counts=counts, fraction=fractions, seed=seeds)
def test_stratified_labels_are_the_rounded_share_of_every_class_or_an_error(
    counts: list[tuple[int, int]], fraction: float, seed: int
) -> None:
    catalogue = paper_catalogue(counts)
    data: dict[str, Any] = {"split_seed": seed, "validation_fraction": 0.3}
    try:
        pool = per_class(catalogue, divide(catalogue, **data).labelled)
    except UserError:
        return
    wanted = [math.floor(fraction * n + 0.5) for n in pool]
    try:
        split = divide(catalogue, {"labelled_fraction": fraction}, **data)
    except UserError:
        assert 0 in wanted
    else:
        assert per_class(catalogue, split.labelled) == wanted
        assert min(wanted) >= 1


def test_too_small_a_share_names_the_classes_and_the_share_that_works() -> None:
    catalogue = paper_catalogue([(100, 1), (10, 1), (100, 1)])
    with pytest.raises(UserError) as caught:
        divide(catalogue, {"labelled_fraction": 0.02})
    assert "class1" in caught.value.what
    assert "class0" not in caught.value.what
    enough = float(caught.value.allowed.removeprefix("at least ").split(",")[0])
    assert enough == 0.0625
    assert divide(catalogue, {"labelled_fraction": enough}).labelled.size
    with pytest.raises(UserError):
        divide(catalogue, {"labelled_fraction": enough - 0.001})


@settings(max_examples=20)
@given(n=st.integers(1, 8), seed=seeds)
def test_labels_per_class_are_exactly_so_many_and_nest(n: int, seed: int) -> None:
    split = divide(PETS, {"labels_per_class": n}, split_seed=seed)
    assert per_class(PETS, split.labelled) == [n] * 37
    more = divide(PETS, {"labels_per_class": n + 1}, split_seed=seed)
    assert set(split.labelled.tolist()) <= set(more.labelled.tolist())


def test_more_labels_a_class_than_images_is_refused() -> None:
    with pytest.raises(UserError) as caught:
        divide(paper_catalogue([(50, 1), (5, 1)]), {"labels_per_class": 5})
    assert "class1" in caught.value.what
    assert caught.value.allowed.startswith("at most 4")


def test_plain_shuffle_of_one_per_cent_misses_classes_as_in_the_paper() -> None:
    split = divide(PETS, {"labelled_fraction": 0.01, "stratified": False})
    summary = split_summary(PETS, split, "breed")
    assert len(split.labelled) == 30
    assert 15 <= summary.covered <= 28
    assert summary.ceiling == pytest.approx(summary.covered / 37)


def test_other_seed_gives_another_split() -> None:
    one, two = divide(PETS), divide(PETS, split_seed=1)
    assert one.fingerprint != two.fingerprint
    # Two independent fifths share a fifth of their images.
    shared = len(np.intersect1d(one.validation, two.validation)) / len(one.validation)
    assert 0.1 < shared < 0.3


def test_labels_are_stratified_by_the_target() -> None:
    split = divide(PETS, {"labels_per_class": 10}, target="species")
    assert np.bincount(PETS.labels("species")[split.labelled]).tolist() == [10, 10]


def test_losing_an_image_moves_hardly_any_other() -> None:
    fewer = Catalogue(PETS.dataset, PETS.root, PETS.breeds, PETS.species, PETS.records[1:])

    def ids(catalogue: Catalogue, positions: np.ndarray[Any, Any]) -> set[str]:
        return {catalogue.records[position].id for position in positions.tolist()}

    before, after = divide(PETS), divide(fewer)
    assert len(ids(PETS, before.validation) ^ ids(fewer, after.validation)) <= 2


def test_class_without_training_image_is_refused() -> None:
    with pytest.raises(UserError, match="without a training image: class1"):
        divide(paper_catalogue([(5, 1), (0, 3)]))


def test_data_without_test_image_is_refused() -> None:
    with pytest.raises(UserError, match="no test image"):
        divide(paper_catalogue([(5, 0), (5, 0)]))


def test_fraction_that_validates_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="no image to validate on"):
        divide(paper_catalogue([(5, 1), (5, 1)]), validation_fraction=0.01)


def test_random_share_that_labels_nothing_is_refused() -> None:
    with pytest.raises(UserError, match="is none"):
        divide(paper_catalogue([(5, 1), (5, 1)]), {"labelled_fraction": 0.01, "stratified": False})


def test_summary_counts_every_class_and_part() -> None:
    catalogue = paper_catalogue([(10, 4), (10, 6)])
    summary = split_summary(catalogue, divide(catalogue, {"labelled_fraction": 0.25}), "breed")
    first, second = summary.classes
    assert (first.name, first.labelled, first.unlabelled, first.validation, first.test) == (
        "class0",
        2,
        6,
        2,
        4,
    )
    assert second.test == 6
    assert summary.total.test == 10
    assert (summary.covered, summary.ceiling) == (2, 1.0)


def test_order_is_the_same_on_every_machine() -> None:
    assert shuffled_ranks(["a", "b", "c", "d", "e"], "validation", 0).tolist() == ORDER_OF_FIVE


ORDER_OF_FIVE = [4, 2, 1, 0, 3]
"""Written down once: a change would silently give every recipe another split."""


@given(st.lists(st.text(max_size=5), unique=True, max_size=20), seeds)
def test_ranks_are_a_permutation_that_follows_the_names(ids: list[str], seed: int) -> None:
    ranks = shuffled_ranks(ids, "labels", seed)
    assert sorted(ranks.tolist()) == list(range(len(ids)))
    backwards = shuffled_ranks(ids[::-1], "labels", seed)
    assert backwards[::-1].tolist() == ranks.tolist()


def test_every_label_policy_is_told_meant_by_one_table_alone_and_does_something() -> None:
    tables: dict[str, dict[str, Any]] = {
        "all": {},
        "random": {"labelled_fraction": 0.5, "stratified": False},
        "stratified": {"labelled_fraction": 0.5},
        "per_class": {"labels_per_class": 2},
        "representative": {"labels_per_class": 2, "representative": "kmeans"},
    }
    assert tables.keys() == LABEL_POLICIES.keys() == _KEEPS.keys()
    for name, values in tables.items():
        table = Iterative.model_validate(values)
        assert [other for other, policy in LABEL_POLICIES.items() if policy.is_meant(table)] == [name]
        assert table.policy == name
