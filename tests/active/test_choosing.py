"""What is offered next, how the head learns, and when it says to stop: held for any images and any labels."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.active.grouping import Groups
from workbench.active.head import SET_ASIDE, UNLABELLED, Labels, Learner, labels_of
from workbench.active.offer_queue import Queue
from workbench.active.stopping import doubted, extrapolated, judge
from workbench.dataset.table import drawing_order, random_sample
from workbench.labels.journal import Journal, Row, journal_of
from workbench.labels.protocol import Offer, Order

IMAGES, CLASSES, WIDTH = 90, 3, 12
NAMES = ("cat", "dog", "cow")
PATHS = tuple(f"{number:03d}.jpg" for number in range(IMAGES))
START = datetime(2026, 1, 1, tzinfo=UTC)


@cache
def blobs(spread: float = 0.4) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Features of three kinds of images, and which kind each is of."""
    random = np.random.default_rng(0)
    truth = random.permutation(np.arange(IMAGES) % CLASSES)
    centres = np.eye(CLASSES, WIDTH) * 3
    noise = random.standard_normal((IMAGES, WIDTH)) * spread
    return (centres[truth] + noise).astype(np.float32), truth


@cache
def groups() -> Groups:
    return Groups(blobs()[0])


def journal_with(said: dict[int, str]) -> Journal:
    """A journal in which each image was labelled at a stroke of its own."""
    rows = [
        Row(PATHS[row], name, "ann", START + timedelta(seconds=k))
        for k, (row, name) in enumerate(said.items())
    ]
    return journal_of(Path("labels.csv"), rows)


def learned(journal: Journal) -> tuple[Labels, Learner]:
    labels, learner = labels_of(journal, PATHS), Learner(blobs()[0])
    learner.learn(labels)
    return labels, learner


SAID = st.dictionaries(st.integers(0, IMAGES - 1), st.sampled_from([*NAMES, "?", "!", ""]), max_size=IMAGES)


@settings(max_examples=60, deadline=None)
@given(
    said=SAID,
    order=st.sampled_from(get_args(Order)),
    most=st.integers(1, 30),
    group=st.booleans(),
    skip=st.sets(st.sampled_from(PATHS), max_size=8),
)
def test_an_offer_has_only_images_of_which_nothing_is_said_and_none_to_skip(
    said: dict[int, str], order: Order, most: int, group: bool, skip: set[str]
) -> None:
    journal = journal_with(said)
    labels, learner = learned(journal)
    free = {PATHS[row] for row in np.flatnonzero(labels.free)} - skip
    queue = Queue(PATHS)
    for turn in range(6):
        request = Offer(turn, order, most, group, tuple(skip))
        offered = queue.offer(request, journal, labels, learner, groups())
        paths = [image.path for image in offered.images]
        assert set(paths) <= free
        assert len(paths) == len(set(paths)) <= most
        assert bool(paths) == bool(free)
        assert offered.order != "auto"
        assert offered.serial == turn
        assert offered.why
        for image in offered.images:
            assert (image.guess is None) == (learner.probabilities is None)
            assert image.guess is None or image.guess in labels.names


@settings(max_examples=30, deadline=None)
@given(said=SAID, most=st.integers(1, 30))
def test_before_features_are_there_chance_draws(said: dict[int, str], most: int) -> None:
    journal = journal_with(said)
    offered = Queue(PATHS).offer(Offer(1, most=most), journal, labels_of(journal, PATHS), None, None)
    assert offered.random
    assert offered.order == "random"


@settings(max_examples=60, deadline=None)
@given(said=SAID)
@example(said=dict(zip(map(PATHS.index, drawing_order(PATHS)), ("cat", "?", "", "dog"), strict=False)))
def test_the_random_sample_is_the_beginning_of_an_order_that_no_label_has_a_say_in(
    said: dict[int, str],
) -> None:
    labels, queue = labels_of(journal_with(said), PATHS), Queue(PATHS)
    everything = dict.fromkeys(range(IMAGES), "cat")
    order = queue.random_sample(labels_of(journal_with(everything), PATHS)).tolist()
    sample = queue.random_sample(labels).tolist()
    assert sorted(order) == list(range(IMAGES))
    looked_at = order[: next((k for k, row in enumerate(order) if labels.of[row] == UNLABELLED), IMAGES)]
    assert sample == [row for row in looked_at if labels.of[row] >= 0]
    assert [PATHS[row] for row in sample] == random_sample(journal_with(said), PATHS)


def test_random_draws_fill_the_sample_one_after_the_other() -> None:
    said: dict[int, str] = {}
    queue = Queue(PATHS)
    for count in range(1, 10):
        journal = journal_with(said)
        labels, learner = learned(journal)
        (image,) = queue.offer(Offer(count, "random"), journal, labels, learner, groups()).images
        said[PATHS.index(image.path)] = NAMES[count % CLASSES]
        assert len(queue.random_sample(labels_of(journal_with(said), PATHS))) == count


def test_one_offer_in_five_is_random_and_what_was_unticked_comes_next() -> None:
    _, truth = blobs()
    said: dict[int, str] = {}
    queue, orders = Queue(PATHS), []
    left: set[int] = set()
    for turn in range(20):
        journal = journal_with(said)
        labels, learner = learned(journal)
        offered = queue.offer(Offer(turn, most=12), journal, labels, learner, groups())
        rows = [PATHS.index(image.path) for image in offered.images]
        orders.append(offered.order)
        if offered.order == "near_mistake":
            assert set(rows) <= left
        kind = truth[rows[0]]
        left |= {row for row in rows if truth[row] != kind}
        said |= {row: NAMES[kind] for row in rows if truth[row] == kind}
        if len(said) == IMAGES:
            break
    assert orders[0] == "typical"
    assert [order == "random" for order in orders[:10]] == [False, False, False, False, True] * 2


def test_a_group_looks_alike() -> None:
    _, truth = blobs()
    free = np.ones(IMAGES, dtype=np.bool_)
    used: set[int] = set()
    for _ in range(3):
        number, rows = groups().typical(free, np.empty(0, dtype=np.int64), used)
        used.add(number)
        assert len(set(truth[rows].tolist())) == 1


def test_typical_ones_move_away_from_what_is_labelled() -> None:
    features, truth = blobs()
    made = Groups(np.repeat(features, 3, axis=0))  # clusters enough to choose from
    kinds = np.repeat(truth, 3)
    labelled = np.flatnonzero(kinds == 0)[:10]
    free = np.ones(len(kinds), dtype=np.bool_)
    free[labelled] = False
    assert kinds[made.typical(free, labelled, set())[1][0]] != 0


@settings(max_examples=30, deadline=None)
@given(rows=st.sets(st.integers(0, IMAGES - 1), min_size=1), others=st.sets(st.integers(0, IMAGES - 1)))
def test_what_is_alike_is_a_part_of_what_was_asked_with_its_centre_first(
    rows: set[int], others: set[int]
) -> None:
    asked = np.array(sorted(rows))
    found = groups().alike(asked, np.array(sorted(others - rows), dtype=np.int64))
    assert len(found) >= 1
    assert set(found.tolist()) <= rows
    assert len(set(found.tolist())) == len(found)


def test_images_that_are_the_same_make_groups_too() -> None:
    made = Groups(np.ones((40, 8), dtype=np.float32))
    _, rows = made.typical(np.ones(40, dtype=np.bool_), np.empty(0, dtype=np.int64), set())
    assert len(rows)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_folder_of_hardly_an_image_is_grouped(count: int) -> None:
    made = Groups(np.ones((count, 8), dtype=np.float32))
    _, rows = made.typical(np.ones(count, dtype=np.bool_), np.empty(0, dtype=np.int64), set())
    assert len(rows) == count


def test_the_head_knows_what_a_few_labels_taught_it_and_forgets_what_was_taken_back() -> None:
    _, truth = blobs()
    said = {
        int(row): NAMES[truth[row]] for kind in range(CLASSES) for row in np.flatnonzero(truth == kind)[:3]
    }
    _, learner = learned(journal_with(said))
    assert learner.probabilities is not None
    numbers = np.array([NAMES.index(name) for name in learner.names])
    assert (numbers[learner.probabilities.argmax(axis=1)] == truth).mean() > 0.95
    learner.learn(labels_of(journal_with({0: "cat"}), PATHS))
    assert learner.probabilities is None
    assert learner.names == ()


def test_a_head_that_goes_on_from_the_last_one_ends_where_a_new_one_does() -> None:
    _, truth = blobs(1.5)
    said = {row: NAMES[truth[row]] for row in range(40)}
    _, fresh = learned(journal_with(said | {row: NAMES[truth[row]] for row in range(40, 60)}))
    _, grown = learned(journal_with(said))
    for count in (45, 50, 55, 60, 60, 60):
        grown.learn(labels_of(journal_with({row: NAMES[truth[row]] for row in range(count)}), PATHS))
    assert fresh.probabilities is not None
    assert grown.probabilities is not None
    assert np.abs(fresh.probabilities - grown.probabilities).max() < 0.02


@settings(max_examples=40, deadline=None)
@given(said=SAID)
def test_a_journal_is_laid_over_images_by_their_paths(said: dict[int, str]) -> None:
    labels = labels_of(journal_with(said | {0: "cat"}), PATHS[1:])
    for row, path in enumerate(PATHS[1:], 1):
        number = labels.of[row - 1]
        word = said.get(row, "")
        assert number == {"": UNLABELLED, "?": SET_ASIDE, "!": SET_ASIDE}.get(word, number)
        assert number < 0 or labels.names[number] == word, path
    assert labels.counts.min(initial=1) >= 1


@settings(max_examples=40, deadline=None)
@given(
    accuracies=st.lists(st.floats(0, 1), min_size=3, max_size=3),
    size=st.integers(20, 2000),
    more=st.integers(1, 2000),
)
def test_more_labels_are_never_said_to_harm_or_to_bring_more_than_there_is_to_gain(
    accuracies: list[float], size: int, more: int
) -> None:
    sizes = np.array([0.25, 0.5, 1.0]) * size
    gain = extrapolated(sizes, np.array(accuracies), size + more)
    assert 0 <= gain <= 1 - accuracies[-1] + 1e-9


def test_a_power_law_is_continued_as_it_goes() -> None:
    def accuracy(count: float) -> float:
        return float(0.97 - 1.5 * count**-0.7)

    sizes = np.array([50.0, 100.0, 200.0])
    gain = extrapolated(sizes, np.array([accuracy(n) for n in sizes]), 400)
    assert gain == pytest.approx(accuracy(400) - accuracy(200), abs=0.003)


def test_the_stop_line_is_said_from_random_draws_and_only_once_there_are_enough() -> None:
    _, truth = blobs(1.5)
    labels = labels_of(journal_with({row: NAMES[truth[row]] for row in range(60)}), PATHS)
    inputs = Learner(blobs(1.5)[0]).inputs
    few = judge(inputs, labels, np.arange(3))
    assert few.accuracy is None
    assert few.text == "60 labelled · 3 classes · 7 more random draws tell how right the model is"
    said = judge(inputs, labels, np.arange(40))
    assert said.accuracy is not None
    assert said.low is not None
    assert said.high is not None
    assert said.low <= said.accuracy <= said.high
    assert said.more == 20
    assert said.text.startswith(f"60 labelled · 3 classes · {said.accuracy * 100:.0f} % (")
    assert "by cross-validation on 40 random draws · 20 more" in said.text


def test_a_class_with_hardly_a_label_is_told() -> None:
    labels = labels_of(journal_with({0: "cat", 1: "cat", 2: "cat", 3: "dog"}), PATHS)
    assert judge(torch.zeros(IMAGES, 2), labels, np.arange(0)).lacking == ("dog",)


def test_a_wrong_label_is_shown_for_a_second_look_before_all_others() -> None:
    _, truth = blobs()
    said = {row: NAMES[truth[row]] for row in range(60)}
    said[7] = NAMES[(truth[7] + 1) % CLASSES]
    labels, learner = learned(journal_with(said))
    first, *rest = doubted(learner.inputs, labels, PATHS, 5)
    assert (first.path, first.label, first.guess) == (PATHS[7], said[7], NAMES[truth[7]])
    assert len(rest) <= 4
