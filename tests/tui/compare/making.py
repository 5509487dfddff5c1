"""Runs for the Compare screen's tests: two recipes under seeds, one live, one failed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from tests.runs.making import CLASSES, finish, make_evaluation, make_results, make_run
from tests.runs.test_curves import write_epochs
from workbench.runs.layout import RunDirectory
from workbench.runs.predictions import save_predictions
from workbench.runs.process import write_exit, write_process

PLAIN = ((12, 6, 2), (5, 14, 1), (0, 4, 16))
BETTER = ((18, 1, 1), (2, 17, 1), (0, 1, 19))


def trained_run(
    home: Path,
    name: str,
    confusion: Sequence[Sequence[int]],
    *,
    seed: int = 0,
    age_seconds: int = 0,
    accuracies: Sequence[float] = (0.45, 0.65, 0.75),
    **recipe: object,
) -> RunDirectory:
    """A finished run whose test predictions are those that `confusion` counts."""
    run = make_run(home, name, age_seconds=age_seconds, seed=seed, data={"split_seed": seed}, **recipe)
    counts = np.array(confusion)
    true, said = (np.repeat(places, counts.ravel()) for places in np.indices(counts.shape).reshape(2, -1))
    recall = tuple(float(share) for share in counts.diagonal() / counts.sum(axis=1))
    accuracy = float(counts.trace() / counts.sum())
    test = replace(make_evaluation(accuracy, confusion), images=len(true), recall=recall)
    finish(run, replace(make_results(accuracy), test=test))
    # Images of a class are got right in the order of their numbers: better runs keep what is right.
    numbered = [f"{CLASSES[t]}_{number}" for t, number in zip(true, _within(true, said), strict=True)]
    save_predictions(run.predictions("test"), numbered, np.eye(3, dtype=np.float32)[said], true)
    return write_epochs(run, *accuracies)


def _within(true: np.ndarray, said: np.ndarray) -> list[int]:
    """The number of each image in its class, those that are right first."""
    numbers = np.zeros(len(true), int)
    for which in np.unique(true):
        places = np.flatnonzero(true == which)
        order = np.argsort(said[places] != which, kind="stable")
        numbers[places[order]] = np.arange(len(places))
    return numbers.tolist()


def live_run(home: Path, name: str, *, age_seconds: int = 0) -> RunDirectory:
    """A run that this very process keeps alive, two epochs in."""
    run = make_run(home, name, age_seconds=age_seconds, optimizer={"learning_rate": 0.5})
    write_process(run, "cpu")
    return write_epochs(run, 0.35, 0.55)


def failed_run(home: Path, name: str, *, age_seconds: int = 0) -> RunDirectory:
    """A run that ended before its first epoch."""
    run = make_run(home, name, age_seconds=age_seconds, optimizer={"learning_rate": 9.0})
    write_exit(run, code=1, reason="the loss is not finite")
    return run


def two_recipes(home: Path, seeds: int = 2) -> list[RunDirectory]:
    """`study_plain` and `study_better` under some seeds each; the latter is better on the same images."""
    runs = []
    for seed in range(seeds):
        plain = ((12 + seed, 6 - seed, 2), *PLAIN[1:])
        runs.append(trained_run(home, "study_plain", plain, seed=seed, age_seconds=10 + seed))
    for seed in range(seeds):
        runs.append(
            trained_run(
                home,
                "study_better",
                ((18 - 2 * seed, 1 + 2 * seed, 1), *BETTER[1:]),
                seed=seed,
                age_seconds=20 + seed,
                accuracies=(0.55, 0.75, 0.95),
                augmentation={"flip": True, "policy": "rand"},
            )
        )
    return runs
