"""Class priors: estimated, drawn towards even, named, and told to a student's loss."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch.nn import functional

from workbench.pseudo import distance, estimate_prior, labelled_shares, logit_offsets, prior, shrunk_shares

CLASSES = 6
EVEN = np.full(CLASSES, 1 / CLASSES)
SKEWED = np.array([0.4, 0.3, 0.15, 0.08, 0.05, 0.02])
# A sharp model that is too sure of itself and fond of class 0: what calibration must undo.
_BIAS = np.array([1.0, 0, 0, 0, 0, -1.0])


def _seen(
    shares: NDArray[np.float64], images: int, seed: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """(N, C) outputs of one imperfect model on images of this mixture, and their classes."""
    random = np.random.default_rng(seed)
    labels = random.choice(CLASSES, size=images, p=shares)
    logits = 2.2 * np.eye(CLASSES)[labels] + random.normal(size=(images, CLASSES)) + _BIAS
    powers = np.exp(2 * logits)
    return (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32), labels


def test_a_skewed_pool_is_found_and_told_from_chance() -> None:
    seen, labels = _seen(EVEN, 600, 0)
    pool, truth = _seen(SKEWED, 2000, 1)
    mixture = np.bincount(truth, minlength=CLASSES) / len(truth)
    found = estimate_prior(pool, seen, labels, EVEN)
    assert found.shares.sum() == pytest.approx(1)
    assert distance(found.shares, mixture) < 0.06
    # Averaging what the model says is further off: it is fond of class 0.
    assert distance(pool.mean(axis=0, dtype=np.float64), mixture) > distance(found.shares, mixture)
    assert found.differs
    assert not estimate_prior(pool, seen, labels, mixture).differs


def test_an_even_pool_is_within_chance_of_even() -> None:
    wrong = 0
    for seed in range(20):
        seen, labels = _seen(EVEN, 200, 100 + seed)
        pool, _ = _seen(EVEN, 1000, 200 + seed)
        wrong += estimate_prior(pool, seen, labels, EVEN).differs
    assert wrong <= 2  # one in twenty is what a 95 % quantile promises


def test_an_estimate_is_a_function_of_its_seed() -> None:
    seen, labels = _seen(EVEN, 60, 0)
    pool, _ = _seen(SKEWED, 100, 1)
    first, again = (estimate_prior(pool, seen, labels, EVEN, seed=3) for _ in range(2))
    assert first.noise == again.noise
    np.testing.assert_array_equal(first.shares, again.shares)


@settings(deadline=None)
@given(st.lists(st.integers(0, 50), min_size=2, max_size=12))
def test_shrunk_shares_lie_between_even_and_what_was_counted(counts: list[int]) -> None:
    found = shrunk_shares(np.array(counts))
    even = np.full(len(counts), 1 / len(counts))
    seen = np.array(counts) / max(1, sum(counts))
    assert found.sum() == pytest.approx(1)
    if sum(counts) > 1:
        assert (np.minimum(even, seen) - 1e-12 <= found).all()
        assert (found <= np.maximum(even, seen) + 1e-12).all()


def test_counts_that_chance_explains_are_taken_as_even_and_others_are_not() -> None:
    random = np.random.default_rng(0)
    few = np.bincount(random.choice(CLASSES, 30), minlength=CLASSES)
    assert distance(shrunk_shares(few), EVEN) < 0.05
    many = np.bincount(random.choice(CLASSES, 3000, p=SKEWED), minlength=CLASSES)
    assert distance(shrunk_shares(many), SKEWED) < 0.03


def test_shares_among_labels_leave_no_class_out() -> None:
    np.testing.assert_allclose(labelled_shares(np.array([0, 2])), [0.25, 0.75])


def test_offsets_make_a_model_of_one_mixture_right_for_another() -> None:
    """Bias alone, fitted with offsets on a skewed mixture, comes out as the mixture that will be met."""
    taught = torch.tensor(SKEWED, dtype=torch.float32)
    offsets = torch.from_numpy(logit_offsets(SKEWED, EVEN))
    bias = torch.zeros(CLASSES, requires_grad=True)
    optimizer = torch.optim.LBFGS([bias], max_iter=200, line_search_fn="strong_wolfe")

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = functional.cross_entropy((bias + offsets)[None], taught[None])
        value.backward()  # type: ignore[no-untyped-call]
        return value

    optimizer.step(loss)  # type: ignore[no-untyped-call]
    met = torch.softmax(bias.detach(), 0)
    torch.testing.assert_close(met, torch.full((CLASSES,), 1 / CLASSES), atol=1e-3, rtol=0)


def test_equal_mixtures_need_no_offset_and_a_class_that_nothing_teaches_is_left_alone() -> None:
    np.testing.assert_allclose(logit_offsets(7 * SKEWED, SKEWED), 0, atol=1e-6)
    untaught = logit_offsets(np.array([2.0, 1.0, 0.0]), np.array([0.25, 0.25, 0.5]))
    np.testing.assert_allclose(untaught, np.log([4 / 3, 2 / 3, 1.0]), rtol=1e-6)
    rare = logit_offsets(np.array([1.0, 1e-9]), np.array([0.5, 0.5]))
    assert rare[1] == pytest.approx(np.log(0.025 / 0.5))


def test_very_many_images_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prior, "_MOST", 300 * CLASSES)
    seen, labels = _seen(EVEN, 400, 0)
    pool, truth = _seen(SKEWED, 5000, 1)
    found = estimate_prior(pool, seen, labels, EVEN)
    assert distance(found.shares, np.bincount(truth, minlength=CLASSES) / len(truth)) < 0.12
    assert found.differs
