"""Confident learning against hand-worked numbers and a transcription of its equations."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.runs.making import CLASSES, finish, make_results, make_run
from workbench.runs.doubt import Choice, Doubt, choose, known_orders, rank
from workbench.runs.label_issues import (
    OUT_OF_FOLD,
    Duplicate,
    IssueRule,
    IssueSearch,
    LabelIssues,
    find_label_issues,
    issue_opinions,
    judged,
    read_search,
    write_search,
)
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.runs.sources import IssueSource, opinions_of, source_from, sources_of
from workbench.support.digests import summed_write
from workbench.support.errors import UserError

PROBABILITIES = np.array(
    [
        [0.9, 0.1, 0.0],  # given 0: t_0 = (0.9 + 0.8 + 0.1) / 3 = 0.6
        [0.8, 0.1, 0.1],
        [0.1, 0.9, 0.0],  # given 0, but 0.9 >= t_1: an issue
        [0.2, 0.7, 0.1],  # given 1: t_1 = (0.7 + 0.5) / 2 = 0.6
        [0.5, 0.5, 0.0],  # given 1, reaches neither 0.6: counted nowhere
        [0.7, 0.0, 0.3],  # given 2, alone: not judged, and t_2 is out of reach
    ],
    dtype=np.float32,
)
GIVEN = np.array([0, 0, 0, 1, 1, 2])
MORE = np.repeat(np.array([[0.6, 0.4, 0.0], [0.4, 0.6, 0.0]], dtype=np.float32), 30, axis=0)
"""Labels enough to tell of the first two classes, whose thresholds stay what they are."""


def judge(probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> LabelIssues:
    """By confident learning, however few the labels."""
    rule = IssueRule.CONFIDENT_LEARNING
    return find_label_issues(probabilities, labels, rule, least_a_class=2, least_in_all=0)


def test_a_hand_worked_example() -> None:
    issues = judge(PROBABILITIES, GIVEN)
    assert issues.thresholds == pytest.approx([0.6, 0.6, np.inf])
    assert issues.suggested.tolist() == [0, 0, 1, 1, -1, 0]
    assert issues.is_issue.tolist() == [False, False, True, False, False, False]
    assert issues.confident_joint.tolist() == [[2, 1, 0], [0, 1, 0], [0, 0, 0]]
    assert issues.self_confidence == pytest.approx([0.9, 0.8, 0.1, 0.7, 0.5, 0.3])
    assert issues.margin == pytest.approx([0.8, 0.7, -0.8, 0.5, 0.0, -0.4])
    # Rows calibrated to 3 and 2 images: of these five one is off the diagonal.
    assert issues.estimated == pytest.approx(1.0)


def transcribed(
    probabilities: NDArray[np.float32], given: NDArray[np.int64]
) -> tuple[NDArray[np.int64], set[int]]:
    """Eq. 1 and 2 image by image: the confident joint, and those off its diagonal that seem another class.

    Of several classes that reach their threshold cleanlab counts the most probable class of all.
    """
    count, classes = probabilities.shape
    members = {j: [i for i in range(count) if given[i] == j] for j in range(classes)}
    thresholds = {
        j: sum(float(probabilities[i, j]) for i in own) / len(own) for j, own in members.items() if own
    }
    joint, wrong = np.zeros((classes, classes), dtype=np.int64), set()
    for i in range(count):
        reached = [j for j in thresholds if float(probabilities[i, j]) >= thresholds[j] - 1e-6]
        if not reached:
            continue
        surest = max(range(classes), key=lambda j: (float(probabilities[i, j]), -j))
        best = reached[0] if len(reached) == 1 else surest
        joint[given[i], best] += 1
        if best != given[i] and probabilities[i, surest] > probabilities[i, given[i]] + 1e-6:
            wrong.add(i)
    return joint, wrong


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 6), each=st.integers(2, 8))
def test_it_is_what_the_equations_say(seed: int, classes: int, each: int) -> None:
    draws = np.random.default_rng(seed)
    labels = np.repeat(np.arange(classes), each)
    probabilities = draws.dirichlet(np.full(classes, 0.5), len(labels)).astype(np.float32)
    issues = judge(probabilities, labels)
    joint, wrong = transcribed(probabilities, labels)
    assert issues.confident_joint.tolist() == joint.tolist()
    assert set(np.flatnonzero(issues.is_issue).tolist()) == wrong
    assert 0 <= issues.estimated <= len(labels) + 1e-9
    shuffled = draws.permutation(len(labels))
    again = judge(probabilities[shuffled], labels[shuffled])
    assert again.is_issue.tolist() == issues.is_issue[shuffled].tolist()


def test_labels_that_all_agree_with_a_sure_model_are_no_issues() -> None:
    labels = np.arange(12) % 3
    sure = np.eye(3, dtype=np.float32)[labels]
    issues = judge(sure, labels)
    assert not issues.is_issue.any()
    assert issues.estimated == 0.0
    even = judge(np.full((12, 3), 1 / 3, dtype=np.float32), labels)
    assert even.confident_joint.sum() == 12  # rounding keeps none from its own mean


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    """A finished run whose three classes were judged as in `PROBABILITIES`."""
    made = make_run(tmp_path)
    finish(made, replace(make_results(), classes=CLASSES))
    ids = [f"{i}.jpg" for i in range(6)] + [f"more_{i}.jpg" for i in range(60)]
    labels = np.concatenate([GIVEN, np.repeat([0, 1], 30)])
    save_predictions(made.predictions(OUT_OF_FOLD), ids, np.concatenate([PROBABILITIES, MORE]), labels)
    pair = Duplicate("3.jpg", CLASSES[1], "t.jpg", CLASSES[1], "test", 0.99)
    write_search(made, IssueSearch(5, 0, "run", False, 0.95, (pair,)))
    return made


def test_opinions_suggest_a_label_and_put_likely_wrong_ones_first(run: RunDirectory) -> None:
    assert sources_of(run)[-1] == IssueSource() == source_from("label-issues")
    opinions = opinions_of(run, IssueSource())
    assert known_orders(opinions) == [Doubt.SELF_CONFIDENCE, Doubt.LABEL_MARGIN]
    assert opinions.rule == "confident_learning"
    ranked = rank(opinions.rows, Doubt.SELF_CONFIDENCE)
    assert [row.id for row in ranked if "more" not in row.id] == [f"{i}.jpg" for i in (2, 5, 4, 3, 1, 0)]
    first = ranked[0]
    assert (first.said, first.true, first.second) == (CLASSES[1], CLASSES[0], CLASSES[0])
    assert (first.confidence, first.self_confidence) == pytest.approx((0.9, 0.1))
    fitting = choose(opinions, Choice(issues=True))
    assert [row.id for row in fitting] == ["2.jpg", "3.jpg"]
    assert [row.twin for row in fitting] == [None, "t.jpg"]
    assert not any(row.too_few for row in opinions.rows)
    turned = rank(opinions.rows, Doubt.LABEL_MARGIN, surest_first=True)
    assert [turned[0].id, turned[-1].id] == ["0.jpg", "2.jpg"]
    choices = opinions.choices
    assert choices is not None
    assert [likely.name for likely in choices.top("2.jpg", 2)] == [CLASSES[1], CLASSES[0]]


def test_of_too_few_labels_one_cannot_tell_and_suspects_say_how_many_there_are(run: RunDirectory) -> None:
    """The same labels without the sixty more: the issue is a suspect, and comes first all the same."""
    ids = [f"{i}.jpg" for i in range(6)]
    save_predictions(run.predictions(OUT_OF_FOLD), ids, PROBABILITIES, GIVEN)
    found = judged(run)
    assert found.too_few == dict(zip(CLASSES, (3, 2, 1), strict=True)) == found.labels_a_class
    opinions = opinions_of(run, IssueSource())
    assert [row.issue for row in opinions.rows] == [False] * 6
    assert {row.id: row.too_few for row in opinions.rows if row.too_few} == {"2.jpg": 2}
    first = rank(opinions.rows, Doubt.SELF_CONFIDENCE)[0]
    assert (first.id, first.said, first.true) == ("2.jpg", CLASSES[1], CLASSES[0])
    assert [row.id for row in choose(opinions, Choice(issues=True))] == ["2.jpg", "3.jpg"]


def test_the_rule_is_kept_with_the_search_and_older_searches_flagged_by_confident_learning(
    run: RunDirectory,
) -> None:
    search = read_search(run)
    assert search.rule is IssueRule.CONFIDENT_LEARNING
    write_search(run, replace(search, rule=IssueRule.PREDICTED_NEQ_GIVEN))
    opinions = opinions_of(run, IssueSource())
    assert opinions.rule == "predicted_neq_given"
    assert [row.id for row in opinions.rows if row.issue] == ["2.jpg"]
    older = {key: value for key, value in asdict(search).items() if key not in ("rule", "duplicates")}
    summed_write(run.label_issues, run.path, json.dumps(older).encode())
    assert read_search(run).rule is IssueRule.CONFIDENT_LEARNING


def test_a_run_that_nobody_searched_says_how(tmp_path: Path) -> None:
    made = make_run(tmp_path)
    finish(made, replace(make_results(), classes=CLASSES))
    assert IssueSource() not in sources_of(made)
    with pytest.raises(UserError, match="petbench label-issues"):
        issue_opinions(made)


def test_damaged_files_are_told(run: RunDirectory) -> None:
    assert read_search(run).duplicates[0].similarity == 0.99
    save_predictions(run.predictions(OUT_OF_FOLD), ["a"], PROBABILITIES[:1], np.array([-1]))
    with pytest.raises(UserError, match="do not fit"):
        issue_opinions(run)
    run.label_issues.write_text('{"folds": "five"}')
    with pytest.raises(UserError, match="damaged"):
        read_search(run)
