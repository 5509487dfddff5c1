"""Every rule flags what cleanlab flags; below a number of labels nothing is flagged, and suspects say why."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.runs.issue_oracle import drawn_labels, flags_of_cleanlab, recorded_cases
from workbench.runs.label_issues import (
    LEAST_A_CLASS,
    LEAST_IN_ALL,
    IssueRule,
    LabelIssues,
    find_label_issues,
    judged_classes,
)

CASES = recorded_cases()
RULES = pytest.mark.parametrize("rule", list(IssueRule))


def judged_all(probabilities: np.ndarray, labels: np.ndarray, rule: IssueRule) -> LabelIssues:
    """As cleanlab judges, however few the labels."""
    return find_label_issues(probabilities, labels, rule, least_a_class=2, least_in_all=0)


@RULES
def test_every_rule_flags_what_cleanlab_flags(rule: IssueRule) -> None:
    assert any(case.flags[rule] for case in CASES)
    for case in CASES:
        found = judged_all(case.probabilities, case.given, rule)
        assert np.flatnonzero(found.is_issue).tolist() == case.flags[rule]


def test_what_is_recorded_is_what_cleanlab_says() -> None:
    pytest.importorskip("cleanlab")
    for case in CASES:
        for rule in IssueRule:
            assert case.flags[rule] == flags_of_cleanlab(case, rule), rule


@RULES
@pytest.mark.parametrize("seed", range(1000, 1040))
def test_labels_drawn_anew_are_flagged_as_by_cleanlab(rule: IssueRule, seed: int) -> None:
    pytest.importorskip("cleanlab")
    labels = drawn_labels(seed)
    found = judged_all(labels.probabilities, labels.given, rule)
    assert np.flatnonzero(found.is_issue).tolist() == flags_of_cleanlab(labels, rule)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 100_000))
def test_how_the_rules_hang_together(seed: int) -> None:
    labels = drawn_labels(seed)
    found = {rule: judged_all(labels.probabilities, labels.given, rule) for rule in IssueRule}
    flags = {rule: issues.is_issue for rule, issues in found.items()}
    both = flags[IssueRule.PRUNE_BY_CLASS] & flags[IssueRule.PRUNE_BY_NOISE_RATE]
    assert flags[IssueRule.BOTH].tolist() == both.tolist()
    confident = int(flags[IssueRule.CONFIDENT_LEARNING].sum())
    assert int(flags[IssueRule.LOW_SELF_CONFIDENCE].sum()) == confident
    assert int(flags[IssueRule.LOW_NORMALIZED_MARGIN].sum()) == confident
    for rule in set(IssueRule) - {IssueRule.LOW_SELF_CONFIDENCE, IssueRule.LOW_NORMALIZED_MARGIN}:
        assert not (flags[rule] & ~flags[IssueRule.PREDICTED_NEQ_GIVEN]).any(), rule
    for issues in found.values():
        assert (issues.suggested[issues.is_issue] != labels.given[issues.is_issue]).all()
        assert not issues.too_few.any()


@RULES
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 100_000), least=st.integers(2, 12))
@example(
    seed=1927, least=8
)  # the judged class beside the label's own has a probability of 0, as the few have
def test_a_class_of_too_few_labels_is_never_judged(rule: IssueRule, seed: int, least: int) -> None:
    """Not its labels, and nothing is said to be it; what is flagged else is suspected, with the number."""
    labels = drawn_labels(seed)
    images = np.bincount(labels.given, minlength=labels.probabilities.shape[1])
    few = (images < least) & (images > 0)
    found = find_label_issues(labels.probabilities, labels.given, rule, least_a_class=least, least_in_all=0)
    assert not found.is_issue[few[labels.given]].any()
    assert not few[found.suggested[found.is_issue]].any()
    suspects = np.flatnonzero(found.too_few)
    for index in suspects.tolist():
        pair = labels.given[index], found.suggested[index]
        assert found.too_few[index] in [images[c] for c in pair if few[c]]
    wider = judged_all(labels.probabilities, labels.given, rule).is_issue
    assert set(suspects.tolist()) <= set(np.flatnonzero(wider & ~found.is_issue).tolist())
    assert {i for i in np.flatnonzero(wider).tolist() if few[labels.given[i]]} <= set(suspects.tolist())


def test_below_so_many_labels_a_class_or_in_all_no_class_is_judged() -> None:
    enough = -(-LEAST_IN_ALL // LEAST_A_CLASS)
    assert judged_classes(np.full(enough, LEAST_A_CLASS)).all()
    assert not judged_classes(np.full(enough, LEAST_A_CLASS - 1)).any()
    assert judged_classes(np.array([LEAST_A_CLASS - 1, LEAST_IN_ALL])).tolist() == [False, True]
    in_all = np.array([LEAST_IN_ALL // 2, LEAST_IN_ALL - LEAST_IN_ALL // 2 - 1])
    assert not judged_classes(in_all).any()
