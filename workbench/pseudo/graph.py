"""Labels by nearness among features: propagation through a graph, the neighbours' vote, class means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo.neighbours import EXACT_UP_TO, Search, nearest_others, unit_rows
from workbench.pseudo.pool import Pool, Voter
from workbench.pseudo.prior import balanced, sinkhorn
from workbench.recipe.offline import FromProbabilities
from workbench.recipe.strategies.by_features import LabelPropagation, Prototype
from workbench.runs.intervals import SIGNIFICANT
from workbench.runs.paired import Pair

Features = NDArray[np.float32]
Floats = NDArray[np.float64]
# Columns that go through a small graph together: edges · 8 · 8 bytes.
COLUMNS = 8
# Nodes of a large one that are summed together, so that their sums stay in the processor's cache; and numbers
# of Z that are solved for together: some eight arrays of 128 MB.
NODES, SOLVED = 2**13, 2**24


@dataclass(frozen=True, slots=True)
class Graph:
    """A symmetric sparse matrix with unit spectral radius at most: edges by row, and their values.

    Attributes:
        starts: (N + 1,) int64, where each node's edges start.
        ends: (E,) int64, the node at the other end.
        values: (E,) float64 of D^-½ W D^-½.
        recall: share of the true nearest neighbours that it links.
    """

    starts: NDArray[np.int64]
    ends: NDArray[np.int64]
    values: Floats
    recall: float = 1.0

    def times(self, columns: Floats) -> Floats:
        """(N, C) the matrix times (N, C) columns."""
        result = np.zeros_like(columns)
        if len(columns) > EXACT_UP_TO:
            for first in range(0, len(columns), NODES):
                self._by_turns(slice(first, min(first + NODES, len(columns))), columns, result)
            return result
        linked = np.flatnonzero(np.diff(self.starts))
        if not len(linked):
            return result
        for first in range(0, columns.shape[1], COLUMNS):
            block = slice(first, first + COLUMNS)
            sent = columns[self.ends, block] * self.values[:, None]
            result[linked, block] = np.add.reduceat(sent, self.starts[linked], axis=0)
        return result

    def _by_turns(self, nodes: slice, columns: Floats, result: Floats) -> None:
        """Add each node's first edge, then the second of those that have one, and so on.

        A quarter of the time of sums edge after edge, in a few megabytes; the last bits are others.
        """
        degrees = np.diff(self.starts[nodes.start : nodes.stop + 1])
        order = np.argsort(-degrees, kind="stable")
        first = self.starts[nodes][order]
        having = np.searchsorted(
            -degrees[order], -np.arange(degrees.max(initial=0))
        )  # more edges than 0, 1 …
        sums = np.zeros((len(order), columns.shape[1]))
        for turn, count in enumerate(having.tolist()):
            edges = first[:count] + turn
            sent = columns[self.ends[edges]]
            sent *= self.values[edges, None]
            sums[:count] += sent
        result[nodes.start + order] = sums

    def dense(self) -> Floats:
        """(N, N) the whole matrix, for small graphs."""
        matrix = np.zeros((len(self.starts) - 1,) * 2)
        rows = np.repeat(np.arange(len(matrix)), np.diff(self.starts))
        np.add.at(matrix, (rows, self.ends), self.values)
        return matrix


def neighbour_graph(
    features: NDArray[np.float32], neighbours: int, gamma: float, search: Search = nearest_others
) -> Graph:
    """A_ij = max(0, cos(f_i, f_j))^γ for the k nearest j of i, W = A + Aᵀ, normalised to D^-½ W D^-½.

    Iscen et al. 2019, Sec. 3.3; the diagonal is 0. A node whose neighbours are all at a right angle or
    beyond keeps no edge.
    """
    count = len(features)
    k = min(neighbours, count - 1)
    near = search(unit_rows(features), k)
    values = (np.maximum(near.cosines, 0) ** gamma).ravel().astype(np.float64)
    # One number an edge, row · N + end, sorts in half the memory that two take.
    rows, ends = np.repeat(np.arange(count), k), near.rows.ravel()
    edges = np.concatenate([rows * count + ends, ends * count + rows])
    values = np.concatenate([values, values])
    order = np.argsort(edges, kind="stable")
    order = order[values[order] > 0]
    edges, values = edges[order], values[order]
    rows, ends = np.divmod(edges, max(1, count))
    degrees = np.bincount(rows, weights=values, minlength=count)
    scale = 1 / np.sqrt(np.maximum(degrees, 1e-300))
    starts = np.searchsorted(edges, np.arange(count + 1) * count)
    values *= scale[rows]
    values *= scale[ends]
    return Graph(starts, ends, values, near.recall)


def propagate(graph: Graph, seeds: Floats, alpha: float, *, tolerance: float = 1e-8) -> Floats:
    """(N, C) solution Z of (I − α𝒲) Z = Y by conjugate gradient, each column for itself.

    The matrix is symmetric and, for α < 1, positive definite, so this ends: at `tolerance` of each column's
    length, or after as many steps as there are nodes.

    Args:
        seeds: (N, C) float64 Y.
    """
    nodes, classes = seeds.shape
    together = classes if nodes <= EXACT_UP_TO else max(1, SOLVED // nodes)
    if together >= classes:
        return _conjugate_gradient(graph, seeds, alpha, tolerance)
    solution = np.empty_like(seeds)
    for first in range(0, classes, together):
        block = np.ascontiguousarray(seeds[:, first : first + together])
        solution[:, first : first + together] = _conjugate_gradient(graph, block, alpha, tolerance)
    return solution


def _conjugate_gradient(graph: Graph, seeds: Floats, alpha: float, tolerance: float) -> Floats:
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


# Softens a classifier that is too sure of its thousand classes. Of 1, 2 and 4 the pool's labels were most
# often right with 2 (EfficientNet-Lite0 on pets, one label a class).
CLASS_TEMPERATURE = 2.0


def beside_classes(features: Features, weight: Features, bias: Features) -> Features:
    """(N, D + K) float32: each image's features, scaled to length 1, then √softmax((f·Wᵀ + b)/2).

    Both halves have length 1, so a cosine of two rows is the mean of the features' cosine and of the
    Bhattacharyya coefficient (1 − squared Hellinger distance) of the two answers.

    Args:
        features: (N, D) float32 of the trunk.
        weight, bias: (K, D) and (K,) float32 of the classifier that was published with it.
    """
    logits = (features @ weight.T + bias) / CLASS_TEMPERATURE
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    answers = np.sqrt(powers / powers.sum(axis=1, keepdims=True))
    return np.concatenate([unit_rows(features), answers.astype(np.float32)], axis=1)


# No class is impossible to any voter: a product with 0 would be a veto.
LEAST_VOTE = 1e-4


def spread_labels(pool: Pool, knobs: LabelPropagation) -> Pool:
    """The pool with (I − α𝒲)⁻¹ Y, clipped at 0 and made to sum to 1, in place of the teacher's probabilities.

    Iscen et al. 2019, eq. 9 and 10. An image that no label reaches has all classes alike, not `reached`.
    """
    features, labelled, labels = pool.features, pool.labelled_features, pool.labels
    assert features is not None and labelled is not None and labels is not None  # noqa: PT018
    nodes = np.concatenate([labelled, features])
    graph = neighbour_graph(nodes, knobs.neighbours, knobs.gamma, pool.search)
    classes = pool.probabilities.shape[1]
    seeds = class_seeds(labels, len(graph.starts) - 1, classes)
    scores = np.maximum(propagate(graph, seeds, knobs.alpha)[len(labels) :], 0)
    sums = scores.sum(axis=1, keepdims=True)
    # What conjugate gradient leaves where no path leads is rounding error.
    reached = sums[:, 0] > 1e-12
    shares = np.divide(scores, sums, out=np.full_like(scores, 1 / classes), where=reached[:, None])
    return replace(pool, probabilities=shares.astype(np.float32), reached=reached, recall=graph.recall)


def with_votes(pool: Pool, knobs: FromProbabilities) -> Pool:
    """The pool with p^(1 − β − γ) · z^β · m^γ, made to sum to 1: propagation and class means vote too.

    A logarithmic opinion pool (Heskes 1998) with the defaults of label_propagation and of prototype. With
    `balance = "sinkhorn"` these two are balanced before they vote: a class that gathers too many images would
    outvote the teacher on all of them. Where no label reaches an image the others' word stands, and where a
    voter is `unheard`; the teacher's where nobody else has a say.
    """
    logits = np.zeros(pool.probabilities.shape)
    cast = np.zeros((len(logits), 1))
    voters = [(getattr(knobs, name), word) for name, word in _voters(pool, knobs)]
    if not voters:
        return pool
    own = 1 - knobs.propagation - knobs.prototypes
    for share, voter in [(own, pool), *voters] if own > 0 else voters:
        reached = np.ones_like(cast) if voter.reached is None else voter.reached[:, None]
        logits += share * reached * np.log(np.maximum(voter.probabilities.astype(np.float64), LEAST_VOTE))
        cast += share * reached
    logits /= np.maximum(cast, 1e-12)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    voted = (powers / powers.sum(axis=1, keepdims=True)).astype(np.float32)
    recall = min(voter.recall for _, voter in voters)
    return replace(pool, probabilities=np.where(cast > 0, voted, pool.probabilities), recall=recall)


@dataclass(frozen=True, slots=True)
class Hearing:
    """How a voter and the first teacher do on validation images of which the voter says anything."""

    voter: Voter
    pair: Pair
    """Teacher first, voter second."""

    @property
    def is_lost(self) -> bool:
        """Whether the voter is worse by more than chance: it then has no vote."""
        return self.pair.only_second < self.pair.only_first and self.pair.p < SIGNIFICANT


def hear_voters(
    pool: Pool,
    knobs: FromProbabilities,
    features: NDArray[np.float32],
    teacher: NDArray[np.float32],
    labels: NDArray[np.int64],
) -> list[Hearing]:
    """Try every voter beside the teacher on validation images, as though they lay in the pool.

    Features of ImageNet put images near each other for ImageNet's reasons; where a data set's classes differ
    by others, their vote would outvote a teacher that knows better.

    Args:
        pool: with what its voters need.
        features: (V, D) float32 of the validation images, as the pool's.
        teacher: (V, C) float32, what the first teacher says of them.
        labels: (V,) int64 their true classes.
    """
    assert pool.features is not None  # whoever votes by them has them
    beside = np.full(teacher.shape, 1 / teacher.shape[1], dtype=np.float32)
    together = replace(
        pool,
        features=np.concatenate([pool.features, features]),
        probabilities=np.concatenate([pool.probabilities, beside]),
    )
    right = teacher.argmax(axis=1) == labels
    hearings = []
    for name, voter in _voters(together, knobs):
        words = voter.probabilities[len(pool.features) :]
        said = slice(None) if voter.reached is None else voter.reached[len(pool.features) :]
        hearings.append(Hearing(name, Pair.of(right[said], (words.argmax(axis=1) == labels)[said])))
    return hearings


def _voters(pool: Pool, knobs: FromProbabilities) -> Iterator[tuple[Voter, Pool]]:
    """What is said beside the teacher, by whom the knobs give a share of the vote and who is not unheard."""
    # Of the knobs of labels one has to be there; none counts.
    shared: dict[str, Any] = {"labelled_fraction": 0.5}
    if knobs.balance == "sinkhorn":
        shared |= knobs.model_dump(include={"balance", "sinkhorn_steps"})
    if knobs.propagation and "propagation" not in pool.unheard:
        around = LabelPropagation.model_validate(shared)
        yield "propagation", balanced(spread_labels(pool, around), around, None)
    if knobs.prototypes and "prototypes" not in pool.unheard:
        yield "prototypes", nearest_means(pool, Prototype.model_validate(shared))


def nearest_means(pool: Pool, knobs: Prototype) -> Pool:
    """The pool with softmax(cos(f, m_c)/T) over the refined class means in place of the teacher's word.

    Soft k-means (Ren et al. 2018, eq. 4) on features of length 1, seen from the mean of them all, which tells
    classes apart better than the origin does: labelled images belong wholly to their class. With
    `balance = "sinkhorn"` the assignments of every refinement are balanced, as in PT-MAP (Hu et al. 2021). A
    class without a label has no mean, so no image is ever held for it.
    """
    features, labelled, labels = pool.features, pool.labelled_features, pool.labels
    assert features is not None and labelled is not None and labels is not None  # noqa: PT018
    unit, unit_labelled = _seen_from_their_mean(features, labelled)
    known = np.flatnonzero(np.bincount(labels, minlength=pool.probabilities.shape[1]))
    belongs = (labels[:, None] == known[None, :]).astype(np.float64)  # (L, K)
    given = belongs.T @ unit_labelled  # (K, D) sums of labelled features
    prior = pool.labelled_prior[known]

    def assigned(means: Floats) -> Floats:
        shares = _nearness(unit, means, knobs.sharpness)
        return sinkhorn(shares, prior, knobs.sinkhorn_steps) if knobs.balance == "sinkhorn" else shares

    means = _to_unit(given)
    for _ in range(knobs.refinements):
        means = _to_unit(given + assigned(means).T @ unit)
    probabilities = np.zeros_like(pool.probabilities)
    probabilities[:, known] = assigned(means)
    return replace(pool, probabilities=probabilities)


def _seen_from_their_mean(
    features: NDArray[np.float32], labelled: NDArray[np.float32]
) -> tuple[Floats, Floats]:
    """((U, D), (L, D)) rows of length 1 less the mean of all, to length 1 again.

    Where all rows are alike nothing is left of them, and they stay as they were.
    """
    unit, unit_labelled = (unit_rows(rows).astype(np.float64) for rows in (features, labelled))
    centre = np.concatenate([unit, unit_labelled]).mean(axis=0)
    if np.allclose(unit, centre) and np.allclose(unit_labelled, centre):
        return unit, unit_labelled
    return _to_unit(unit - centre), _to_unit(unit_labelled - centre)


def _nearness(unit: Floats, means: Floats, temperature: float) -> Floats:
    """(U, K) softmax of cosine over temperature."""
    logits = unit @ means.T / temperature
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = powers / powers.sum(axis=1, keepdims=True)
    return shares


def _to_unit(sums: Floats) -> Floats:
    """Means only matter by their direction, as similarity is a cosine."""
    scaled: Floats = sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)
    return scaled
