"""A round's pseudo-labels: the teacher looks at the pool, a rule selects, the ledger is written."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from workbench.pseudo import Pool, Selection, choose, judge
from workbench.recipe.offline import Offline
from workbench.runs.events import Reporter, RoundLabelled
from workbench.runs.layout import RunDirectory
from workbench.runs.ledger import PseudoLabel as LedgerRow
from workbench.runs.ledger import write_ledger
from workbench.runs.predictions import save_predictions
from workbench.train.setup import Setup
from workbench.train.state import RunState

HISTOGRAM_BINS = 20


def label_pool(
    setup: Setup,
    knobs: Offline,
    state: RunState,
    number: int,
    pool: Pool,
    directory: RunDirectory,
    reporter: Reporter,
) -> Selection:
    """Select round `number`'s pseudo-labels and record them.

    Args:
        pool: `split.unlabelled` as the un-noised teacher sees it.

    The pool's true labels, where they are known, are read here only to score what was selected, after it was
    selected.
    """
    pool = judge(pool, knobs, state.selection)
    selection = choose(pool, knobs, number, state.selection)
    flipped = np.zeros(len(pool.probabilities), dtype=np.bool_)
    if state.pool_predicted is not None:
        flipped = state.pool_predicted != pool.predicted
    truth = setup.labels[setup.split.unlabelled]
    reporter.event(_summary(number, pool, selection, flipped, truth))
    _write_ledger(setup, directory, number, pool, selection, flipped, truth)
    state.flipped, state.pool_predicted = int(flipped.sum()), pool.predicted
    return selection


def _summary(
    number: int, pool: Pool, selection: Selection, flipped: NDArray[np.bool_], truth: NDArray[np.int64]
) -> RoundLabelled:
    # An image that a rule repeats counts once; one with negative labels alone is told no class.
    rows, first = np.unique(selection.rows[selection.positive], return_index=True)
    taught = selection.targets[selection.positive][first].argmax(axis=1)
    confidence = pool.confidence
    histogram, _ = np.histogram(confidence, bins=HISTOGRAM_BINS, range=(0.0, 1.0))
    return RoundLabelled(
        round=number,
        pool=len(confidence),
        selected=len(rows),
        accuracy=share_right(taught, truth[rows]),
        pool_accuracy=share_right(pool.predicted, truth),
        flipped=int(flipped.sum()),
        threshold=float(confidence[rows].min()) if len(rows) else 1.0,
        per_class=np.bincount(taught, minlength=pool.probabilities.shape[1]).tolist(),
        confidence_histogram=histogram.tolist(),
    )


def share_right(told: NDArray[np.int64], truth: NDArray[np.int64]) -> float | None:
    """How many of these classes are the true ones, 0 … 1, of those whose truth is known; None of none."""
    known = truth >= 0
    return float((told == truth)[known].mean()) if known.any() else None


def _write_ledger(
    setup: Setup,
    directory: RunDirectory,
    number: int,
    pool: Pool,
    selection: Selection,
    flipped: NDArray[np.bool_],
    truth: NDArray[np.int64],
) -> None:
    records, classes = setup.catalogue.records, setup.classes
    ids = [records[p].id for p in setup.split.unlabelled]
    taught, weights = pool.predicted.copy(), np.zeros(len(ids), dtype=np.float32)
    positive = selection.positive
    told = selection.rows[positive]
    taught[told] = selection.targets[positive].argmax(axis=1)
    np.add.at(weights, told, selection.weights[positive])
    chosen = np.zeros(len(ids), dtype=np.bool_)
    chosen[told] = True
    top_two = -np.partition(-pool.probabilities, 1, axis=1)[:, :2]
    entropy = -(pool.probabilities * np.log(np.maximum(pool.probabilities, 1e-12))).sum(axis=1)
    rows = [
        LedgerRow(
            id=ids[i],
            pseudo_label=classes[taught[i]],
            confidence=float(top_two[i, 0]),
            margin=float(top_two[i, 0] - top_two[i, 1]),
            entropy=float(entropy[i]),
            selected=bool(chosen[i]),
            weight=float(weights[i]),
            flipped=bool(flipped[i]),
            true_label=classes[truth[i]] if truth[i] >= 0 else None,
        )
        for i in range(len(ids))
    ]
    write_ledger(directory.ledger(number), rows)
    save_predictions(directory.predictions(f"unlabelled-{number:02d}"), ids, pool.probabilities, truth)
