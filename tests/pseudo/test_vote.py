"""Voters beside the teacher: tried on validation images, unheard where they are clearly worse."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tests.pseudo.pools import knobs
from workbench.pseudo import Pool, choose, hear_voters, judge
from workbench.pseudo.graph import Hearing
from workbench.pseudo.pool import Voter
from workbench.recipe.offline import FromProbabilities
from workbench.runs.paired import Pair

SIDE = 20
"""Images of each of two clusters, in the pool and among those that validate."""


def both(**values: object) -> FromProbabilities:
    found = knobs("one_shot", propagation=0.4, prototypes=0.3, **values)
    assert isinstance(found, FromProbabilities)
    return found


def clusters(seed: int) -> np.ndarray:
    """(2·SIDE, 4) features: the first half about one axis, the second about another."""
    random = np.random.default_rng(seed)
    centres = np.repeat(np.array([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32), SIDE, axis=0)
    return (centres + random.normal(0, 0.05, centres.shape)).astype(np.float32)


def pool() -> Pool:
    """One labelled image in each cluster; the teacher is undecided."""
    even = np.full((2 * SIDE, 2), 0.5, dtype=np.float32)
    labelled = np.array([[1, 0, 0, 0], [0, 1, 0, 0]], dtype=np.float32)
    return Pool(even, np.array([1, 1]), clusters(1), labelled, np.array([0, 1]))


def hear(truth: np.ndarray, teacher_right: int, knobs: FromProbabilities | None = None) -> list[Hearing]:
    """Voters on images of the two clusters, beside a teacher that is right about the first so many."""
    said = np.where(np.arange(len(truth)) < teacher_right, truth, 1 - truth)
    teacher = np.eye(2, dtype=np.float32)[said]
    return hear_voters(pool(), knobs or both(), clusters(2), teacher, truth)


def test_voters_are_right_where_classes_are_the_clusters_and_keep_their_vote() -> None:
    truth = np.repeat([0, 1], SIDE)
    heard = hear(truth, 30)
    assert [one.voter for one in heard] == ["propagation", "prototypes"]
    for one in heard:
        assert one.pair == Pair(both=30, only_first=0, only_second=10, neither=0)
        assert not one.is_lost


def test_voters_lose_their_vote_where_a_teacher_knows_better_by_more_than_chance() -> None:
    alternating = np.arange(2 * SIDE) % 2  # half of each cluster: the voters guess
    for right, lost in ((40, True), (30, False)):  # 20 against 0 discordant; 15 against 5: p .041
        assert [one.is_lost for one in hear(alternating, right)] == [lost, lost], right


def test_of_two_equals_and_of_a_better_one_none_is_lost() -> None:
    assert not Hearing("propagation", Pair(5, 20, 20, 5)).is_lost
    assert not Hearing("propagation", Pair(5, 0, 40, 5)).is_lost
    assert Hearing("propagation", Pair(5, 40, 0, 5)).is_lost
    assert not Hearing("propagation", Pair(0, 7, 0, 0)).is_lost  # p .016: so few images tell nothing
    assert not Hearing("propagation", Pair(0, 0, 0, 0)).is_lost


def test_images_that_no_label_reaches_say_nothing_against_propagation() -> None:
    far = np.zeros((2 * SIDE, 4), dtype=np.float32)
    far[:, 3] = 1  # near each other, and at a right angle to whatever is labelled
    truth = np.ones(2 * SIDE, dtype=np.int64)
    teacher = np.eye(2, dtype=np.float32)[truth]
    only = knobs("one_shot", propagation=0.4)
    assert isinstance(only, FromProbabilities)
    (heard,) = hear_voters(pool(), only, far, teacher, truth)
    assert heard.pair == Pair(0, 0, 0, 0)


@pytest.mark.parametrize("balance", ["none", "sinkhorn"])
def test_hearing_changes_nothing_of_what_is_said_of_the_pool(balance: str) -> None:
    voters, before = both(balance=balance), pool()
    said = judge(before, voters, None).probabilities
    hear(np.repeat([0, 1], SIDE), 30, voters)
    np.testing.assert_array_equal(judge(before, voters, None).probabilities, said)


@pytest.mark.parametrize("unheard", ["propagation", "prototypes"])
def test_without_a_voter_the_others_share_its_vote(unheard: Voter) -> None:
    teacher = replace(pool(), probabilities=np.tile(np.array([[0.3, 0.7]], np.float32), (2 * SIDE, 1)))
    voted = judge(replace(teacher, unheard=(unheard,)), both(), None).probabilities
    # Of 0.3 own, 0.4 and 0.3 the share of whoever is left, beside its own, stays in proportion.
    left: dict[str, float] = (
        {"prototypes": 0.3 / 0.6} if unheard == "propagation" else {"propagation": 0.4 / 0.7}
    )
    expected = judge(teacher, knobs("one_shot", **left), None).probabilities
    np.testing.assert_allclose(voted, expected, rtol=1e-5)


def test_with_nobody_heard_the_teachers_word_stands() -> None:
    teacher = replace(pool(), unheard=("propagation", "prototypes"))
    for shares in ({}, {"propagation": 0.5, "prototypes": 0.5}):
        voters = both().model_copy(update=shares)
        voted = judge(teacher, voters, None).probabilities
        np.testing.assert_allclose(voted, teacher.probabilities, rtol=1e-6)


def test_who_is_unheard_in_the_first_round_is_unheard_in_all() -> None:
    voters = both()
    first = choose(judge(replace(pool(), unheard=("propagation",)), voters, None), voters, 1, None)
    assert first.unheard == ("propagation",)
    second = judge(pool(), voters, first)
    assert second.unheard == ("propagation",)
    assert choose(second, voters, 2, first).unheard == ("propagation",)
