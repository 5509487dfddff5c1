"""What cleanlab flags, the oracle of `workbench.runs.label_issues`: recorded, and asked where installed.

    pip install cleanlab; python -m tests.runs.issue_oracle

writes `cleanlab_flags.json` anew. cleanlab brings pandas, so it is no development dependency.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray

from workbench.runs.label_issues import IssueRule

RECORDED = Path(__file__).with_name("cleanlab_flags.json")
DRAWN = 24


@dataclass(frozen=True, eq=False)
class Labels:
    """Given labels, and what models that never saw them say."""

    probabilities: NDArray[np.float32]
    """(N, C)."""
    given: NDArray[np.int64]
    """(N,)."""


@dataclass(frozen=True, eq=False)
class Case(Labels):
    """And which of them cleanlab flags."""

    flags: dict[IssueRule, list[int]]


def drawn_labels(seed: int) -> Labels:
    """2 to 7 classes, some empty, none of a single label: those cleanlab judges and petbench does not."""
    draws = np.random.default_rng(seed)
    classes, count = int(draws.integers(2, 8)), int(draws.integers(8, 60))
    sharpness = float(draws.choice([0.2, 0.5, 2.0]))
    probabilities = draws.dirichlet(np.full(classes, sharpness), count).round(3)
    probabilities[np.arange(count), probabilities.argmax(axis=1)] += 1 - probabilities.sum(axis=1)
    likely = draws.random(count) < 0.7
    given = np.where(likely, probabilities.argmax(axis=1), draws.integers(0, classes, count))
    given[given == 0] = 1 if draws.random() < 0.4 else 0
    images = np.bincount(given, minlength=classes)
    given[images[given] == 1] = images.argmax()
    if len(np.unique(given)) < 2:
        given[::2] = (given[0] + 1) % classes
    return Labels(probabilities.astype(np.float32), given.astype(np.int64))


def flags_of_cleanlab(labels: Labels, rule: IssueRule) -> list[int]:
    """Indices that cleanlab flags; of scores that differ in their last bits the earlier comes first."""
    from cleanlab.filter import find_label_issues

    find: Callable[..., Any] = find_label_issues
    with patch("numpy.argsort", partial(_steady, np.argsort)):
        exact = labels.probabilities.astype(np.float64)
        flags = find(labels.given, exact, filter_by=rule.value, n_jobs=1)
    return [int(index) for index in np.flatnonzero(flags)]


def _steady(argsort: Callable[..., NDArray[np.int64]], values: Any, **_: Any) -> NDArray[np.int64]:
    return argsort(np.round(values, 9), kind="stable")


def recorded_cases() -> list[Case]:
    """What stands in the file."""
    return [
        Case(
            np.array(case["probabilities"], dtype=np.float32),
            np.array(case["given"], dtype=np.int64),
            {IssueRule(rule): flagged for rule, flagged in case["flags"].items()},
        )
        for case in json.loads(RECORDED.read_text())["cases"]
    ]


def main() -> None:
    """Record what the installed cleanlab flags."""
    from importlib.metadata import version

    cases = []
    for labels in map(drawn_labels, range(DRAWN)):
        cases.append(
            {
                "probabilities": [[round(float(p), 3) for p in row] for row in labels.probabilities],
                "given": labels.given.tolist(),
                "flags": {rule.value: flags_of_cleanlab(labels, rule) for rule in IssueRule},
            }
        )
    rows = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    RECORDED.write_text(f'{{"cleanlab":"{version("cleanlab")}","cases":[\n{rows}\n]}}\n')


if __name__ == "__main__":
    main()
