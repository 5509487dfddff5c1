"""Which images to label first: the typical ones of each cluster of features. No label is read."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.neighbours import unit_rows

Ints = NDArray[np.int64]
Features = NDArray[np.float32]
# Hacohen et al. 2022, Sec. 3.2: no more clusters than this, and neighbours in the density of a point.
MOST_CLUSTERS = 500
DENSITY_NEIGHBOURS = 20
RESTARTS = 10
MOST_STEPS = 100
_PAIRS = 2**26
"""Distances held at once, 256 MB; clusters of up to 8,192 images are looked at whole."""


def most_typical(features: Features, count: int, method: Literal["kmeans", "typiclust"], seed: int) -> Ints:
    """(count,) int64 ascending rows to label: clusters take turns, the largest first.

    TypiClust (Hacohen et al. 2022, Alg. 1): k-means into min(count, 500) clusters, then of each cluster the
    image whose 20 nearest within it are nearest; `kmeans`: the one nearest the cluster's centre.

    Args:
        features: (N, D) float32, compared by direction alone.
    """
    unit = unit_rows(features)
    clusters, centres = k_means(unit, min(count, MOST_CLUSTERS, len(unit)), seed)
    queues = []
    for label in range(len(centres)):
        rows = np.flatnonzero(clusters == label)
        worth = unit[rows] @ centres[label] if method == "kmeans" else _density(unit[rows])
        queues.append(rows[np.argsort(-worth, kind="stable")])
    queues.sort(key=lambda rows: -len(rows))
    turns = [rows[turn] for turn in range(max(map(len, queues))) for rows in queues if turn < len(rows)]
    return np.sort(np.array(turns[:count], dtype=np.int64))


def _density(unit: Features) -> NDArray[np.float32]:
    """(M,) the inverse mean distance of each point to its nearest others (Hacohen et al. 2022, eq. 1)."""
    k = min(DENSITY_NEIGHBOURS, len(unit) - 1)
    if k < 1:
        return np.ones(len(unit), dtype=np.float32)
    away: NDArray[Any] = np.empty(len(unit), dtype=np.float32)
    height = max(1, _PAIRS // len(unit))
    for first in range(0, len(unit), height):
        distances = np.sqrt(np.maximum(2 - 2 * unit[first : first + height] @ unit.T, 0))
        own = np.arange(len(distances))
        distances[own, first + own] = np.inf
        away[first : first + height] = np.partition(distances, k - 1, axis=1)[:, :k].mean(axis=1)
    typicality: NDArray[np.float32] = 1 / np.maximum(away, 1e-12)
    return typicality


def k_means(points: Features, count: int, seed: int, *, restarts: int = RESTARTS) -> tuple[Ints, Features]:
    """((N,) cluster of each point, (K, D) centres): the best of some starts by k-means++ (Lloyd 1982)."""
    random = np.random.default_rng(seed)
    best: tuple[float, Ints, Features] | None = None
    for _ in range(restarts):
        centres = _spread_out(points, count, random)
        clusters, distances = _nearest(points, centres)
        for _ in range(MOST_STEPS):
            centres = _means(points, clusters, distances, count)
            moved, distances = _nearest(points, centres)
            if (moved == clusters).all():
                break
            clusters = moved
        inertia = float(distances.sum())
        if best is None or inertia < best[0]:
            best = inertia, clusters, centres
    assert best is not None  # there is at least one start
    return best[1], best[2]


def _spread_out(points: Features, count: int, random: np.random.Generator) -> Features:
    """First centres by k-means++ (Arthur and Vassilvitskii 2007): each far from those before it."""
    chosen = [int(random.integers(len(points)))]
    distances = _squared(points, points[chosen])[:, 0]
    while len(chosen) < count:
        total = distances.sum()
        shares = distances / total if total > 0 else np.full(len(points), 1 / len(points))
        chosen.append(int(random.choice(len(points), p=shares / shares.sum())))
        distances = np.minimum(distances, _squared(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _nearest(points: Features, centres: Features) -> tuple[Ints, NDArray[np.float64]]:
    squared = _squared(points, centres)
    clusters = squared.argmin(axis=1)
    return clusters, squared[np.arange(len(points)), clusters]


def _means(points: Features, clusters: Ints, distances: NDArray[np.float64], count: int) -> Features:
    """(K, D) the mean of each cluster; one that has emptied takes the point farthest from its own centre."""
    sizes = np.bincount(clusters, minlength=count)
    sums: Features = np.eye(count, dtype=np.float32)[clusters].T @ points
    centres: Features = (sums / np.maximum(sizes, 1)[:, None]).astype(np.float32)
    for empty, far in zip(np.flatnonzero(sizes == 0), np.argsort(-distances, kind="stable"), strict=False):
        centres[empty] = points[far]
    return centres


def _squared(points: Features, centres: Features) -> NDArray[np.float64]:
    """(N, K) float64 squared distances."""
    squared = (points**2).sum(axis=1)[:, None] + (centres**2).sum(axis=1) - 2 * points @ centres.T
    floored: NDArray[np.float64] = np.maximum(squared.astype(np.float64), 0)
    return floored
