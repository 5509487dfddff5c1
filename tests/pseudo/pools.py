"""Pools of probabilities for the tests of this room, by hand and at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from workbench.pseudo import Passes, Pool
from workbench.recipe.offline import Offline
from workbench.recipe.pseudo_label import strategies_of


def knobs(strategy: str, **values: object) -> Offline:
    """A strategy's knobs as a recipe with 10 % labels would have them."""
    return strategies_of(Offline)[strategy].model_validate({"labelled_fraction": 0.1, **values})


def pool(rows: Sequence[Sequence[float]], labelled: Sequence[int] | None = None) -> Pool:
    """The pool with these probabilities; one labelled image a class unless counts are given."""
    probabilities = np.array(rows, dtype=np.float32)
    counts = np.ones(probabilities.shape[1], dtype=np.int64) if labelled is None else np.array(labelled)
    return Pool(probabilities, counts)


def sure(*choices: tuple[int, float], classes: int = 3) -> Pool:
    """A pool whose image i is of class c with confidence p, for each (c, p); the rest is spread evenly."""
    rows = np.empty((len(choices), classes), dtype=np.float32)
    for row, (label, confidence) in zip(rows, choices, strict=True):
        row[:] = (1 - confidence) / (classes - 1)
        row[label] = confidence
    return pool(rows.tolist())


def distinct_probabilities(seed: int, images: int, classes: int) -> NDArray[np.float32]:
    """(images, classes) float32 rows that sum to 1, no two with the same confidence."""
    random = np.random.default_rng(seed)
    rows = random.dirichlet(np.ones(classes), size=images).astype(np.float32)
    while len(np.unique(rows.max(axis=1))) < images:
        rows = random.dirichlet(np.ones(classes), size=images).astype(np.float32)
    return rows


def seen(teacher: Pool, *, width: int = 8, seed: int = 0) -> Pool:
    """The pool with one labelled image a class, features, and passes that all say what the teacher does."""
    random = np.random.default_rng(seed)
    images, classes = teacher.probabilities.shape
    steady = np.zeros_like(teacher.probabilities)
    return replace(
        teacher,
        labelled_counts=np.ones(classes, dtype=np.int64),
        features=random.random((images, width), dtype=np.float32),
        labelled_features=random.random((classes, width), dtype=np.float32),
        labels=np.arange(classes),
        passes=Passes(teacher.probabilities, steady, teacher.probabilities, steady),
    )


@st.composite
def pools(draw: st.DrawFn) -> Pool:
    """Pools of 1 to 60 images in 2 to 6 classes without ties in confidence."""
    images, classes = draw(st.integers(1, 60)), draw(st.integers(2, 6))
    probabilities = distinct_probabilities(draw(st.integers(0, 2**32 - 1)), images, classes)
    labelled = draw(st.lists(st.integers(0, 9), min_size=classes, max_size=classes))
    return Pool(probabilities, np.array(labelled, dtype=np.int64))
