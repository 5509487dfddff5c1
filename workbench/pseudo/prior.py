"""Class priors: how frequent each class is among images that nobody labelled, and where a model will be used.

Rules that balance classes need it. Uniform is right for a benchmark and wrong for most folders, so it is
estimated from what the teacher says of the pool, and the estimate is believed only where it differs from what
was expected by more than chance would make it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.pool import Pool
from workbench.recipe.offline import Taught
from workbench.runs.calibration import fit_temperature, tempered

Floats = NDArray[np.float64]

# No class that has a share is ever quite impossible: else a column that is 0 could not reach its sum.
LEAST_PROBABILITY = 1e-12


def balanced(pool: Pool, knobs: Taught, marginal: Floats | None) -> Pool:
    """The pool with its class frequencies made what `knobs` expects; as it is with `balance = "none"`.

    Images that nothing is said of (`reached`) stay as they are and do not count.

    Args:
        marginal: (C,) the average share of each class that the round before kept, for alignment.
    """
    if knobs.balance == "none":
        return pool
    probabilities = pool.probabilities.astype(np.float64)
    said = np.ones(len(probabilities), dtype=np.bool_) if pool.reached is None else pool.reached
    prior = pool.labelled_prior
    if knobs.balance == "sinkhorn":
        probabilities[said] = sinkhorn(probabilities[said], prior, knobs.sinkhorn_steps)
    elif said.any():
        now = probabilities[said].mean(axis=0)
        decay = knobs.alignment_decay
        marginal = now if marginal is None else decay * marginal + (1 - decay) * now
        probabilities[said] = align(probabilities[said], prior, marginal)
    kept = marginal if knobs.balance == "align" else None
    return replace(pool, probabilities=probabilities.astype(np.float32), marginal=kept)


def sinkhorn(probabilities: Floats, prior: Floats, steps: int) -> Floats:
    """(U, C) rows that sum to 1 and columns to U·prior, as near as `steps` alternations bring them.

    Sinkhorn and Knopp 1967: the columns' sums first, the rows' last, so that rows always are probabilities.
    """
    balanced = np.maximum(probabilities, LEAST_PROBABILITY) * (prior > 0)
    wanted = len(balanced) * prior
    for _ in range(steps):
        balanced *= np.divide(wanted, balanced.sum(axis=0), out=np.zeros_like(wanted), where=prior > 0)
        balanced /= balanced.sum(axis=1, keepdims=True)
    return balanced


def align(probabilities: Floats, prior: Floats, marginal: Floats) -> Floats:
    """(U, C) rows q·π/p̄, made to sum to 1 (Berthelot et al. 2020, Sec. 3.1)."""
    ratio = np.divide(prior, np.maximum(marginal, LEAST_PROBABILITY))
    aligned = np.maximum(probabilities, LEAST_PROBABILITY) * ratio
    shares: Floats = aligned / aligned.sum(axis=1, keepdims=True)
    return shares


DRAWS = 40
"""Bootstrap draws: enough for a 95 % quantile, at a few milliseconds each."""
_LEAST_SHARE = 1e-3
"""Of a uniform share: no class is ruled out by an estimate."""
_EM_STEPS, _BIAS_STEPS = 200, 30
_TRUST = 4
_MOST = 1_000_000
"""Probabilities that an estimate looks at: 27,000 images of 37 classes. More would say no more."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """What the teacher's word says of the pool's mixture."""

    shares: Floats
    """(C,) that sum to 1."""
    distance: float
    """From what was expected: total variation, 0 … 1."""
    noise: float
    """What that distance is by chance, where the pool is mixed as expected: the 95 % quantile."""

    @property
    def differs(self) -> bool:
        """Whether chance does not explain how far the estimate is from what was expected."""
        return self.distance > self.noise


def distance(first: Floats, second: Floats) -> float:
    """Total variation of two mixtures: the share of images that would have to change class, 0 … 1."""
    return float(np.abs(first - second).sum() / 2)


def shrunk_shares(counts: NDArray[np.int64]) -> Floats:
    """(C,) class shares behind a few counts: drawn towards uniform as far as the counts are chance.

    The James-Stein estimator of Hausser and Strimmer 2009, eq. 4 and 9: of counts that even classes would
    give it makes even shares, and it leaves many uneven ones alone.
    """
    classes, total = len(counts), int(counts.sum())
    uniform = np.full(classes, 1 / classes)
    if total <= 1:
        return uniform
    seen = counts / total
    spread = float(((uniform - seen) ** 2).sum())
    towards = 1.0 if spread == 0 else (1 - float((seen**2).sum())) / ((total - 1) * spread)
    towards = min(1.0, max(0.0, towards))
    shares: Floats = towards * uniform + (1 - towards) * seen
    return shares


def estimate_prior(
    pool: NDArray[np.float32],
    seen: NDArray[np.float32],
    labels: NDArray[np.int64],
    expected: Floats,
    *,
    seed: int = 0,
) -> Estimate:
    """The pool's class shares by maximum likelihood (EM, Saerens et al. 2002, eq. 2.4) on calibrated outputs.

    Outputs are calibrated first, by a temperature and a bias a class (bias-corrected temperature scaling,
    Alexandari et al. 2020), as their errors would otherwise be taken for shares. The few validation images of
    a class pull its bias only as far as they are evidence.

    What chance makes of a pool that is mixed as expected is seen by drawing such pools: each from validation
    images that the draw's own calibration did not see.

    Args:
        pool: (U, C) float32 probabilities of the pool.
        seen: (V, C) float32 of validation images, from the same model.
        labels: (V,) int64 their true classes.
        expected: (C,) shares.
        seed: of the draws.
    """
    random = np.random.default_rng(seed)
    pool, _ = _some(pool, np.zeros(len(pool), dtype=np.int64), random)
    seen, labels = _some(seen, labels, random)
    temperature = fit_temperature(seen, labels)
    sharp_pool, sharp_seen = (tempered(p, temperature).astype(np.float64) for p in (pool, seen))
    shares = _shares(sharp_pool, sharp_seen, labels)
    counts = np.bincount(labels, minlength=len(expected))
    chance = (expected / np.maximum(counts, 1))[
        labels
    ]  # of each validation image in a pool mixed as expected
    distances = []
    for _ in range(DRAWS):
        fitted = random.integers(0, len(seen), len(seen))
        others = np.setdiff1d(np.arange(len(seen)), fitted)
        weights = chance[others]
        if not weights.sum():
            continue
        drawn = random.choice(others, len(pool), p=weights / weights.sum())
        found = _shares(sharp_seen[drawn], sharp_seen[fitted], labels[fitted])
        distances.append(distance(found, expected))
    noise = float(np.quantile(distances, 0.95)) if distances else 1.0
    return Estimate(shares, distance(shares, expected), noise)


def _some(
    rows: NDArray[np.float32], labels: NDArray[np.int64], random: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The rows and their labels, or of very many a random part."""
    most = max(1, _MOST // rows.shape[1])
    if len(rows) <= most:
        return rows, labels
    chosen = np.sort(random.choice(len(rows), most, replace=False))
    return rows[chosen], labels[chosen]


def _shares(pool: Floats, seen: Floats, labels: NDArray[np.int64]) -> Floats:
    classes = pool.shape[1]
    counts = np.bincount(labels, minlength=classes).astype(np.float64)
    factors = np.ones(classes)
    # Beside the true counts as many imaginary images as _TRUST classes, of the mixture that the model itself
    # sees: a class of which there are two validation images is not half as frequent as one that has four.
    imaginary = _TRUST * classes
    wanted = (counts + imaginary * seen.mean(axis=0)) / (len(labels) + imaginary)
    for _ in range(_BIAS_STEPS):
        said = _scaled(seen, factors).mean(axis=0)
        factors *= wanted / np.maximum(said, 1e-12)
    calibrated = _scaled(pool, factors)
    source = _scaled(seen, factors).mean(axis=0)
    shares = source.copy()
    for _ in range(_EM_STEPS):
        before = shares
        shares = _scaled(calibrated, shares / np.maximum(source, 1e-12)).mean(axis=0)
        if np.abs(shares - before).sum() < 1e-5:
            break
    shares = np.maximum(shares, _LEAST_SHARE / classes)
    whole: Floats = shares / shares.sum()
    return whole


def _scaled(probabilities: Floats, factors: Floats) -> Floats:
    """(N, C) rows p·f, made to sum to 1."""
    scaled: Floats = probabilities * factors
    scaled /= np.maximum(scaled.sum(axis=1, keepdims=True), 1e-300)
    return scaled


def labelled_shares(counts: NDArray[np.int64]) -> Floats:
    """(C,) shares among labelled images, with one imaginary image a class (Laplace's rule of succession)."""
    shares: Floats = (counts + 1) / (counts.sum() + len(counts))
    return shares


def logit_offsets(taught: Floats, met: Floats) -> NDArray[np.float32]:
    """(C,) float32 ln(share taught / share met), which a training loss adds to the logits.

    Logit adjustment (Menon et al. 2021, eq. 10, τ = 1): a model fitted so has, without them, the outputs of
    one that was taught the mixture it will meet. A class that nothing teaches is left alone; no other is
    adjusted further than a share of a twentieth of an even one.

    Args:
        taught: (C,) the classes' weights among the targets, at any scale.
        met: (C,) shares.
    """
    known = taught > 0
    least = 0.05 / len(taught)
    offsets = np.zeros(len(taught), dtype=np.float32)
    among = met[known].sum()
    if among > 0:
        share, wanted = taught[known] / taught.sum(), met[known] / among
        offsets[known] = np.log(np.maximum(share, least) / np.maximum(wanted, least))
    return offsets
