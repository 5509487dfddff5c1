"""What labelled images count for beside pseudo-labels: the promised share, at any batch size."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from tests.loader.conftest import Recorder
from tests.pseudo.pools import distinct_probabilities, knobs, seen
from tests.train.making import HEAD, PSEUDO, places, tiny
from workbench.loader import FeatureBatches, Samples
from workbench.pseudo import Pool, Selection, select
from workbench.recipe.offline import Offline
from workbench.recipe.plan import plan
from workbench.recipe.pseudo_label import strategies_of
from workbench.train.run import samples_of
from workbench.train.setup import prepare
from workbench.train.state import RunState

CLASSES, POOL = 5, 400


def _samples(selection: Selection, class_weights: NDArray[np.float32]) -> Samples:
    labelled = Samples.of(
        np.arange(CLASSES), np.arange(CLASSES), CLASSES, class_weights * selection.labelled_weight
    )
    pseudo = Samples.soft(CLASSES + selection.rows, selection.targets, selection.weights)
    return Samples.concatenate([labelled, pseudo])


def _share(samples: Samples, batch_size: int, epochs: int = 1) -> float:
    """Of the epoch's loss, what is labelled images': each step's weights over what it divides them by."""
    batches = FeatureBatches(
        torch.zeros(len(samples), 1), np.arange(len(samples)), samples, batch_size, seed=0
    )
    labelled = whole = 0.0
    for epoch in range(epochs):
        for batch in batches.epoch(epoch):
            parts = batch.weights.numpy().astype(np.float64) / batch.total_weight * len(batch.weights)
            labelled += parts[batch.positions < CLASSES].sum()
            whole += parts.sum()
    assert whole == pytest.approx(epochs * len(samples), rel=1e-4)  # a sample counts as one on average
    return labelled / whole


@pytest.mark.parametrize("batch_size", [4, 32, POOL + CLASSES])
@pytest.mark.parametrize("strategy", strategies_of(Offline))
def test_labelled_images_get_the_share_that_their_weight_promises(strategy: str, batch_size: int) -> None:
    teacher = seen(Pool(distinct_probabilities(3, POOL, CLASSES), np.ones(CLASSES, dtype=np.int64)))
    selection = select(teacher, knobs(strategy), 2, None)
    pseudo = float(selection.weights.sum())
    promised = CLASSES * selection.labelled_weight / (CLASSES * selection.labelled_weight + pseudo)
    if strategy == "noisy_student":
        assert promised == pytest.approx(0.5)
    if strategy == "class_balanced":
        assert promised == pytest.approx(0.2, abs=0.01)  # 0.25·S against S
    uneven = np.linspace(0.5, 1.5, CLASSES, dtype=np.float32)  # as training.class_weights makes them
    assert _share(_samples(selection, uneven), batch_size) == pytest.approx(promised, rel=1e-4)


def test_a_rules_own_class_weights_stand_in_place_of_the_recipes(sample: Path, tmp_path: Path) -> None:
    recipe = tiny(HEAD + PSEUDO, sample, "training.class_weights='balanced'")
    setup = prepare(recipe, places(tmp_path), Recorder())
    (student,) = [stage for stage in plan(recipe) if stage.round == 1]
    rows, zeta = np.arange(3), np.linspace(0.5, 1.5, len(setup.classes))
    one_hot = np.eye(len(setup.classes), dtype=np.float32)[rows]
    chosen = Selection(rows, one_hot, np.ones(3, dtype=np.float32), 2.0, class_weights=zeta)
    samples, labelled = samples_of(setup, student, RunState(selection=chosen, selection_round=1))
    own = setup.taught[setup.split.labelled]
    assert samples.weights[:labelled] == pytest.approx(2 * zeta[own], rel=1e-6)
    assert samples.weights[labelled:].tolist() == [1, 1, 1]
