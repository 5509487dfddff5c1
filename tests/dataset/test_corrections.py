"""Corrections change what trains, and nothing that a run is measured by."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from workbench.dataset import (
    Catalogue,
    Corrected,
    Correction,
    ImageRecord,
    LeftOut,
    Review,
    Split,
    Verdict,
    apply_corrections,
    split_summary,
)
from workbench.support.errors import UserError

FILE = Path("reviews/pets.toml")
CLASSES = ("Abyssinian", "beagle", "pug")


def _record(number: int) -> ImageRecord:
    return ImageRecord(f"image_{number}", Path(f"{number}.jpg"), number % 3, None, "train", (9, 9), 1)


PETS = Catalogue(
    "folder", Path(), CLASSES, (), tuple(_record(n) for n in range(12)), (LeftOut("broken_1", "empty"),)
)
SPLIT = Split(
    labelled=np.array([0, 1, 2, 3]),
    unlabelled=np.array([4, 5, 6, 7]),
    validation=np.array([8, 9]),
    test=np.array([10, 11]),
)


def _corrected(*corrections: Correction) -> Corrected:
    return apply_corrections(Review(corrections), PETS, SPLIT, "breed", where=FILE)


def _said(number: int, label: str) -> Correction:
    return Correction(f"image_{number}", Verdict.RELABEL, label)


def _without(number: int) -> Correction:
    return Correction(f"image_{number}", Verdict.EXCLUDE, "")


def test_no_corrections_change_nothing() -> None:
    done = _corrected()
    assert done.split is SPLIT
    assert (done.taught == PETS.labels("breed")).all()


def test_an_image_of_the_pool_becomes_labelled_with_what_a_person_said() -> None:
    done = _corrected(_said(6, "pug"), Correction("image_4", Verdict.ACCEPT, "beagle"))
    assert done.split.labelled.tolist() == [0, 1, 2, 3, 4, 6]
    assert done.split.unlabelled.tolist() == [5, 7]
    assert CLASSES[done.taught[6]] == "pug"
    assert CLASSES[done.taught[4]] == "beagle"
    assert (done.labelled, done.from_pool, done.excluded, done.left_alone) == (2, 2, 0, 0)


def test_a_labelled_image_changes_its_class_and_the_truth_stays_the_data_sets() -> None:
    before = PETS.labels("breed")
    done = _corrected(_said(0, "pug"))
    assert done.split.labelled.tolist() == SPLIT.labelled.tolist()
    assert np.flatnonzero(done.taught != before).tolist() == [0]
    assert (PETS.labels("breed") == before).all()
    assert (done.labelled, done.from_pool) == (1, 0)


def test_excluded_images_leave_the_labelled_part_and_the_pool() -> None:
    done = _corrected(_without(2), _without(7))
    assert done.split.labelled.tolist() == [0, 1, 3]
    assert done.split.unlabelled.tolist() == [4, 5, 6]
    assert done.excluded == 2


def test_what_measures_a_run_is_left_alone_and_counted() -> None:
    done = _corrected(
        _said(8, "pug"),
        _without(9),
        _said(10, "pug"),
        _without(11),
        Correction("broken_1", Verdict.EXCLUDE, ""),
    )
    assert done.split.validation.tolist() == [8, 9]
    assert done.split.test.tolist() == [10, 11]
    assert (done.taught == PETS.labels("breed")).all()
    assert done.left_alone == 5


def test_coverage_and_ceiling_follow_what_training_is_told() -> None:
    done = _corrected(_said(1, "pug"), _without(4))
    summary = split_summary(PETS, done.split, "breed", done.taught)
    assert [row.labelled for row in summary.classes] == [2, 0, 2]
    assert summary.covered == 2
    assert summary.ceiling == pytest.approx(0.5)
    assert [row.test for row in summary.classes] == [0, 1, 1]


@pytest.mark.parametrize(
    ("correction", "messages"),
    [
        (_said(5, "pugg"), ["image_5", "no class 'pugg'", "did you mean pug?"]),
        (_said(10, "Ragdoll"), ["image_10", "no class 'Ragdoll'"]),
        (Correction("imago_3", Verdict.EXCLUDE, ""), ["imago_3", "no image", "did you mean image_3?"]),
        (Correction("\x1b[31mX", Verdict.EXCLUDE, ""), ["\\x1b[31mX", "made on another one"]),
    ],
)
def test_an_image_or_class_that_is_not_there_is_named_with_the_nearest(
    correction: Correction, messages: list[str]
) -> None:
    with pytest.raises(UserError) as raised:
        _corrected(_without(2), correction)
    assert str(FILE) in str(raised.value)
    for message in messages:
        assert message in str(raised.value)
