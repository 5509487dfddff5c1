"""The numbers of results.toml against torchmetrics and scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
import sklearn.metrics
import torch
import torchmetrics.functional.classification as oracle
from hypothesis import given
from hypothesis import strategies as st

from workbench.train.evaluation import (
    Floats,
    Ints,
    class_recall,
    confusion_matrix,
    evaluate_probabilities,
    expected_calibration_error,
    macro_f1,
    negative_log_likelihood,
    top_k_accuracy,
)


def _predictions(seed: int, images: int, classes: int) -> tuple[Floats, Ints]:
    """(images, classes) probabilities that are right more often than chance, and labels."""
    random = np.random.default_rng(seed)
    labels = random.integers(classes, size=images)
    logits = random.normal(size=(images, classes))
    logits[np.arange(images), labels] += 1
    powers = np.exp(logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


CASES = given(st.integers(0, 10_000), st.integers(1, 200), st.integers(2, 12))


@CASES
def test_every_number_agrees_with_torchmetrics(seed: int, images: int, classes: int) -> None:
    probabilities, labels = _predictions(seed, images, classes)
    scores, truth = torch.from_numpy(probabilities), torch.from_numpy(labels)
    found = evaluate_probabilities(probabilities, labels)
    assert found.images == images
    matrix = oracle.multiclass_confusion_matrix(scores, truth, classes)
    assert torch.equal(torch.tensor(found.confusion), matrix)
    accuracy = oracle.multiclass_accuracy(scores, truth, classes, average="micro")
    assert found.accuracy == pytest.approx(float(accuracy), abs=1e-6)
    if classes > 5:
        top5 = oracle.multiclass_accuracy(scores, truth, classes, average="micro", top_k=5)
        assert found.top5 == pytest.approx(float(top5), abs=1e-6)
    else:
        assert found.top5 == 1.0
    error = oracle.multiclass_calibration_error(scores, truth, classes, n_bins=15)
    assert found.calibration_error == pytest.approx(float(error), abs=1e-5)
    recall = oracle.multiclass_recall(scores, truth, classes, average=None)
    for ours, theirs, there in zip(found.recall, recall.tolist(), matrix.sum(dim=1).tolist(), strict=True):
        if there:
            assert ours == pytest.approx(theirs, abs=1e-6)
        else:
            assert ours is None


@CASES
def test_macro_f1_and_loss_agree_with_scikit_learn(seed: int, images: int, classes: int) -> None:
    probabilities, labels = _predictions(seed, images, classes)
    predicted = probabilities.argmax(axis=1)
    confusion = confusion_matrix(predicted, labels, classes)
    assert confusion.tolist() == (
        sklearn.metrics.confusion_matrix(labels, predicted, labels=range(classes)).tolist()
    )
    # Without `labels`, scikit-learn averages over the classes that are present or predicted, as we do.
    expected = sklearn.metrics.f1_score(labels, predicted, average="macro")
    assert macro_f1(confusion) == pytest.approx(expected, abs=1e-9)
    exact = probabilities.astype(np.float64)
    loss = sklearn.metrics.log_loss(labels, exact / exact.sum(axis=1, keepdims=True), labels=range(classes))
    assert negative_log_likelihood(probabilities, labels) == pytest.approx(loss, rel=1e-4)


def test_a_class_without_images_has_no_recall() -> None:
    assert class_recall(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 2]])) == (0.75, None, 1.0)


def test_macro_f1_leaves_out_classes_that_are_neither_there_nor_predicted() -> None:
    assert macro_f1(np.array([[2, 0, 0], [0, 2, 0], [0, 0, 0]])) == 1.0
    assert macro_f1(np.array([[2, 0, 0], [0, 0, 2], [0, 0, 0]])) == pytest.approx(1 / 3)


def test_calibration_error_by_hand() -> None:
    # One bin of confidence 0.9 with one of two right, one of confidence 1 that is right: 2/3 · 0.4.
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.0, 1.0]], dtype=np.float32)
    labels = np.array([0, 1, 1])
    assert expected_calibration_error(probabilities, labels) == pytest.approx(2 / 3 * 0.4, abs=1e-6)


def test_a_certain_and_wrong_prediction_has_a_finite_loss() -> None:
    loss = negative_log_likelihood(np.array([[1.0, 0.0]], dtype=np.float32), np.array([1]))
    assert loss == pytest.approx(-math.log(1e-12))


def test_top_k_takes_exactly_k_classes() -> None:
    probabilities = np.array([[0.3, 0.25, 0.2, 0.15, 0.1]] * 5, dtype=np.float32)
    labels = np.arange(5)
    for k in (1, 2, 3, 4):
        assert top_k_accuracy(probabilities, labels, k) == pytest.approx(k / 5)
