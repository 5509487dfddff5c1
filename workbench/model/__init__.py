"""Networks: backbones with fresh heads, weights, layer groups, what is frozen, batch-norm modes, noise.

`build` makes a classifier from a recipe's `[model]`, `tune` freezes it by `[finetune]`, `parameter_groups`
turns `[optimizer]` into rates.
"""

from workbench.model.backbones import balance, build, skeleton
from workbench.model.classifier import ImageClassifier, LayerGroup, TrunkPart, set_noise
from workbench.model.cut import FOLDING, Cut, find_cut, frozen_copy
from workbench.model.finetune import (
    GroupTuning,
    Tuning,
    check_batch,
    check_network,
    check_weights,
    group_rates,
    is_trunk_fixed,
    look_at_network,
    parameter_groups,
    tune,
    unlocked_groups,
)
from workbench.model.weights import part_id, put_back, tensors_id, weights_id

__all__ = [
    "FOLDING",
    "Cut",
    "GroupTuning",
    "ImageClassifier",
    "LayerGroup",
    "TrunkPart",
    "Tuning",
    "balance",
    "build",
    "check_batch",
    "check_network",
    "check_weights",
    "find_cut",
    "frozen_copy",
    "group_rates",
    "is_trunk_fixed",
    "look_at_network",
    "parameter_groups",
    "part_id",
    "put_back",
    "set_noise",
    "skeleton",
    "tensors_id",
    "tune",
    "unlocked_groups",
    "weights_id",
]
