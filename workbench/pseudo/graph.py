"""Label propagation: a sparse graph of nearest neighbours, and the linear system solved on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
# Rows of similarities held at once: 1,024 · N · 4 bytes.
CHUNK = 1024
# Columns that go through the graph together: edges · 8 · 8 bytes.
COLUMNS = 8


@dataclass(frozen=True, slots=True)
class Graph:
    """A symmetric sparse matrix with unit spectral radius at most: edges by row, and their values.

    Attributes:
        starts: (N + 1,) int64, where each node's edges start.
        ends: (E,) int64, the node at the other end.
        values: (E,) float64 of D^-½ W D^-½.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    values: Floats

    def times(self, columns: Floats) -> Floats:
        """(N, C) the matrix times (N, C) columns."""
        result = np.zeros_like(columns)
        linked = np.flatnonzero(np.diff(self.starts))
        if not len(linked):
            return result
        for first in range(0, columns.shape[1], COLUMNS):
            block = slice(first, first + COLUMNS)
            sent = columns[self.ends, block] * self.values[:, None]
            result[linked, block] = np.add.reduceat(sent, self.starts[linked], axis=0)
        return result

    def dense(self) -> Floats:
        """(N, N) the whole matrix, for small graphs."""
        matrix = np.zeros((len(self.starts) - 1,) * 2)
        rows = np.repeat(np.arange(len(matrix)), np.diff(self.starts))
        np.add.at(matrix, (rows, self.ends), self.values)
        return matrix


def unit_rows(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(N, D) float32 rows of length 1; a row of zeros stays one."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = (features / np.maximum(lengths, 1e-12)).astype(np.float32)
    return scaled


def neighbour_graph(features: NDArray[np.float32], neighbours: int, gamma: float) -> Graph:
    """A_ij = max(0, cos(f_i, f_j))^γ for the k nearest j of i, W = A + Aᵀ, normalised to D^-½ W D^-½.

    Iscen et al. 2019, Sec. 3.3; the diagonal is 0. A node whose neighbours are all at a right angle or
    beyond keeps no edge.
    """
    unit = unit_rows(features)
    count = len(unit)
    k = min(neighbours, count - 1)
    near = np.empty((count, k), dtype=np.int64)
    affinity = np.empty((count, k))
    for first in range(0, count, CHUNK):
        cosine = unit[first : first + CHUNK] @ unit.T
        here = np.arange(len(cosine))
        cosine[here, first + here] = -np.inf
        chosen = np.argpartition(-cosine, k - 1, axis=1)[:, :k]
        near[first : first + CHUNK] = chosen
        affinity[first : first + CHUNK] = np.maximum(np.take_along_axis(cosine, chosen, 1), 0) ** gamma
    rows, ends = np.repeat(np.arange(count), k), near.ravel()
    values = affinity.ravel()
    rows, ends = np.concatenate([rows, ends]), np.concatenate([ends, rows])
    values = np.concatenate([values, values])
    kept = values > 0
    order = np.lexsort((ends[kept], rows[kept]))
    rows, ends, values = rows[kept][order], ends[kept][order], values[kept][order]
    degrees = np.bincount(rows, weights=values, minlength=count)
    scale = 1 / np.sqrt(np.maximum(degrees, 1e-300))
    starts = np.searchsorted(rows, np.arange(count + 1))
    return Graph(starts, ends, values * scale[rows] * scale[ends])


def propagate(graph: Graph, seeds: Floats, alpha: float, *, tolerance: float = 1e-8) -> Floats:
    """(N, C) solution Z of (I − α𝒲) Z = Y by conjugate gradient, each column for itself.

    The matrix is symmetric and, for α < 1, positive definite, so this ends: at `tolerance` of each column's
    length, or after as many steps as there are nodes.

    Args:
        seeds: (N, C) float64 Y.
    """
    solution = np.zeros_like(seeds)
    residual = seeds.copy()
    direction = residual.copy()
    squared = (residual**2).sum(axis=0)
    goal = squared * tolerance**2
    for _ in range(len(seeds)):
        if (squared <= goal).all():
            break
        image = direction - alpha * graph.times(direction)
        curvature = (direction * image).sum(axis=0)
        step = np.divide(squared, curvature, out=np.zeros_like(squared), where=curvature > 0)
        solution += step * direction
        residual -= step * image
        before, squared = squared, (residual**2).sum(axis=0)
        direction = residual + direction * np.divide(
            squared, before, out=np.zeros_like(squared), where=before > 0
        )
    return solution


def class_seeds(labels: NDArray[np.int64], nodes: int, classes: int) -> Floats:
    """(N, C) Y: 1/n_c at each of the n_c labelled nodes of class c, which are the first, else 0."""
    seeds = np.zeros((nodes, classes))
    sizes = np.bincount(labels, minlength=classes)
    seeds[np.arange(len(labels)), labels] = 1 / sizes[labels]
    return seeds
