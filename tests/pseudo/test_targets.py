"""Hard and soft targets."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.pseudo.pools import distinct_probabilities, knobs, pool
from workbench.pseudo import select
from workbench.pseudo.pool import hard_targets, soft_targets


def test_hard_targets_are_the_first_choice_and_ties_take_the_lower_class() -> None:
    rows = np.array([[0.2, 0.5, 0.3], [0.4, 0.2, 0.4]], dtype=np.float32)
    assert hard_targets(rows).tolist() == [[0, 1, 0], [1, 0, 0]]


def test_soft_targets_at_temperature_one_are_the_probabilities() -> None:
    rows = distinct_probabilities(0, 20, 5)
    np.testing.assert_allclose(soft_targets(rows, 1.0), rows, rtol=1e-6)


@pytest.mark.parametrize("temperature", [0.25, 0.5, 2.0, 10.0])
def test_soft_targets_are_a_softmax_of_divided_logits(temperature: float) -> None:
    rows = distinct_probabilities(1, 20, 5)
    expected = torch.softmax(torch.from_numpy(rows).double().log() / temperature, dim=1).numpy()
    np.testing.assert_allclose(soft_targets(rows, temperature), expected, rtol=1e-5)


def test_a_temperature_by_hand() -> None:
    # sqrt(0.64) : sqrt(0.36) = 0.8 : 0.6
    np.testing.assert_allclose(
        soft_targets(np.array([[0.64, 0.36]], dtype=np.float32), 2.0), [[0.8 / 1.4, 0.6 / 1.4]], rtol=1e-6
    )


def test_soft_targets_of_a_certain_teacher_stay_finite() -> None:
    rows = np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32)
    for temperature in (0.01, 1.0, 100.0):
        targets = soft_targets(rows, temperature)
        assert np.isfinite(targets).all()
        np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-6)


def test_the_recipe_decides_targets_and_weights() -> None:
    teacher = pool([[0.64, 0.36], [0.3, 0.7]])
    soft = select(teacher, knobs("one_shot", targets="soft", temperature=2.0, pseudo_weight=0.5), 1, None)
    np.testing.assert_allclose(soft.targets, soft_targets(teacher.probabilities, 2.0))
    assert soft.weights.tolist() == [0.5, 0.5]
    hard = select(teacher, knobs("one_shot"), 1, None)
    assert hard.targets.tolist() == [[1, 0], [0, 1]]
    assert hard.weights.tolist() == [1, 1]
