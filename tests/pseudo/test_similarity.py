"""What images are compared by beside the trunk's features."""

from __future__ import annotations

import numpy as np

from workbench.pseudo import beside_classes


def test_a_cosine_is_the_mean_of_the_features_cosine_and_of_the_answers_overlap() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(5, 4)).astype(np.float32)
    weight, bias = random.normal(size=(7, 4)).astype(np.float32), random.normal(size=7).astype(np.float32)
    rows = beside_classes(features, weight, bias)
    assert rows.shape == (5, 11)
    assert rows.dtype == np.float32
    logits = (features.astype(np.float64) @ weight.T + bias) / 2
    answers = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    expected = unit @ unit.T + np.sqrt(answers) @ np.sqrt(answers).T
    np.testing.assert_allclose(rows @ rows.T, expected, rtol=1e-4)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.sqrt(2), rtol=1e-5)
