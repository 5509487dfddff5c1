"""Inference that three processes share: each takes whole passes, and all hear the numbers of one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from tests.train.making import PSEUDO, TRUNK, make_sample, places, tiny
from tests.train.worlds import alone, in_world
from workbench.recipe.offline import Offline
from workbench.runs.events import Silent
from workbench.train import network as network_module
from workbench.train.evaluation import validate
from workbench.train.network import Ints, Network
from workbench.train.precision import Precision
from workbench.train.setup import prepare
from workbench.train.teacher import view_pool
from workbench.train.world import World

A_PASS = 3
SIZES = (1, 7, 20)
"""An image for one of three, a pass for each and the last one short, passes that cannot be shared alike."""
CHANGES = {
    "whole": (),
    "cut": (
        'finetune.layers=["stage4", "conv_head", "head"]',
        'data.evaluation_views=["centre", "full"]',
    ),
}
GRAPH = PSEUDO.replace('"iterative"', '"label_propagation"').replace("fraction = 0.4\n", "")


Passes = list[tuple[int, ...]]
"""The images of each."""


def _seen(world: World, home: Path) -> tuple[dict[str, NDArray[Any]], Passes]:
    """Whatever a network says of images, by what was asked; and this process's passes."""
    taken: Passes = []
    evaluation = Network._evaluation

    def watched(network: Network, positions: Ints, images: int) -> Iterator[tuple[Tensor, Ints]]:
        for inputs, batch in evaluation(network, positions, images):
            taken.append(tuple(batch.tolist()))
            yield inputs, batch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # as each of the three has
    found: dict[str, NDArray[Any]] = {}
    small = patch.object(network_module, "INFERENCE_BATCH", A_PASS)
    with small, patch.object(Network, "_evaluation", watched):
        for name, changes in CHANGES.items():
            recipe = tiny(TRUNK + GRAPH, home / "sample", *changes)
            setup = prepare(recipe, replace(places(home), world=world), Silent())
            setup.need("unlabelled", "test")
            network = Network(setup, Precision("fp32", "fp32", ""), Silent())
            pool = setup.split.unlabelled
            for size in SIZES:
                features = network.features(pool[:size], trunk_fixed=False, task="")
                found[f"{name}, features of {size}"] = features.numpy()
                shares = network.probabilities(pool[:size], setup.classifier, task="")
                found[f"{name}, shares of {size}"] = shares
            on = setup.split.validation
            validation = validate(network, setup.classifier, on, trunk_fixed=False, task="", met=None)
            found[f"{name}, validation"] = np.array([validation.loss, validation.accuracy])
            assert isinstance(recipe.pseudo_label, Offline)
            teacher = view_pool(network, recipe.pseudo_label, 1, Silent())
            assert teacher.features is not None
            found[f"{name}, the teacher"] = np.hstack([teacher.probabilities, teacher.features])
    torch.set_num_threads(threads)
    return found, taken


@pytest.mark.slow
def test_what_a_trunk_says_of_images_is_the_same_numbers_from_one_process_and_from_three(
    tmp_path: Path,
) -> None:
    make_sample(tmp_path / "sample")
    one, passes = alone(_seen, tmp_path)
    each = in_world(3, _seen, tmp_path)
    for rank, (found, _) in enumerate(each):
        assert found.keys() == one.keys()
        for asked, numbers in one.items():
            assert np.array_equal(found[asked], numbers), (rank, asked)
    # A last bit may depend on what passes together, though it does not here.
    assert sorted(one_pass for _, taken in each for one_pass in taken) == sorted(passes)
    features = one["whole, features of 20"]
    assert len(np.unique(features, axis=0)) == len(features)  # or images in another's place would not show
