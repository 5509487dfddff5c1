"""Temperature, calibration error and the reliability diagram, by numbers that can be done by hand."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.runs.making import make_results
from workbench.runs.calibration import (
    BINS,
    believed_temperature,
    bins_of,
    calibration_error,
    calibration_from,
    confidences,
    fit_temperature,
    reliability_of,
    tempered,
)
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions


def drawn(seed: int, images: int, sharpness: float) -> tuple[np.ndarray, np.ndarray]:
    """(N, 3) probabilities of a model that is too sure by this power, and labels."""
    random = np.random.default_rng(seed)
    truth = random.dirichlet(np.ones(3), images)
    labels = (truth.cumsum(axis=1) > random.random((images, 1))).argmax(axis=1)
    said = truth**sharpness
    return (said / said.sum(axis=1, keepdims=True)).astype(np.float32), labels


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_what_made_a_model_too_sure(sharpness: float) -> None:
    said, labels = drawn(0, 40_000, sharpness)
    temperature = fit_temperature(said, labels)
    assert temperature == pytest.approx(sharpness, rel=0.05)
    right = said.argmax(axis=1) == labels
    after = calibration_error(confidences(tempered(said, temperature)), right)
    assert after < 0.01
    if sharpness != 1:
        assert calibration_error(confidences(said), right) > 0.05


def test_images_that_are_all_right_tell_no_temperature() -> None:
    said, _ = drawn(1, 30, 1.0)
    assert believed_temperature(said, said.argmax(axis=1)) == 1.0


@given(st.integers(1, 400), st.integers(0, 2**32 - 1))
@settings(deadline=None)
def test_bins_hold_every_image_once_and_as_many_each(images: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    confidence, right = random.random(images), random.random(images) < 0.5
    bins = bins_of(confidence, right)
    assert len(bins) == min(BINS, max(1, images // 10))
    assert sum(one.images for one in bins) == images
    assert max(one.images for one in bins) - min(one.images for one in bins) <= 1
    assert sum(one.images * one.accuracy for one in bins) == pytest.approx(right.sum())
    assert all(one.low <= one.confidence <= one.high for one in bins)
    assert all(one.high <= two.low for one, two in itertools.pairwise(bins))
    assert 0 <= calibration_error(confidence, right) <= 1


def test_the_error_by_hand() -> None:
    confidence = np.array([0.5] * 10 + [0.9] * 10)
    right = np.array([True] * 6 + [False] * 4 + [True] * 8 + [False] * 2)
    assert calibration_error(confidence, right) == pytest.approx(0.1)


def test_a_run_of_before_is_calibrated_by_its_predictions(tmp_path: Path) -> None:
    run, results = RunDirectory(tmp_path), make_results()
    assert calibration_from(run) is None
    assert reliability_of(run, results) is None
    for split, seed in (("val", 2), ("test", 3)):
        said, labels = drawn(seed, 500, 2.0)
        save_predictions(run.predictions(split), [f"{i}" for i in range(500)], said, labels)
    found = calibration_from(run)
    assert found is not None
    assert found.images == 500
    assert found.test_error is not None
    assert found.test_error_before is not None
    assert found.test_error < found.test_error_before
    diagram = reliability_of(run, results)
    assert diagram is not None
    assert diagram.calibration == found
    assert sum(one.images for one in diagram.bins) == 500
    noted = replace(found, temperature=1.0)
    believed = reliability_of(run, replace(results, calibration=noted))
    assert believed is not None
    assert believed.calibration == noted
    assert believed.bins != diagram.bins
    run.predictions("test").unlink()
    lost = calibration_from(run)
    assert lost == replace(found, test_error=None, test_error_before=None)
