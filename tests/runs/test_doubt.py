"""Opinions read from a run's files, ranked and chosen."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from tests.runs.making import CLASSES, finish, make_results, make_run
from workbench.runs.doubt import Choice, Doubt, choose, confused_pairs, rank
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel, write_ledger
from workbench.runs.opinion_columns import Opinion
from workbench.runs.opinions import round_opinions, split_opinions
from workbench.runs.predictions import save_predictions
from workbench.support.digests import SUMS
from workbench.support.errors import UserError

PROBABILITIES = np.array(
    [[0.50, 0.45, 0.05], [0.60, 0.20, 0.20], [0.10, 0.20, 0.70], [0.48, 0.26, 0.26]], dtype=np.float32
)
LABELS = np.array([1, 0, 2, -1])
IDS = ("close", "sure", "surest", "unknown")


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run with test predictions of four images."""
    made = finish(make_run(tmp_path), make_results())
    save_predictions(made.predictions("test"), IDS, PROBABILITIES, LABELS)
    return made


def opinion(id_: str, true: str | None, said: str) -> Opinion:
    return Opinion(id_, said, None, 0.5, 0.1, 1.0, true)


def test_predictions_become_opinions_with_names(run: RunDirectory) -> None:
    close, sure, _, unknown = split_opinions(run, "test").rows
    assert (close.said, close.second, close.true, close.wrong) == (
        "Abyssinian",
        "Bengal",
        "Bengal",
        True,
    )
    assert close.confidence == pytest.approx(0.5)
    assert close.margin == pytest.approx(0.05)
    assert close.entropy == pytest.approx(-sum(p * math.log(p) for p in (0.5, 0.45, 0.05)), abs=1e-6)
    assert sure.wrong is False
    assert (unknown.true, unknown.wrong) == (None, None)


@pytest.mark.parametrize(
    ("doubt", "expected"),
    [
        (Doubt.CONFIDENCE, ["unknown", "close", "sure", "surest"]),
        (Doubt.MARGIN, ["close", "unknown", "sure", "surest"]),
        (Doubt.ENTROPY, ["unknown", "sure", "close", "surest"]),
    ],
)
def test_each_measure_ranks_in_its_own_way(run: RunDirectory, doubt: Doubt, expected: list[str]) -> None:
    ranked = rank(split_opinions(run, "test").rows, doubt)
    assert [row.id for row in ranked] == expected
    assert [row.id for row in rank(ranked, doubt, surest_first=True)] == expected[::-1]


def test_ties_keep_their_order_either_way() -> None:
    rows = [opinion(str(i), "Bengal", "beagle") for i in range(4)]
    for surest_first in (False, True):
        assert rank(rows, Doubt.MARGIN, surest_first=surest_first) == rows


def test_equal_probabilities_and_equal_doubts_keep_their_order(tmp_path: Path) -> None:
    run = finish(make_run(tmp_path), make_results())
    draws = np.random.default_rng(0)
    shares = draws.integers(1, 4, (300, len(CLASSES))).astype(np.float32)  # many ties
    shares /= shares.sum(axis=1, keepdims=True)
    ids = [f"{number:03d}" for number in range(300)]
    save_predictions(run.predictions("test"), ids, shares, np.zeros(300, dtype=np.int64))
    found = split_opinions(run, "test")
    order = np.argsort(-shares, axis=1, kind="stable")[:, :2].tolist()
    assert [(row.said, row.second) for row in found.rows] == [(CLASSES[a], CLASSES[b]) for a, b in order]
    ranked = rank(found.rows, Doubt.CONFIDENCE)
    assert ranked == sorted(found.rows, key=lambda row: row.confidence)
    assert rank(found.rows, Doubt.CONFIDENCE, surest_first=True) == sorted(
        found.rows, key=lambda row: -row.confidence
    )


def test_conditions_of_a_choice_all_hold(run: RunDirectory) -> None:
    opinions = split_opinions(run, "test")

    def ids(choice: Choice) -> list[str]:
        return [row.id for row in choose(opinions, choice)]

    assert ids(Choice()) == list(IDS)
    assert ids(Choice(wrong=True)) == ["close"]
    assert ids(Choice(class_name="Abyssinian")) == ["close", "sure", "unknown"]
    assert ids(Choice(class_name="Abyssinian", wrong=True)) == ["close"]
    assert ids(Choice(pair=("Bengal", "Abyssinian"))) == ["close"]
    assert ids(Choice(pair=("Abyssinian", "Bengal"))) == []
    assert ids(Choice(selected=True)) == []
    for choice in (Choice(class_name="bengal"), Choice(pair=("Bengal", "bengal"))):
        with pytest.raises(UserError, match="no class 'bengal'") as caught:
            ids(choice)
        assert "did you mean Bengal?" in caught.value.hint


def test_pairs_are_counted_as_shares_of_the_true_class() -> None:
    rows = [
        opinion("1", "Bengal", "beagle"),
        opinion("2", "Bengal", "beagle"),
        opinion("3", "Bengal", "Bengal"),
        opinion("4", "beagle", "Bengal"),
        opinion("5", "Abyssinian", "Bengal"),
        opinion("6", None, "Bengal"),
    ]
    pairs = confused_pairs(rows)
    assert [(pair.true, pair.predicted, pair.count) for pair in pairs] == [
        ("Bengal", "beagle", 2),
        ("Abyssinian", "Bengal", 1),
        ("beagle", "Bengal", 1),
    ]
    assert pairs[0].share == pytest.approx(2 / 3)
    assert confused_pairs([]) == []


def make_round(run: RunDirectory, said: tuple[str, ...]) -> None:
    """A ledger of the four images with these pseudo-labels, and its predictions."""
    rows = [
        PseudoLabel(
            id=id_,
            pseudo_label=label,
            confidence=float(values.max()),
            margin=0.1,
            entropy=1.0,
            selected=index % 2 == 0,
            weight=1.0,
            flipped=index == 0,
            true_label=CLASSES[truth] if truth >= 0 else None,
        )
        for index, (id_, label, values, truth) in enumerate(
            zip(IDS, said, PROBABILITIES, LABELS.tolist(), strict=True)
        )
    ]
    write_ledger(run.ledger(1), rows)
    save_predictions(run.predictions("unlabelled-01"), IDS, PROBABILITIES, LABELS)


def test_a_rounds_second_choice_is_the_best_class_that_was_not_said(run: RunDirectory) -> None:
    # The first image keeps an earlier pseudo-label, though Abyssinian is its most probable class now.
    make_round(run, ("Bengal", "Abyssinian", "beagle", "Abyssinian"))
    rows = round_opinions(run, 1).rows
    assert [row.second for row in rows] == ["Abyssinian", "Bengal", "Bengal", "Bengal"]
    assert [row.selected for row in rows] == [True, False, True, False]
    assert rows[0].flipped is True


def test_a_round_of_an_unfinished_run_takes_names_from_its_ledger(tmp_path: Path) -> None:
    run = make_run(tmp_path)
    make_round(run, ("Abyssinian", "Abyssinian", "beagle", "Abyssinian"))
    opinions = round_opinions(run, 1)
    assert opinions.classes == ("Abyssinian", "Bengal", "beagle")
    assert opinions.rows[0].second == "Bengal"
    run.predictions("unlabelled-01").unlink()
    with pytest.raises(UserError, match="the round's predictions are gone"):
        round_opinions(run, 1)
    (run.path / SUMS).unlink()  # older runs do not tell that it was ever there
    assert [row.second for row in round_opinions(run, 1).rows] == [None] * 4


def test_what_is_missing_is_told_with_what_there_is(run: RunDirectory, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no rounds of pseudo-labels") as caught:
        round_opinions(run, 1)
    assert caught.value.allowed == "--split test"
    make_round(run, ("Bengal",) * 4)
    with pytest.raises(UserError, match="no round 2: the run has round 1"):
        round_opinions(run, 2)
    with pytest.raises(UserError, match="no predictions named val") as caught:
        split_opinions(run, "val")
    assert caught.value.allowed == "--split test, --round 1"
    waiting = make_run(tmp_path, "waiting")
    with pytest.raises(UserError, match="no predictions yet") as caught:
        split_opinions(waiting, "test")
    assert caught.value.hint == f"petbench resume {waiting.handle} goes on with it"


def test_no_images_are_no_opinions(run: RunDirectory) -> None:
    empty = np.zeros((0, 3), dtype=np.float32)
    save_predictions(run.predictions("val"), (), empty, np.zeros(0, dtype=np.int64))
    found = split_opinions(run, "val")
    assert (list(found.rows), found.classes) == ([], CLASSES)
