"""How many planted wrong labels each rule of `petbench label-issues` finds, how many right ones it blames.

    python -m benchmarks.label_issues RUN [--runs-dir DIR] [--data-dir DIR] [--cache DIR] [--seeds 3]

On the features of a finished run's trunk (one of a recipe that trains the head alone): of so many classes, so
many of their training images are drawn by the seed, one label in twenty is made wrong, and out-of-fold heads
judge all. A wrong label is any other class, or one of the three whose mean features are nearest. Prints the
share of labels flagged where none was planted, then recall / precision for both ways of planting.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from workbench.dataset import open_catalogue
from workbench.recipe import load_recipe
from workbench.runs.events import Silent
from workbench.runs.find import find_run
from workbench.runs.label_issues import IssueRule, find_label_issues
from workbench.support.paths import cache_home, data_home, runs_home
from workbench.train.predict import load_predictor
from workbench.train.run_features import FOLDS, feature_bank, fold_of, out_of_fold

SIZES = ((3, (4, 5, 8, 10, 15, 20, 30)), (10, (4, 5, 8, 10, 15, 20, 30)), (37, (4, 5, 8, 10, 20, 30)))
"""(classes, labels a class)."""
KINDS = ("none", "any class", "a near class")
PLANTED = 0.05
NEAR = 3

Counts = dict[IssueRule, NDArray[np.int64]]
"""Rule -> (flagged, of them planted)."""


def main() -> None:
    """Measure, and print a table."""
    options = _options()
    run = find_run(runs_home(options.runs_dir), options.run)
    recipe = load_recipe(run.recipe)
    catalogue = open_catalogue(recipe.data, data_home=data_home(options.data_dir))
    predictor = load_predictor(run, recipe, torch.device("cpu"))
    bank = feature_bank(catalogue, predictor, cache=options.cache or cache_home(), reporter=Silent())
    positions = np.asarray(catalogue.positions("train"))
    labels = catalogue.labels(recipe.data.target)[positions]
    ids = [catalogue.records[position].id for position in positions.tolist()]
    features = bank.rows(positions)
    for classes, sizes in SIZES:
        for each in sizes:
            totals: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
            counts: dict[tuple[str, IssueRule], NDArray[np.int64]] = defaultdict(
                lambda: np.zeros(2, np.int64)
            )
            for seed in range(options.seeds):
                for kind in KINDS:
                    drawn = np.random.default_rng([seed, classes, each, KINDS.index(kind)])
                    images, found, planted = _trial(features, labels, ids, classes, each, kind, drawn, seed)
                    totals[kind] = (totals[kind][0] + images, totals[kind][1] + planted)
                    for rule, pair in found.items():
                        counts[kind, rule] += pair
            for rule in IssueRule:
                cells = [f"{counts['none', rule][0] / totals['none'][0]:.3f}"]
                for kind in KINDS[1:]:
                    flagged, right = counts[kind, rule].tolist()
                    cells.append(f"{right / totals[kind][1]:.2f} / {right / max(flagged, 1):.2f}")
                print(f"| {classes} | {each} | {rule.value} | {' | '.join(cells)} |", flush=True)


def _trial(
    features: torch.Tensor,
    labels: NDArray[np.int64],
    ids: list[str],
    classes: int,
    each: int,
    kind: str,
    drawn: np.random.Generator,
    seed: int,
) -> tuple[int, Counts, int]:
    """Images, what every rule flagged, and how many labels were made wrong."""
    chosen = np.sort(drawn.choice(int(labels.max()) + 1, classes, replace=False))
    rows = np.sort(np.concatenate([drawn.permutation(np.flatnonzero(labels == c))[:each] for c in chosen]))
    true = np.searchsorted(chosen, labels[rows])
    own = features[torch.from_numpy(rows)]
    planted = max(1, round(PLANTED * len(rows))) if kind != "none" else 0
    where = drawn.choice(len(rows), planted, replace=False)
    given = true.copy()
    if kind == "any class":
        given[where] = (true[where] + drawn.integers(1, classes, planted)) % classes
    elif planted:
        unit = torch.nn.functional.normalize(own, dim=1).numpy()
        means = np.stack([unit[true == c].mean(axis=0) for c in range(classes)])
        alike = means @ means.T
        np.fill_diagonal(alike, -np.inf)
        near = min(NEAR, classes - 1)
        order = alike[true[where]].argsort(axis=1)[:, -near:]
        given[where] = order[np.arange(planted), drawn.integers(0, near, planted)]
    parts = fold_of([ids[row] for row in rows.tolist()], given, min(FOLDS, len(rows)), seed)
    probabilities = out_of_fold(own, given, classes, parts, Silent())
    wrong = given != true
    found: Counts = {}
    for rule in IssueRule:
        issues = find_label_issues(probabilities, given, rule, least_a_class=2, least_in_all=0).is_issue
        found[rule] = np.array([issues.sum(), (issues & wrong).sum()])
    return len(rows), found, planted


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", help="a finished run whose trunk stayed as it was")
    parser.add_argument("--runs-dir", type=Path, help="else $PETBENCH_RUNS")
    parser.add_argument("--data-dir", type=Path, help="else $PETBENCH_DATA")
    parser.add_argument("--cache", type=Path, help="else $PETBENCH_CACHE")
    parser.add_argument("--seeds", type=int, default=3)
    return parser.parse_args()


if __name__ == "__main__":
    main()
