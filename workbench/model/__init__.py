"""Networks: backbones with fresh heads, weights, layer groups, what is frozen, batch-norm modes, noise.

`build` makes a classifier from a recipe's `[model]`, `tune` freezes it by `[finetune]`, `parameter_groups`
turns `[optimizer]` into rates.
"""

from workbench.model.architecture import LayerGroup
from workbench.model.backbones import build, skeleton
from workbench.model.check import check_batch, check_network, look_at_network
from workbench.model.classifier import ImageClassifier
from workbench.model.cut import Cut, find_cut
from workbench.model.finetune import (
    GroupTuning,
    Tuning,
    is_trunk_fixed,
    tune,
    unlocked_groups,
)
from workbench.model.fold import FOLDING, frozen_copy
from workbench.model.noise import set_noise
from workbench.model.rates import group_rates, parameter_groups
from workbench.model.weights import put_back, weights_id

__all__ = [
    "FOLDING",
    "Cut",
    "GroupTuning",
    "ImageClassifier",
    "LayerGroup",
    "Tuning",
    "build",
    "check_batch",
    "check_network",
    "find_cut",
    "frozen_copy",
    "group_rates",
    "is_trunk_fixed",
    "look_at_network",
    "parameter_groups",
    "put_back",
    "set_noise",
    "skeleton",
    "tune",
    "unlocked_groups",
    "weights_id",
]
