"""What a step minimises: supervised training, and each online strategy in a file of its name."""

from workbench.train.objectives import (
    fixmatch,
    flexmatch,
    freematch,
    mean_teacher,
    meta_pseudo_labels,
    softmatch,
)
from workbench.train.objectives.objective import Beginning, Clock, Labelled, Loss, Objective, Pseudo
from workbench.train.objectives.registry import implemented, make_objective
from workbench.train.objectives.saliency_guided import SaliencyGuided
from workbench.train.objectives.supervised import Supervised

__all__ = [
    "Beginning",
    "Clock",
    "Labelled",
    "Loss",
    "Objective",
    "Pseudo",
    "SaliencyGuided",
    "Supervised",
    "fixmatch",
    "flexmatch",
    "freematch",
    "implemented",
    "make_objective",
    "mean_teacher",
    "meta_pseudo_labels",
    "softmatch",
]
