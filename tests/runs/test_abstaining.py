"""Thresholds and sets: what they promise is kept, in simulations whose truth is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.runs.abstaining import RISK, TRIED, Judgement, Sets, threshold_for, thresholds_of
from workbench.runs.calibration import confidences, tempered
from workbench.runs.predictions import Predictions
from workbench.support.errors import UserError

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]

VALIDATION = "validation images"


def world(random: np.random.Generator, images: int, classes: int = 8) -> tuple[Floats, Ints]:
    """(N, C) probabilities and labels: easy and hard images, of a model that is too sure of itself."""
    logits = random.normal(size=(images, classes)) * random.gamma(2, 4, size=(images, 1))
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    drawn = (truth.cumsum(axis=1) > random.random((images, 1))).argmax(axis=1)
    said = truth**1.7
    return (said / said.sum(axis=1, keepdims=True)).astype(np.float32), drawn.astype(np.int64)


def predictions(said: Floats, labels: Ints) -> Predictions:
    return Predictions(tuple(f"image-{i}" for i in range(len(labels))), said, labels)


@pytest.mark.parametrize(("images", "sure"), [(200, 0.8), (700, 0.9), (700, 0.95)])
def test_what_a_threshold_promises_is_broken_as_rarely_as_is_said(images: int, sure: float) -> None:
    """Also with a temperature fitted to the very images. Over 200 worlds; a broken one is one in twenty."""
    random = np.random.default_rng(11)
    said, labels = world(random, 60_000)
    right = said.argmax(axis=1) == labels
    kept, broken = 0, 0
    for _ in range(200):
        drawn = random.choice(len(said), images, replace=False)
        try:
            judgement = Judgement.from_validation(predictions(said[drawn], labels[drawn]), sure=sure)
        except UserError:
            continue
        kept += 1
        assert judgement.threshold is not None
        least = judgement.threshold.confidence
        sure_ones = confidences(tempered(said[:10_000], judgement.temperature)) >= least
        broken += right[:10_000][sure_ones].mean() < sure - 0.005  # what 10,000 images tell of it
    assert kept > 20
    assert broken <= 200 * RISK


def test_every_promise_holds_at_once() -> None:
    """Ten promises a validation set; in how many of 300 sets is any of them broken?"""
    random = np.random.default_rng(5)
    said, labels = world(random, 40_000)
    sure, right = confidences(said), said.argmax(axis=1) == labels
    order = np.argsort(-sure)
    accuracy = np.cumsum(right[order]) / np.arange(1, len(order) + 1)
    broken = 0
    for _ in range(300):
        drawn = random.choice(len(said), 300, replace=False)
        tried = thresholds_of(sure[drawn], right[drawn])
        true = [
            accuracy[max(0, int(np.searchsorted(-sure[order], -one.confidence, side="right")) - 1)]
            for one in tried
        ]
        broken += any(one.promised > share for one, share in zip(tried, true, strict=True))
    assert broken <= 300 * RISK


@given(st.integers(1, 300), st.integers(0, 2**32 - 1), st.sampled_from([2, 3, 5, 10**6]))
@settings(deadline=None)
def test_a_threshold_is_reached_by_the_images_that_are_counted(images: int, seed: int, values: int) -> None:
    """However many of them are equally sure."""
    random = np.random.default_rng(seed)
    confidence = random.integers(1, values + 1, images) / values
    right = random.random(images) < 0.7
    tried = thresholds_of(confidence, right)
    assert 1 <= len(tried) <= TRIED
    assert [one.images for one in tried] == sorted({one.images for one in tried})
    for one in tried:
        reached = confidence >= one.confidence
        assert (one.images, one.of) == (reached.sum(), images)
        assert one.wrong == (~right[reached]).sum()
        assert 0 <= one.promised <= 1 - one.wrong / one.images
    assert tried[-1].images == images
    assert tried[-1].confidence == 0


def test_the_smallest_threshold_that_promises_it_is_taken() -> None:
    confidence = np.linspace(1, 0.01, 1000)
    right = np.ones(1000, dtype=np.bool_)
    right[700:] = False
    right[650] = False
    tried = thresholds_of(confidence, right)
    found = threshold_for(tried, 0.98, VALIDATION)
    assert (found.images, found.wrong) == (700, 1)
    assert found.words(VALIDATION).startswith("700 of 1,000 validation images are at least 0.3")
    assert "1 of them wrong: right 99.86 % (99.2–100.0)" in found.words(VALIDATION)
    assert threshold_for(tried, 0.5, VALIDATION).images == 1000


def test_few_images_say_what_they_can_promise() -> None:
    tried = thresholds_of(np.linspace(1, 0.1, 37), np.ones(37, dtype=np.bool_))
    with pytest.raises(UserError, match=r"37 .* cannot promise 99 %: the best is 86\.6 %") as caught:
        threshold_for(tried, 0.99, VALIDATION)
    assert "--sure 0.866 promises that" in caught.value.hint
    assert threshold_for(tried, 0.866, VALIDATION).images == 37
    with pytest.raises(UserError, match="the best is 0 %") as caught:
        threshold_for(thresholds_of(np.ones(3), np.zeros(3, dtype=np.bool_)), 0.5, VALIDATION)
    assert "label more images" in caught.value.hint


@pytest.mark.parametrize(("images", "level"), [(19, 0.95), (40, 0.9), (300, 0.99)])
def test_sets_have_the_true_class_as_often_as_promised(images: int, level: float) -> None:
    """The mean over 200 calibrations is at least the level (Vovk et al. 2005), less chance."""
    random = np.random.default_rng(3)
    said, labels = world(random, 50_000)
    found = []
    for _ in range(200):
        drawn = random.choice(len(said), images + 100, replace=False)
        fitted, others = drawn[:images], drawn[images:]
        sets = Sets.fitted(said[fitted], labels[fitted], level)
        assert sets.promised == level
        found.append(np.mean([t in s for t, s in zip(labels[others], sets.of(said[others]), strict=True)]))
    error = np.std(found) / math.sqrt(len(found))
    assert np.mean(found) >= level - 3 * error


def test_sets_by_class_keep_the_promise_of_every_class() -> None:
    random = np.random.default_rng(8)
    said, labels = world(random, 40_000, classes=4)
    said = said.copy()
    said[:, 0] *= 0.2  # a class that the model does not like
    said /= said.sum(axis=1, keepdims=True)
    found = np.zeros((60, 4))
    for draw in range(60):
        drawn = random.choice(len(said), 1400, replace=False)
        fitted, others = drawn[:400], drawn[400:]
        sets = Sets.fitted(said[fitted], labels[fitted], 0.9)
        assert sets.by_class
        inside = np.array([t in s for t, s in zip(labels[others], sets.of(said[others]), strict=True)])
        found[draw] = [inside[labels[others] == one].mean() for one in range(4)]
    assert (found.mean(axis=0) >= 0.9 - 3 * found.std(axis=0) / math.sqrt(60)).all()
    few = Sets.fitted(said[:12], labels[:12], 0.9)
    assert not few.by_class


def test_too_few_images_promise_what_they_can() -> None:
    said, labels = world(np.random.default_rng(1), 12)
    sets = Sets.fitted(said, labels, 0.99)
    assert (sets.promised, sets.images, sets.by_class) == (12 / 13, 12, False)


@given(st.integers(1, 60), st.integers(2, 9), st.integers(0, 2**32 - 1), st.floats(0.5, 0.999))
@settings(deadline=None)
def test_a_set_begins_with_the_most_probable_class_and_goes_down(
    images: int, classes: int, seed: int, level: float
) -> None:
    random = np.random.default_rng(seed)
    said = random.dirichlet(np.full(classes, 0.4), images).astype(np.float32)
    labels = random.integers(0, classes, images)
    sets = Sets.fitted(said, labels, level)
    for row, among in zip(said, sets.of(said), strict=True):
        assert among[0] == row.argmax()
        assert sorted(set(among), key=lambda one: (-row[one], one)) == list(among)
    inside = [label in among for label, among in zip(labels, sets.of(said), strict=True)]
    assert np.mean(inside) >= sets.promised - 1e-9


@given(st.floats(0.05, 20), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_no_temperature_changes_the_most_probable_class(temperature: float, seed: int) -> None:
    random = np.random.default_rng(seed)
    said = random.dirichlet(np.full(37, 0.05), 50).astype(np.float32)
    said[0] = 1 / 37  # all alike
    told = Judgement(temperature).of(said)
    assert [one.best for one in told] == said.argmax(axis=1).tolist()
    for one in told:
        assert one.probabilities[one.best] == one.probabilities.max()
        assert one.confidence == pytest.approx(float(one.probabilities.max()))
        assert one.is_sure


def test_the_sets_are_fitted_to_the_images_that_are_told_of() -> None:
    random = np.random.default_rng(2)
    said, labels = world(random, 3000)
    judgement = Judgement.from_validation(predictions(said, labels), sure=0.9)
    assert judgement.threshold is not None
    assert judgement.sets is not None
    assert judgement.sets.images == 3000 - judgement.threshold.images
    others, truth = world(random, 6000)
    told = judgement.of(others)
    unsure = [(one, label) for one, label in zip(told, truth, strict=True) if not one.is_sure]
    assert all(not one.among for one in told if one.is_sure)
    assert all(one.among[0] == one.best for one, _ in unsure)
    assert np.mean([label in one.among for one, label in unsure]) == pytest.approx(0.9, abs=0.03)
    text = "\n".join(judgement.words(VALIDATION))
    assert "90 % is promised, with 95 % confidence over the 10 thresholds tried" in text
    assert "not for another camera's or of something else" in text


def test_images_without_a_label_do_not_count() -> None:
    said, labels = world(np.random.default_rng(4), 400)
    mixed = labels.copy()
    mixed[::2] = -1
    some = Judgement.from_validation(predictions(said, mixed), sure=0.6)
    known = Judgement.from_validation(predictions(said[1::2], labels[1::2]), sure=0.6)
    assert some.threshold == known.threshold
    with pytest.raises(UserError, match="none of the validation images has a label"):
        Judgement.from_validation(predictions(said, np.full(400, -1)))


def test_images_that_judged_out_of_fold_are_called_that() -> None:
    said, labels = world(np.random.default_rng(6), 40)
    judged_by = "labelled images, out of fold"
    with pytest.raises(UserError, match="40 labelled images, out of fold, cannot promise 99 %"):
        Judgement.from_validation(predictions(said, labels), sure=0.99, judged_by=judged_by)
