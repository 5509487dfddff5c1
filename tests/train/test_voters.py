"""Runs whose voters are tried on validation images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.loader.conftest import Recorder
from tests.train.making import HEAD, Trained, differing, go_on, tiny, train
from workbench.pseudo.graph import Hearing
from workbench.pseudo.neighbours import Near, exactly_nearest
from workbench.runs.events import Event, Message, RoundLabelled
from workbench.runs.paired import Pair
from workbench.train import near_rows, teacher

Features = NDArray[np.float32]

VOTES = """
[pseudo_label]
strategy = "class_balanced"
labelled_fraction = 0.5
propagation = 0.4
prototypes = 0.3
rounds = 2
epochs_per_round = 2
"""


def said(trained: Trained) -> list[str]:
    return [event.text for event in trained.events(Message) if "has no vote" in event.text]


def ledgers(trained: Trained) -> list[str]:
    """What was believed of the pool, round by round."""
    return [trained.directory.ledger(number).read_text() for number in (1, 2)]


class InRound2(Recorder):
    """Breaks once the pool is labelled a second time."""

    def event(self, event: Event) -> None:
        super().event(event)
        if isinstance(event, RoundLabelled) and event.round == 2:
            raise RuntimeError("power")


def lose_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten validation images could not tell: let the voters be wrong about what the teacher knows."""

    def lost(*_: object) -> list[Hearing]:
        return [Hearing("propagation", Pair(20, 40, 5, 10)), Hearing("prototypes", Pair(20, 12, 0, 43))]

    monkeypatch.setattr(teacher, "hear_voters", lost)


def never(*_: object) -> list[Hearing]:
    raise AssertionError("the voters were tried again")


def test_whoever_lost_the_vote_is_named_and_the_run_is_as_without_it(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = train(
        tiny(HEAD + VOTES, sample, "pseudo_label.propagation=0", "pseudo_label.prototypes=0"), tmp_path
    )
    heard = train(tiny(HEAD + VOTES, sample), tmp_path)
    assert not said(heard), "of ten validation images nothing is clear"
    lose_all(monkeypatch)
    silenced = train(tiny(HEAD + VOTES, sample), tmp_path)
    assert said(silenced) == [
        "pseudo_label.propagation has no vote: on 75 validation images it is right about 33.33 %, the "
        "teacher about 80.00 % (McNemar's p <.001)",
        "pseudo_label.prototypes has no vote: on 75 validation images it is right about 26.67 %, the teacher "
        "about 42.67 % (McNemar's p <.001)",
    ]
    assert ledgers(silenced) == ledgers(alone)
    assert ledgers(heard) != ledgers(alone)


def test_a_resumed_run_keeps_who_is_unheard(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = tiny(HEAD + VOTES, sample, "training.checkpoint_seconds=0", "pseudo_label.next_teacher=latest")
    lose_all(monkeypatch)
    whole = train(recipe, tmp_path)
    broken = train(recipe, tmp_path, recorder=InRound2())
    assert broken.outcome.code == 1
    monkeypatch.setattr(teacher, "hear_voters", never)
    resumed = go_on(broken.directory, recipe, tmp_path)
    assert resumed.outcome.code == 0, resumed.outcome
    assert not differing(resumed.weights(), whole.weights())


def test_within_folds_nobody_is_tried(sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "hear_voters", never)
    trained = train(tiny(HEAD + VOTES, sample, "data.label_folds=2"), tmp_path)
    assert trained.outcome.code == 0, trained.outcome


def test_neighbours_that_were_passed_over_are_told_in_log_and_results(
    sample: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def by_cells(unit: Features, k: int) -> Near:
        searched.append(len(unit))
        near = exactly_nearest(unit, k)
        return Near(near.rows, near.cosines, 0.9625)

    recipe = tiny(HEAD + VOTES, sample)
    exact = train(recipe, tmp_path / "exact")
    monkeypatch.setattr(near_rows, "nearest_others", by_cells)
    passed_over = train(recipe, tmp_path / "passed over")
    text = "neighbours were looked for by cells, 96.25 % of them found"
    told = [event.text for event in passed_over.events(Message) if "cells" in event.text]
    assert told == [f"round 1: {text}", f"round 2: {text}"]
    assert text in passed_over.directory.log.read_text()
    assert [row.neighbour_recall for row in passed_over.results.rounds] == [0.9625, 0.9625]
    assert [row.neighbour_recall for row in exact.results.rounds] == [None, None]
    assert "neighbour_recall" not in exact.directory.results.read_text()
    assert passed_over.results.weights_sha256 == exact.results.weights_sha256
    # With validation images once, to hear the voters; without them in round 1, and that is kept for round 2.
    assert len(searched) == 2
