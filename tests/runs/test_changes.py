"""Where a run changed its mind: teacher against student, round against round."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.runs.making import CLASSES, finish, make_results, make_run
from workbench.runs.doubt import (
    Choice,
    Doubt,
    choose,
    disagreements,
    flip_counts,
    known_orders,
    rank,
    with_changes,
)
from workbench.runs.image_ids import ImageIds
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, write_ledger
from workbench.runs.opinion_columns import Opinion
from workbench.runs.predictions import save_predictions
from workbench.runs.sources import RoundSource, Source, SplitSource, opinions_of, source_from, sources_of
from workbench.support.errors import UserError

IDS = ("a", "b", "c")
TEACHER = np.array([[0.6, 0.4, 0.0], [1.0, 0.0, 0.0], [0.2, 0.3, 0.5]], dtype=np.float32)
STUDENT = np.array([[0.4, 0.6, 0.0], [1.0, 0.0, 0.0], [0.0, 0.1, 0.9]], dtype=np.float32)
LABELS = np.array([0, 0, 2])


def add_round(
    run: RunDirectory,
    number: int,
    probabilities: np.ndarray[tuple[int, int], np.dtype[np.float32]],
    flipped: str = "",
) -> None:
    """A round that says each image's most probable class."""
    rows = [
        PseudoLabel(id_, CLASSES[int(p.argmax())], float(p.max()), 0.1, 1.0, True, 1.0, id_ in flipped, None)
        for id_, p in zip(IDS, probabilities, strict=True)
    ]
    write_ledger(run.ledger(number), rows)
    save_predictions(run.predictions(f"unlabelled-{number:02d}"), IDS, probabilities, LABELS)


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run with a teacher and a student on the test images, and three rounds."""
    made = finish(make_run(tmp_path), make_results(teacher_accuracy=0.7))
    save_predictions(made.predictions("teacher-test"), IDS, TEACHER, LABELS)
    # The order of the images differs between the files: they are matched by id.
    save_predictions(made.predictions("test"), IDS[::-1], STUDENT[::-1].copy(), LABELS[::-1].copy())
    add_round(made, 1, TEACHER)
    add_round(made, 2, STUDENT, flipped="a")
    add_round(made, 3, TEACHER, flipped="ac")
    return made


def apart(run: RunDirectory, source: Source) -> list[float]:
    """Of the images in their order."""
    found = disagreements(run, source, ImageIds.of(IDS))
    assert found is not None
    return [float(value) for value in found]


def test_disagreement_is_the_total_variation_distance_of_teacher_and_student(run: RunDirectory) -> None:
    expected = [pytest.approx(0.2), pytest.approx(0.0), pytest.approx(0.4)]
    assert apart(run, SplitSource("test")) == expected
    assert apart(run, SplitSource("test", teacher=True)) == expected
    assert disagreements(run, SplitSource("val"), ImageIds.of(IDS)) is None
    strangers = disagreements(run, SplitSource("test"), ImageIds.of(["c", "nobody"]))
    assert strangers is not None
    assert strangers.tolist() == [pytest.approx(0.4), pytest.approx(float("nan"), nan_ok=True)]


def test_a_round_is_compared_with_the_last_and_the_last_with_the_first(run: RunDirectory) -> None:
    assert apart(run, RoundSource(1)) == [0.0] * 3
    assert apart(run, RoundSource(2))[2] == pytest.approx(0.4)
    add_round(run, 4, STUDENT)
    assert apart(run, RoundSource(4))[2] == pytest.approx(0.4)
    assert apart(run, RoundSource(1))[0] == pytest.approx(0.2)
    run.predictions("unlabelled-04").unlink()
    assert disagreements(run, RoundSource(1), ImageIds.of(IDS)) is None


def test_one_round_has_nothing_to_disagree_with(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    add_round(run, 1, TEACHER)
    assert disagreements(run, RoundSource(1), ImageIds.of(IDS)) is None
    opinions = with_changes(run, opinions_of(run, RoundSource(1)), RoundSource(1))
    assert Doubt.DISAGREEMENT not in known_orders(opinions)
    assert Doubt.FLIPS in known_orders(opinions)


def test_flips_are_counted_over_all_rounds(run: RunDirectory) -> None:
    assert flip_counts(run, ImageIds.of(["nobody", *IDS])).tolist() == [-1, 2, 0, 1]
    opinions = with_changes(run, opinions_of(run, RoundSource(1)), RoundSource(1))
    assert [row.id for row in rank(opinions.rows, Doubt.FLIPS)] == ["a", "c", "b"]
    assert [row.id for row in rank(opinions.rows, Doubt.FLIPS, surest_first=True)] == ["b", "c", "a"]
    assert [row.flips for row in with_changes(run, opinions, SplitSource("test")).rows] == [None] * 3


def test_flipped_ones_can_be_chosen(run: RunDirectory) -> None:
    assert [row.id for row in choose(opinions_of(run, RoundSource(3)), Choice(flipped=True))] == ["a", "c"]


def test_images_of_equal_flips_come_by_confidence_and_unknown_ones_last() -> None:
    known = Opinion("sure", "x", None, 0.9, 0.1, 1.0, None, flips=1)
    rows = [replace(known, id="unknown", flips=None), known, replace(known, id="unsure", confidence=0.2)]
    assert [row.id for row in rank(rows, Doubt.FLIPS)] == ["unsure", "sure", "unknown"]
    assert [row.id for row in rank(rows, Doubt.FLIPS, surest_first=True)] == ["sure", "unsure", "unknown"]


def test_a_run_lists_what_can_be_inspected(run: RunDirectory, tmp_path: Path) -> None:
    keys = [source.key for source in sources_of(run)]
    assert keys == ["round:1", "round:2", "round:3", "test", "teacher-test"]
    assert [source_from(key) for key in keys] == sources_of(run)
    for nonsense in ("", "round:", "round:x", "round:-1", "teacher-", "train"):
        assert source_from(nonsense) is None
    assert sources_of(make_run(tmp_path, "waiting")) == []


def test_damaged_predictions_are_named(run: RunDirectory) -> None:
    run.predictions("teacher-test").write_bytes(b"PK\x03\x04")
    with pytest.raises(UserError, match=r"teacher-test\.npz"):
        disagreements(run, SplitSource("test"), ImageIds.of(IDS))
